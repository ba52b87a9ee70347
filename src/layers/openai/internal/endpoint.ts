/** Requests to the APIs of a server that answer as a whole: one document, or bytes. */
import * as Effect from "effect/Effect"
import type * as Config from "effect/Config"
import type * as AiError from "effect/ai/AiError"
import type { HttpRequest } from "../../../services/HttpTransport.ts"
import * as Calling from "../../internal/model/calling.ts"
import { parseJson } from "../../../internal/json.ts"
import { errorIn, malformed, type Problem, quote } from "../../internal/model/problems.ts"
import { type Fields, isFields } from "../../internal/model/wire.ts"
import { whole, type WholeAnswer } from "./answering.ts"
import { requests, textOf } from "./asking.ts"
import type { EndpointOptions } from "./connection.ts"
import * as Failing from "./failing.ts"
import { type Form, written } from "./form.ts"
import { reach, type Reached } from "./reach.ts"

/** A request. */
export interface Question {
  /** The method of the service, for errors. */
  readonly method: string
  readonly path: string
  readonly body: Fields | Form
}

/** A server that answers as a whole. */
export interface Endpoint {
  readonly model: string
  /**
   * Sends a request, again as the policy says, and reads its answer. Interruption aborts the request on the wire.
   */
  readonly ask: <A>(
    question: Question,
    read: (answer: WholeAnswer) => Effect.Effect<A, Problem>
  ) => Effect.Effect<A, AiError.AiError>
  /** Fails with the error of a problem. */
  readonly fail: (question: Question, problem: Problem) => Effect.Effect<never, AiError.AiError>
}

/** Fails with `ConfigError` for options that no request can be made with. */
export const make = (options: EndpointOptions): Effect.Effect<Endpoint, Config.ConfigError> =>
  Effect.map(reach(options), (reached) => ofReached(reached, options))

const ofReached = ({ at, carrier }: Reached, { model, retry }: EndpointOptions): Endpoint => {
  const write = requests(at.connection)
  const fail: Endpoint["fail"] = ({ body, method, path }, problem) =>
    Failing.fail(at, problem, {
      method,
      path,
      model,
      sent: new Set(isForm(body) ? body.map(({ name }) => name) : Object.keys(body))
    })
  return {
    model,
    fail,
    ask: (question, read) =>
      Effect.withFiber((fiber) => {
        const once = Effect.suspend(() => {
          const carried = carrier(fiber, at.secrets)
          if ("kind" in carried) return fail(question, carried)
          const { maxAnswerBytes, timeout } = at.connection
          const request = requestOf(write, question)
          return whole({ transport: carried.transport, request, timeout, maxAnswerBytes }).pipe(
            Effect.flatMap(read),
            Effect.catch((problem) => fail(question, problem))
          )
        })
        return Calling.retried(retry, fiber, once)
      })
  }
}

const requestOf = (write: ReturnType<typeof requests>, { body, path }: Question): HttpRequest => {
  if (!isForm(body)) return write({ path, body, isStreamed: false })
  const { bytes, contentType } = written(body)
  const request = write({ path, body: {}, isStreamed: false })
  return { ...request, headers: { ...request.headers, "content-type": contentType }, body: bytes }
}

const isForm = (body: Fields | Form): body is Form => Array.isArray(body)

/** The object that an answer is. Fails with an error in its place, and for something that is not an object. */
export const documentOf = ({ chunks }: WholeAnswer): Effect.Effect<Fields, Problem> =>
  Effect.suspend(() => {
    const text = textOf(chunks)
    const document = parseJson(text)
    if (!isFields(document)) return Effect.fail(malformed(`the server's answer is not an object: ${quote(text)}`))
    const error = errorIn(document)
    return error === undefined ? Effect.succeed(document) : Effect.fail(error)
  })
