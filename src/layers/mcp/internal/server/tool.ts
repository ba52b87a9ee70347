/** A runner as an MCP tool: its schemas, and one call of it. */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as JsonSchema from "effect/JsonSchema"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as McpSchema from "effect/ai/McpSchema"
import { assertOptions, namesOf } from "../../../../internal/definition.ts"
import { isJsonObject, textOfJson, toJson } from "../../../../internal/json.ts"
import { codec, jsonSchema } from "../../../../internal/jsonForm.ts"
import { inputOf as inputSchemaOf, outputOf, takesText } from "../../../../internal/runnerSchemas.ts"
import { InvalidDefinition, RunTimedOut } from "../../../../RunError.ts"
import type { RunEvent } from "../../../../RunEvent.ts"
import * as Runner from "../../../../Runner.ts"
import { clientMessage } from "../../../internal/clientMessage.ts"

const TypeId = "~troupe/McpServer/Tool"

/** The result of a call, before Effect's server encodes it. Its schemas are loaded with the server. */
export interface Answer {
  readonly content: ReadonlyArray<McpSchema.ContentBlock>
  readonly isError?: boolean
  readonly structuredContent?: Schema.Json
}

/** A runner with its definition for MCP clients. `Services` is what its runs need. */
export interface Tool<out Services> {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  /** The tool in `tools/list`. */
  readonly descriptor: ConstructorParameters<typeof McpSchema.Tool>[0]
  /** @internal One call; `report` is there when the client asked for progress. Fails with what is wrong with the arguments. */
  readonly call: (args: unknown, report: Report | undefined) => Effect.Effect<Answer, string, Services>
}

/** Tells the client of progress. */
export type Report = (message: string) => Effect.Effect<void>

/**
 * Tests for a tool made by `McpServer.tool`.
 *
 * @example
 * import { McpServer, Runner } from "troupe"
 *
 * const count = (values: ReadonlyArray<unknown>) =>
 *   values.filter((value) => Runner.isRunner(value) || McpServer.isTool(value)).length
 */
export const isTool = (u: unknown): u is Tool<unknown> => Predicate.hasProperty(u, TypeId)

/** Hints on what a call does. They are not enforced. */
export interface Annotations {
  /** It changes nothing. Default false. */
  readonly readOnlyHint?: boolean
  /** It may destroy something. Default true. */
  readonly destructiveHint?: boolean
  /** Calling it again with the same arguments changes nothing more. Default false. */
  readonly idempotentHint?: boolean
  /** It deals with things outside of the server's control, such as the web. Default true. */
  readonly openWorldHint?: boolean
}

/** How a runner is shown to MCP clients. */
export interface Options<Parameters extends Schema.Top, Input, Output, Failure = never> {
  /** The tool's name; the runner's by default, with what clients refuse replaced by `_`. */
  readonly name?: string | undefined
  /** A name for people. */
  readonly title?: string | undefined
  /** The tool's description; the runner's by default. */
  readonly description?: string | undefined
  /**
   * What the client fills in, and how it becomes the runner's input. Default: the runner's own `input` schema, where it has
   * one that is not a text; otherwise a text, `{ input: string }`.
   */
  readonly parameters?: Parameters | undefined
  readonly input?: ((params: Parameters["Type"]) => Input) | undefined
  /** The schema of the structured result; by default that of the runner's own output. */
  readonly output?: Schema.Schema<Output> | undefined
  /** The content of the result, such as an image. Default: the output as text, or as JSON when it is not a string. */
  readonly content?: ((output: Output) => ReadonlyArray<McpSchema.ContentBlock>) | undefined
  /** Hints for clients, for example to decide whether to ask the user. Default: MCP's, which assume the worst. */
  readonly annotations?: Annotations | undefined
  /** How long one run may take; then it is interrupted and the call fails. Default: as long as it takes. */
  readonly timeout?: Duration.Input | undefined
  /**
   * The progress message for an event, when the client asks for progress; `undefined` for none. Default: `stepProgress`.
   */
  readonly progress?: ((event: RunEvent) => string | undefined) | undefined
  /**
   * The message for the client about what a run failed with; `undefined`: only that it failed. It is sent as it is, so leave out
   * what is only for the operators of the server. Default: the message of an error of your own, unless it has an address,
   * a path or a setting in it; a short description of a failure of a model, a tool or a workflow. The log has the whole
   * error.
   */
  readonly failure?: ((error: Failure) => string | undefined) | undefined
}

const TextInput = Schema.Struct({
  input: Schema.String.annotate({ description: "The task, with everything needed to do it" })
})

const known = namesOf<Options<Schema.Top, never, never>>({
  name: true,
  title: true,
  description: true,
  parameters: true,
  input: true,
  output: true,
  content: true,
  annotations: true,
  timeout: true,
  progress: true,
  failure: true
})

const worst = { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true }

interface Naming {
  readonly name: string
  readonly description: string
  /** For errors of the definition. */
  readonly subject: string
}

/** What clients know a runner by. Throws `InvalidDefinition` for what they refuse. */
const namingOf = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, options: Options<Schema.Top, I, A, E>): Naming => {
  const name = options.name ?? runner.name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64)
  const subject = `MCP tool "${name}"`
  const description = options.description ?? runner.description
  if (description === undefined || description.trim() === "") {
    const remedy = "Describe the runner where it is made, or give McpServer.tool a description"
    throw new InvalidDefinition({ subject, problem: "it has no description", remedy })
  }
  if (!/^[a-zA-Z0-9_.-]{1,128}$/.test(name)) {
    const remedy = "Use 1 to 128 letters, digits, underscores, hyphens or dots"
    throw new InvalidDefinition({ subject, problem: "clients may refuse its name", remedy })
  }
  return { name, description, subject }
}

/** The schema of parameters, and how arguments are read by it. */
const inputOf = ({ name, subject }: Naming, parameters: Schema.Top) => {
  const coded = codec(subject, parameters)
  const schema = objectSchema(subject, coded)
  if (schema === undefined) {
    const problem = "its parameters are not an object with fields"
    throw new InvalidDefinition({ subject, problem, remedy: "Make them a Schema.Struct" })
  }
  const decode = Schema.decodeUnknownEffect(coded as Schema.Codec<unknown, unknown>)
  return {
    schema: schema as McpSchema.ToolJson,
    read: (args: unknown) =>
      Effect.mapError(
        decode(args ?? {}),
        ({ message }) => `Invalid arguments for tool "${name}": ${message.replaceAll(/\s*\n\s*/g, " ")}`
      )
  }
}

interface Parameters<I> {
  readonly parameters: Schema.Top
  readonly toInput: (params: unknown) => I
}

/** The parameters of a runner as a tool: those that are given, otherwise its own input, which is a text if unknown. */
const parametersOf = <I, A, E, R>(
  subject: string,
  runner: Runner.Runner<I, A, E, R>,
  options: Options<Schema.Top, I, A, E>
): Parameters<I> => {
  const ofField = (params: unknown) => (params as { readonly input: I }).input
  const own = inputSchemaOf(runner)
  if (options.parameters !== undefined || options.input !== undefined || own === undefined || takesText(own)) {
    return { parameters: options.parameters ?? TextInput, toInput: options.input ?? ofField }
  }
  // What the schema decodes is the runner's input.
  return objectSchema(subject, codec(subject, own)) === undefined
    ? { parameters: Schema.Struct({ input: own }), toInput: ofField }
    : { parameters: own, toInput: (params) => params as I }
}

export const make = <I, A, E, R>(
  runner: Runner.Runner<I, A, E, R>,
  options: Options<Schema.Top, I, A, E> = {}
): Tool<R> => {
  assertOptions(`MCP tool of "${runner.name}"`, options, known)
  const naming = namingOf(runner, options)
  const { description, name, subject } = naming
  const { parameters, toInput } = parametersOf(subject, runner, options)
  const input = inputOf(naming, parameters)
  const own = outputOf(runner)
  const structure = structureOf(subject, options.output ?? (own === Schema.String ? undefined : own))
  const limited = options.timeout === undefined ? runner : Runner.withTimeout(runner, options.timeout)
  const progressOf = options.progress ?? stepProgress
  // A timeout of the tool is a failure that the runner's type does not have.
  const explain = (error: unknown): string | undefined =>
    error instanceof RunTimedOut || options.failure === undefined ? clientMessage(error) : options.failure(error as E)
  const resultOf = (value: A): Answer => {
    const { json, structured } = structure.encode(value)
    const content = options.content?.(value) ?? [text(textOfJson(json))]
    return { content, ...(structured === undefined ? {} : { structuredContent: structured }) }
  }
  return {
    [TypeId]: TypeId,
    name,
    descriptor: {
      name,
      description,
      inputSchema: input.schema,
      ...(options.title === undefined ? {} : { title: options.title }),
      ...(structure.schema === undefined ? {} : { outputSchema: structure.schema }),
      ...(options.annotations === undefined ? {} : { annotations: { ...worst, ...options.annotations } })
    },
    call: (args, report) =>
      Effect.gen(function* () {
        const params = yield* input.read(args)
        return yield* Effect.suspend(() => runOf(limited, toInput(params), progressOf, report)).pipe(
          Effect.map(resultOf),
          Effect.catchCause((cause) => failed(name, cause, explain))
        )
      }).pipe(Effect.catchDefect((defect) => failed(name, Cause.die(defect), explain)))
  }
}

/** Streams a run only when the client asked for progress. The last of its events may come with the answer. */
const runOf = <I, A, E, R>(
  runner: Runner.Runner<I, A, E, R>,
  input: I,
  progressOf: (event: RunEvent) => string | undefined,
  report: Report | undefined
): Effect.Effect<A, E, R> => {
  if (report === undefined) return runner.run(input)
  let output: A | undefined
  const kept = Runner.map(runner, (value) => {
    output = value
  })
  return kept.stream(input).pipe(
    Stream.runForEach((event) => {
      const message = progressOf(event)
      return message === undefined ? Effect.void : report(message)
    }),
    Effect.map(() => output as A)
  )
}

/** The JSON schema of what encodes to an object; `undefined` for anything else. */
const objectSchema = (subject: string, schema: Schema.Top): JsonSchema.JsonSchema | undefined => {
  const json = resolveRoot(jsonSchema(subject, schema))
  return json["type"] === "object" ? json : undefined
}

/** A recursive schema is in its own definitions; clients want an object at the root. */
const resolveRoot = (json: JsonSchema.JsonSchema): JsonSchema.JsonSchema => {
  const reference = json["$ref"]
  const definitions = json["$defs"] as { readonly [name: string]: JsonSchema.JsonSchema } | undefined
  if (typeof reference !== "string" || definitions === undefined) return json
  const target = definitions[reference.replace("#/$defs/", "")]
  return target === undefined ? json : { ...target, $defs: definitions }
}

interface Structure {
  readonly schema: JsonSchema.JsonSchema | undefined
  readonly encode: (value: unknown) => { readonly json: Schema.Json; readonly structured: Schema.Json | undefined }
}

/** Structured content is an object in every revision but the newest, so anything else is wrapped in one. */
const structureOf = (subject: string, output: Schema.Top | undefined): Structure => {
  if (output === undefined) {
    return {
      schema: undefined,
      encode: (value) => {
        const json = toJson(value)
        return { json, structured: isJsonObject(json) ? json : undefined }
      }
    }
  }
  const coded = codec(subject, output)
  const object = objectSchema(subject, coded)
  const encode = Schema.encodeUnknownSync(coded as Schema.Codec<unknown, unknown>)
  const { $defs, ...result } = jsonSchema(subject, coded)
  const wrapped = {
    type: "object",
    properties: { result },
    required: ["result"],
    ...($defs === undefined ? {} : { $defs })
  }
  return {
    schema: object ?? wrapped,
    encode: (value) => {
      const encoded = toJson(encode(value))
      const json = object === undefined ? { result: encoded } : encoded
      return { json: typeof encoded === "string" ? encoded : json, structured: json }
    }
  }
}

const text = (value: string): McpSchema.ContentBlock => ({ type: "text", text: value })

/** A result that says that the call failed. */
export const errorResult = (message: string): Answer => ({ isError: true, content: [text(message)] })

/** The log has the whole failure; the client gets what is meant for it. */
const failed = (
  name: string,
  cause: Cause.Cause<unknown>,
  explain: (error: unknown) => string | undefined
): Effect.Effect<Answer> => {
  const failure = Cause.findFail(cause)
  if (Result.isFailure(failure)) {
    if (Cause.hasInterruptsOnly(cause)) return Effect.succeed(errorResult(`"${name}" was interrupted.`))
    return Effect.as(
      Effect.logError(`MCP tool "${name}" failed unexpectedly`, cause),
      errorResult(`"${name}" failed unexpectedly. The server's log says why.`)
    )
  }
  return Effect.andThen(
    Effect.logWarning(`MCP tool "${name}" failed`, cause),
    Effect.sync(() => errorResult(explain(failure.success.error) ?? `"${name}" failed. The server's log says why.`))
  )
}

/**
 * Progress in steps: which runner is at what, without anything that models or tools said.
 *
 * @example
 * import { Agent, McpServer } from "troupe"
 *
 * const agent = Agent.make("researcher", { description: "Finds facts", instructions: "You research." })
 * const tool = McpServer.tool(agent, { progress: McpServer.stepProgress })
 */
export const stepProgress = (event: RunEvent): string | undefined => {
  const said = aboutStep(event)
  return said === undefined ? undefined : `${event.path.join(" > ")}: ${said}`
}

const aboutStep = (event: RunEvent): string | undefined => {
  switch (event._tag) {
    case "StepStarted":
      return `step ${event.step}`
    case "StepRetried":
    case "RunRetried":
      return `tries again, attempt ${event.attempt}`
    case "TurnReplaced":
      return `answers again, by ${event.by}`
    case "ToolCalled":
      return `calls ${event.tool}`
    case "ToolCompleted":
      return `${event.tool} is done`
    case "ToolFailed":
      return `${event.tool} failed`
    case "RouteTaken":
      return `goes to ${event.routes.join(", ")}`
    case "RoundCompleted":
      return `round ${event.round} is ${event.accepted ? "accepted" : "not accepted"}`
    case "HandedOff":
      return `hands over from ${event.from} to ${event.to}`
    case "ItemCompleted":
      return `${event.item} ${event.status}, ${event.done}${event.total === undefined ? "" : ` of ${event.total}`}`
    default:
      return undefined
  }
}

/**
 * Progress in words: the pieces of the runner's answer as they come, those of nested runners left out.
 *
 * @example
 * import { Agent, McpServer } from "troupe"
 *
 * const agent = Agent.make("writer", { description: "Writes", instructions: "You write." })
 * const tool = McpServer.tool(agent, { progress: McpServer.textProgress })
 */
export const textProgress = (event: RunEvent): string | undefined =>
  event._tag === "TextDelta" && event.path.length === 1 ? event.delta : undefined
