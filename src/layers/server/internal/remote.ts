/** Runners on a server as runners here: each run is a request, and the events of a stream are those of the server. */
import * as Effect from "effect/Effect"
import * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { elsewhere } from "../../../internal/elsewhere.ts"
import { type Form, formOf, plain } from "../../../internal/journaled.ts"
import { codec } from "../../../internal/jsonForm.ts"
import { schemaOf } from "../../../internal/knownErrors.ts"
import { always, conversation, inputOf, outputOf, takesText } from "../../../internal/runnerSchemas.ts"
import type { RunState } from "../../../internal/runState.ts"
import { aFunction } from "../../../internal/structure.ts"
import { Client } from "../../../RunEvent.ts"
import * as Runner from "../../../Runner.ts"
import { mirror } from "./mirror.ts"
import { charge, defaultLimit, priceOf, send, texts, usageOf } from "./remoteHttp.ts"
import { errorOf, RemoteError } from "./remoteError.ts"

/** Where the server is, and how it is asked. */
export interface ClientOptions {
  /** The address of the server, with its prefix: `https://agents.example`. */
  readonly url: string | URL
  /** The bearer token. */
  readonly token?: Redacted.Redacted<string> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** How many characters an answer may have, all events of a stream together. Default 16 Mi; a server's `limits.answer` counts bytes. */
  readonly limit?: number | undefined
  /** Default: `globalThis.fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined
  /** Errors of your own that runs may fail with, to have them as they are; the server sends them with `expose: ["errors"]`. */
  readonly errors?: ReadonlyArray<Schema.Top> | undefined
}

type Erased = Runner.Runner<unknown, unknown, unknown, never>

interface Target {
  readonly name: string
  readonly options: ClientOptions
  readonly encode: (input: unknown) => unknown
  readonly decode: (output: unknown) => unknown
}

/** A runner of this name on a server, with the schemas of the one that is given. */
export const remote = (name: string, given: unknown, options: ClientOptions): Erased => {
  const own = Runner.isRunner(given)
  const { input, runner } = own
    ? { runner: given, input: inputOf(given) }
    : (given as { runner: Runner.Any; input: Schema.Top })
  const output = outputOf(runner)
  const subject = `runner "${name}" of the client`
  const target: Target = {
    name,
    options,
    encode: encoderOf(subject, input),
    decode: output === undefined ? (value) => value : decoderOf(subject, output)
  }
  const forms = {
    output: output === undefined ? (plain as Form<unknown>) : formOf(output as Schema.Codec<unknown, unknown>),
    error: errorForm(options.errors ?? [])
  }
  return Runner.fromDefinition<unknown, unknown, unknown, never>(runner.name, runner.description, {
    body: (value, state) =>
      elsewhere(state, forms, state.events.streaming ? streamed(target, value, state) : whole(target, value, state)),
    input: always(input),
    output: always(output),
    observers: [],
    structure: aFunction
  })
}

/** The errors of runs as they are kept. One that is known on neither side is not. */
const errorForm = (known: ReadonlyArray<Schema.Top>): Form<unknown> => {
  const schemasOf = (error: unknown): ReadonlyArray<Schema.Top> => {
    const tag = Predicate.hasProperty(error, "_tag") ? String(error._tag) : ""
    const own = schemaOf(tag)
    return own === undefined ? [RemoteError, ...known] : [own, ...known]
  }
  return {
    encode: (error) => {
      const schema = schemasOf(error).find((one) => Schema.is(one)(error))
      return schema === undefined ? undefined : formOf(schema as Schema.Codec<unknown, unknown>).encode(error)
    },
    decode: (json) => {
      for (const schema of schemasOf(json)) {
        const form = Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>)
        const decoded = Schema.decodeUnknownOption(form)(json)
        if (decoded._tag === "Some") return decoded.value
      }
      throw new Error("the error of a run on a server is not one that its client knows")
    }
  }
}

const encoderOf = (subject: string, schema: Schema.Top | undefined) => {
  if (schema === conversation) return Schema.encodeUnknownSync(conversation as Schema.Codec<unknown, unknown>)
  if (takesText(schema)) return (value: unknown) => value
  return Schema.encodeUnknownSync(codec(subject, schema!, "input") as Schema.Codec<unknown, unknown>)
}

const decoderOf = (subject: string, schema: Schema.Top) =>
  Schema.decodeUnknownSync(codec(subject, schema, "output") as Schema.Codec<unknown, unknown>)

const failure = (target: Target, reason: RemoteError["reason"], detail: string, more: Partial<RemoteError> = {}) =>
  new RemoteError({ runner: target.name, reason, detail, ...more })

const fail = (...of: Parameters<typeof failure>) => Effect.fail(failure(...of))

const request = (target: Target, path: string, input: unknown, accept: string) =>
  Effect.flatMap(
    Effect.try({
      try: () => JSON.stringify({ input: target.encode(input) }),
      catch: () => failure(target, "refused", "The input does not fit its schema.")
    }),
    (body) =>
      send(target.options, { url: `${String(target.options.url).replace(/\/$/, "")}${path}`, accept, body }, () =>
        failure(target, "unreachable", "The server did not answer, or with a redirect, which is not followed.")
      )
  )

const Problem = Schema.Struct({
  detail: Schema.String,
  error: Schema.optionalKey(Schema.String),
  runId: Schema.optionalKey(Schema.String),
  failure: Schema.optionalKey(Schema.Json)
})
const decodeProblem = Schema.decodeUnknownOption(Problem)

/** The text of an answer as it comes, up to the limit. */
const textsOf = (target: Target, response: globalThis.Response): Stream.Stream<string, RemoteError> =>
  texts(response, target.options.limit ?? defaultLimit, (reason, detail) => failure(target, reason, detail))

const jsonOf = (target: Target, response: globalThis.Response): Effect.Effect<unknown, RemoteError> =>
  Effect.flatMap(Stream.mkString(textsOf(target, response)), (text) =>
    Effect.try({
      try: () => JSON.parse(text) as unknown,
      catch: () => failure(target, "unreadable", "The answer is not JSON.", { status: response.status })
    })
  )

/** The failure that an answer other than 200 is. */
const refused = (target: Target, response: globalThis.Response): Effect.Effect<never, unknown> =>
  Effect.gen(function* () {
    const { status } = response
    const decoded = decodeProblem(yield* jsonOf(target, response))
    if (status === 202) return yield* fail(target, "suspended", "The run waits for answers.", { status })
    if (decoded._tag === "None") {
      return yield* fail(target, "unreadable", "The answer is not a problem of such a server.", { status })
    }
    const { detail, error, failure, runId } = decoded.value
    const known = errorOf({ failure, usage: undefined, cost: undefined, steps: 0, detail }, target.options.errors ?? [])
    if (known !== undefined) return yield* Effect.fail(known)
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN)
    const more = {
      status,
      ...(error === undefined ? {} : { error }),
      ...(runId === undefined ? {} : { runId }),
      ...(Number.isNaN(seconds) ? {} : { retryAfterMs: seconds * 1000 })
    }
    return yield* fail(target, reasonOf(status, error), detail, more)
  })

const reasonOf = (status: number, error: string | undefined): RemoteError["reason"] => {
  if (error === "Interrupted") return "interrupted"
  if (error !== undefined) return "failed"
  if (status === 401 || status === 403) return "unauthorized"
  if (status === 429 || status === 503) return "busy"
  return status < 500 ? "refused" : "failed"
}

const Answer = Schema.Struct({
  output: Schema.Json,
  usage: Response.Usage,
  cost: Schema.optionalKey(Schema.Finite),
  steps: Schema.Int
})
const decodeAnswer = Schema.decodeUnknownOption(Answer)

const decoded = (target: Target, output: unknown): Effect.Effect<unknown, RemoteError> =>
  Effect.try({
    try: () => target.decode(output),
    catch: () => failure(target, "unreadable", "The output does not fit its schema.")
  })

const whole = (target: Target, input: unknown, state: RunState): Effect.Effect<unknown, unknown> =>
  Effect.gen(function* () {
    const response = yield* request(target, `/runners/${target.name}`, input, "application/json")
    if (response.status !== 200) return yield* refused(target, response)
    const answer = decodeAnswer(yield* jsonOf(target, response))
    if (answer._tag === "None") return yield* fail(target, "unreadable", "The answer is not one of such a server.")
    charge(state.bill, answer.value)
    return yield* decoded(target, answer.value.output)
  })

const decodeEvent = Schema.decodeUnknownOption(Schema.fromJsonString(Client))

const streamed = (target: Target, input: unknown, state: RunState): Effect.Effect<unknown, unknown> =>
  Effect.gen(function* () {
    const response = yield* request(target, `/runners/${target.name}/stream`, input, "application/x-ndjson")
    if (response.status !== 200) return yield* refused(target, response)
    const take = mirror(state)
    let end: Client | undefined
    const lines = textsOf(target, response).pipe(
      Stream.splitLines,
      Stream.filter((line) => line.trim() !== "")
    )
    yield* Stream.runForEach(lines, (line) => {
      const event = decodeEvent(line)
      if (event._tag === "None") return fail(target, "unreadable", "An event is not one of such a server.")
      if (event.value.path !== undefined) return Effect.void
      end = event.value
      return take(event.value)
    })
    return yield* ending(target, end)
  })

/** The output or the error that the last event has. */
const ending = (target: Target, end: Client | undefined): Effect.Effect<unknown, unknown> => {
  switch (end?._tag) {
    case "Completed":
      return decoded(target, end.output)
    case "Failed": {
      const { error, failure, message, steps } = end
      const detail = message ?? "The run failed."
      const spent = { usage: encodeUsage(usageOf(end.usage)), cost: priceOf(end.cost).cost, steps: Math.max(0, steps) }
      const known = errorOf({ failure, ...spent, detail }, target.options.errors ?? [])
      return known === undefined ? fail(target, "failed", detail, { error }) : Effect.fail(known)
    }
    case "Interrupted":
      return fail(target, "interrupted", "The run was interrupted.")
    case "Suspended":
      return fail(target, "suspended", "The run waits for answers.")
    default:
      return fail(target, "unreachable", "The answer broke off.")
  }
}

const encodeUsage = Schema.encodeSync(Response.Usage)
