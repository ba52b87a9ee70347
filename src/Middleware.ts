/**
 * Middleware: functions around the runs, model calls and tool calls of an agent. It can observe, change, answer in their
 * place, repeat or fail. Give it to one agent with the option `middleware`, where the first is outermost, or to every agent
 * of a program with {@link layer}, outside of their own.
 *
 * Everything that it is given and returns is plain data with a schema. Events, usage and transcripts are those of what
 * really happened. Interrupting a run interrupts its middleware, and what goes on within `next`, to the wire.
 *
 * Approval is inside of middleware: an approver sees the arguments that the tool will run with.
 */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Response from "effect/ai/Response"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { AgentError } from "./internal/agentError.ts"
import { captured } from "./internal/captured.ts"
import { assertFunction, assertList, assertName, assertOptions } from "./internal/definition.ts"
import * as Around from "./internal/middleware.ts"
import { noUsage } from "./internal/usage.ts"
import type { ErrorIn, ServicesIn } from "./internal/wiring.ts"
import { CallSettings } from "./services/ModelInfo.ts"
import { isSync } from "./services/SyncBridge.ts"
import type { ToolSource } from "./ToolSource.ts"

const TypeId = "~troupe/Middleware"

/** The typed errors of what is further in. They are passed on and never made, and do not join the agent's type again. */
export interface Inner {
  readonly "~troupe/Middleware/Inner": "Inner"
}

/** What `next` can fail with: the errors of agents, and those of middleware further in. */
export type Failure = AgentError | Inner

const place = {
  /** The names of the runners from the root to the agent. */
  path: Schema.Array(Schema.String),
  runId: Schema.String
}
const inStep = {
  ...place,
  /** The step under way, counted from 1. */
  step: Schema.Int
}

/** A run that is about to begin. Another `prompt` takes the place of the input, also for the agent's `instructions`. */
export const RunRequest = Schema.Struct({ ...place, prompt: Prompt.Prompt })
/** A run that is about to begin. Another `prompt` takes the place of the input, also for the agent's `instructions`. */
export interface RunRequest extends Schema.Schema.Type<typeof RunRequest> {}

/** What a run gives, as JSON. Another output is decoded by the agent's `output`; that of a text agent is a text. */
export const RunOutput = Schema.Struct({
  output: Schema.Json,
  /** The conversation of the run that gave it: what `next` returns has one. A changed one changes nothing. */
  transcript: Schema.optionalKey(Prompt.Prompt)
})
/** What a run gives, as JSON. Another output is decoded by the agent's `output`; that of a text agent is a text. */
export interface RunOutput extends Schema.Schema.Type<typeof RunOutput> {}

/** A tool as a model is shown it. */
export const ShownTool = Schema.Struct({
  name: Schema.String,
  description: Schema.String,
  /** The JSON schema of its parameters. */
  parameters: Schema.Json,
  /** Set for a tool that the model is shown once the provider's tool search has found it. */
  isDeferred: Schema.optionalKey(Schema.Literal(true))
})
/** A tool as a model is shown it. */
export interface ShownTool extends Schema.Schema.Type<typeof ShownTool> {}

const ToolChoice: Schema.Codec<LanguageModel.ToolChoice<string>> = Schema.Union([
  Schema.Literals(["auto", "none", "required"]),
  Schema.Struct({ tool: Schema.String }),
  Schema.Struct({
    mode: Schema.optionalKey(Schema.Literals(["auto", "required"])),
    oneOf: Schema.Array(Schema.String)
  })
])

/**
 * A request that is about to be sent to the model. What is changed in it changes what is sent, and not the transcript. A
 * tool that is left out cannot be called in this step.
 */
export const ModelRequest = Schema.Struct({
  ...inStep,
  /** How many steps the run may take; absent without a limit. */
  maxSteps: Schema.optionalKey(Schema.Int),
  /** The conversation, after the agent's instructions as a system message. */
  prompt: Prompt.Prompt,
  tools: Schema.Array(ShownTool),
  toolChoice: ToolChoice,
  /** How the model is to answer. A model that does not read them answers as it does without; `OpenAi.layer` sends them. */
  options: CallSettings
})
/**
 * A request that is about to be sent to the model. What is changed in it changes what is sent, and not the transcript. A
 * tool that is left out cannot be called in this step.
 */
export interface ModelRequest extends Schema.Schema.Type<typeof ModelRequest> {}

/** A model's whole answer. */
export const Turn = Schema.Struct({
  text: Schema.String,
  reasoning: Schema.String,
  /** The calls of the agent's tools. */
  toolCalls: Schema.Array(Schema.Struct({ id: Schema.String, name: Schema.String, params: Schema.Json })),
  finishReason: Response.FinishReason,
  /** What the call has used. It counts where the call was made: a changed usage changes no bill. */
  usage: Response.Usage,
  /**
   * What is in none of the others: files, sources, tools that the provider ran, and signatures, which are parts of reasoning,
   * text or a tool call without their content.
   */
  parts: Schema.Array(Schema.toEncoded(Response.Part()) as unknown as Schema.Codec<Response.PartEncoded>),
  /**
   * What middleware notes on the answer, by a name of its own. The transcript keeps it, as `options.troupe` of the answer's
   * message, where later steps and runs find it. No model is sent it.
   */
  notes: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})
/** A model's whole answer. */
export interface Turn extends Schema.Schema.Type<typeof Turn> {}

/** A tool call that is about to be made. Only its `params` can be changed; they are checked again. */
export const ToolCall = Schema.Struct({
  ...inStep,
  toolCallId: Schema.String,
  tool: Schema.String,
  /** The arguments. A call whose arguments are not an object fails before middleware. */
  params: Schema.Record(Schema.String, Schema.Json),
  /** What the tool says about itself; see the annotations of `effect/ai` Tool and of MCP. */
  hints: Schema.Struct({
    readOnly: Schema.Boolean,
    destructive: Schema.Boolean,
    idempotent: Schema.Boolean,
    openWorld: Schema.Boolean
  }),
  /** The same for every attempt at the call. */
  idempotencyKey: Schema.String,
  /** The conversation up to the call. */
  prompt: Prompt.Prompt
})
/** A tool call that is about to be made. Only its `params` can be changed; they are checked again. */
export interface ToolCall extends Schema.Schema.Type<typeof ToolCall> {}

/** What a tool call gives, as the model sees it. */
export const Outcome = Schema.Struct({ result: Schema.Json, isFailure: Schema.Boolean })
/** What a tool call gives, as the model sees it. */
export interface Outcome extends Schema.Schema.Type<typeof Outcome> {}

/** A piece of an answer as it comes. */
export type Part = Response.StreamPartEncoded

/** Returned by a `part` to keep a delta back until all `model` functions have returned. See {@link Functions}. */
export const hold: unique symbol = Symbol.for("troupe/Middleware/hold")

type AnyEffect<A> = Effect.Effect<A, unknown, unknown>

/** The functions of a middleware, by what they return. */
export interface Functions<out Run, out Model, out Tool> {
  /** Around a whole run. A second `next` begins the run again, after the first has ended (`RunRetried`). */
  readonly run?: ((run: RunRequest, next: (run: RunRequest) => Effect.Effect<RunOutput, Failure>) => Run) | undefined
  /**
   * Around each model call, its retries included. A model that is provided around `next` answers in place of the agent's. A
   * second `next`, or another turn than that of `next`, voids what was streamed (`TurnReplaced`).
   */
  readonly model?:
    | ((request: ModelRequest, next: (request: ModelRequest) => Effect.Effect<Turn, Failure>) => Model)
    | undefined
  /** Around each tool call, its approval included. Calls of one step are made at once. */
  readonly tool?: ((call: ToolCall, next: (call: ToolCall) => Effect.Effect<Outcome, Failure>) => Tool) | undefined
  /**
   * Sees each part of an answer as it comes, in place, so it has to be quick and synchronous. A whole answer passes as one
   * delta of each kind. What it changes or drops (`undefined`) of a `text-delta` is so in events, output and transcript; of a
   * `reasoning-delta` in events only, because providers insist on their reasoning. Other parts it can only look at.
   *
   * A delta for which it returns {@link hold} stays in the answer, and is emitted when all `model` functions have returned:
   * unless one of them fails or returns another text, in whose place nothing of it is ever seen. Arguments that stream
   * (`tool-params-delta`) are not emitted at all then; the whole call is.
   */
  readonly part?: ((part: Part) => Part | typeof hold | undefined) | undefined
}

type AnyFunctions = Functions<AnyEffect<RunOutput>, AnyEffect<Turn>, AnyEffect<Outcome>>

/** A middleware. `E` and `R` are what it adds to the agents that it is around. */
export interface Middleware<out E = never, out R = never> {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  /** @internal Only a type. */
  readonly adds?: { readonly error: E; readonly services: R }
  /** @internal */
  readonly around: AnyFunctions
  /** @internal Tools that an agent gets with it. */
  readonly tools?: ReadonlyArray<ToolSource<never>> | undefined
}

/** Any middleware. */
export type Any = Middleware<unknown, unknown>
/**
 * Any middleware, where a type is inferred from it: without the types of {@link Any}, which would be taken for those of one
 * that is written in place.
 */
export type Member = Pick<Any, typeof TypeId | "name">
/** What middleware `M` adds to the errors of an agent. */
export type Error<M> = M extends Middleware<infer E, infer _R> ? E : never
/** The services that middleware `M` needs. */
export type Services<M> = M extends Middleware<infer _E, infer R> ? R : never

/** True for a middleware. */
export const isMiddleware = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * Makes a middleware of functions that are around what they are named after. Each calls `next` with the request to go on; it
 * can change the request and what comes back, leave `next` out, call it again, or fail.
 *
 * Its typed errors and services join the type of the agent that has it. A defect fails the run with `MiddlewareError`, and so
 * does a typed error of a middleware that is given by {@link layer}.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Middleware } from "troupe"
 *
 * const patient = Middleware.make("patient", {
 *   tool: (call, next) => Effect.timeoutOrElse(next(call), {
 *     duration: "10 seconds",
 *     orElse: () => Effect.succeed(Middleware.outcome("It takes too long. Go on without it.", { isFailure: true }))
 *   })
 * })
 * const agent = Agent.make("agent", { middleware: [patient] })
 */
export const make = <
  Run extends AnyEffect<RunOutput> = never,
  Model extends AnyEffect<Turn> = never,
  Tool extends AnyEffect<Outcome> = never
>(
  name: string,
  around: Functions<Run, Model, Tool>
): Middleware<Exclude<ErrorIn<Run | Model | Tool>, Failure>, ServicesIn<Run | Model | Tool>> => {
  assertFunctions(name, around, functions)
  return { [TypeId]: TypeId, name, around }
}

const functions: ReadonlySet<string> = new Set(["run", "model", "tool", "part"])

const assertFunctions = (name: string, given: object, known: ReadonlySet<string>): void => {
  assertName("a middleware", name, 'Give it one: Middleware.make("name", { ... }); it shows in errors')
  const subject = `middleware "${name}"`
  assertOptions(subject, given, known)
  for (const [key, value] of Object.entries(given)) if (value !== undefined) assertFunction(subject, key, value)
}

/** What a hook returns: nothing, what takes the place of what it was given, or a promise or an Effect of either. */
export type Given<A> =
  | void
  | undefined
  | A
  | Promise<void | undefined | A>
  | Effect.Effect<void | undefined | A, unknown, unknown>

/** The functions of {@link hooks}, by what they return. */
export interface Hooks<out A, out B, out C, out D, out F, out G> {
  /** Before a run. */
  readonly beforeAgent?: ((run: RunRequest) => A) | undefined
  /** After a run that has succeeded. */
  readonly afterAgent?: ((output: RunOutput, run: RunRequest) => B) | undefined
  /** Before each model call. */
  readonly beforeModel?: ((request: ModelRequest) => C) | undefined
  /** After each model call that has succeeded. */
  readonly afterModel?: ((turn: Turn, request: ModelRequest) => D) | undefined
  /** Before each tool call. */
  readonly beforeTool?: ((call: ToolCall) => F) | undefined
  /** After each tool call that has given the model something, a failure too. */
  readonly afterTool?: ((outcome: Outcome, call: ToolCall) => G) | undefined
}

/**
 * Makes a middleware of functions before and after. What a function returns takes the place of what it was given; one that
 * returns nothing changes nothing. They can return a value, a promise or an Effect.
 *
 * A promise is waited for where that is possible. Under `Effect.runSync` it fails the run with `MiddlewareError`, whose message
 * says what to do. Errors and defects become what they do in {@link make}; a rejection is a defect.
 *
 * @example
 * import { Agent, Middleware } from "troupe"
 *
 * const regional = Middleware.hooks("regional", {
 *   beforeTool: (call) => ({ ...call, params: { ...call.params, region: "eu" } }),
 *   afterTool: (outcome, call) => console.log(call.tool, outcome.isFailure)
 * })
 * const agent = Agent.make("agent", { middleware: [regional] })
 */
export const hooks = <
  A extends Given<RunRequest> = void,
  B extends Given<RunOutput> = void,
  C extends Given<ModelRequest> = void,
  D extends Given<Turn> = void,
  F extends Given<ToolCall> = void,
  G extends Given<Outcome> = void
>(
  name: string,
  hooks: Hooks<A, B, C, D, F, G>
): Middleware<Exclude<ErrorIn<A | B | C | D | F | G>, Failure>, ServicesIn<A | B | C | D | F | G>> => {
  assertFunctions(name, hooks, hookNames)
  const { afterAgent, afterModel, afterTool, beforeAgent, beforeModel, beforeTool } = hooks
  const around: AnyFunctions = {
    run: between(beforeAgent, afterAgent),
    model: between(beforeModel, afterModel),
    tool: between(beforeTool, afterTool)
  }
  return { [TypeId]: TypeId, name, around }
}

const hookNames: ReadonlySet<string> = new Set([
  "beforeAgent",
  "afterAgent",
  "beforeModel",
  "afterModel",
  "beforeTool",
  "afterTool"
])

/** Two hooks as one function around what is between them. */
const between = <Request, Answer>(
  before: ((request: Request) => Given<Request>) | undefined,
  after: ((answer: Answer, request: Request) => Given<Answer>) | undefined
) => {
  if (before === undefined && after === undefined) return undefined
  return (request: Request, next: (request: Request) => Effect.Effect<Answer, Failure>): AnyEffect<Answer> => {
    const goOn = (request: Request): AnyEffect<Answer> => {
      if (after === undefined) return next(request)
      return Effect.flatMap(next(request), (answer) => valueOf(after(answer, request), answer))
    }
    if (before === undefined) return goOn(request)
    const given = before(request)
    return given === undefined ? goOn(request) : Effect.flatMap(valueOf(given, request), goOn)
  }
}

/** What a hook has given, or `otherwise` where it has given nothing. */
const valueOf = <A>(given: Given<A>, otherwise: A): AnyEffect<A> => {
  if (given === undefined) return Effect.succeed(otherwise)
  const or = (value: void | undefined | A): A => (value === undefined ? otherwise : (value as A))
  if (Effect.isEffect(given)) return Effect.map(given as AnyEffect<void | undefined | A>, or)
  if (!Predicate.isPromiseLike(given)) return Effect.succeed(given as A)
  return Effect.flatMap(isSync, (sync) => {
    if (!sync)
      return Effect.map(
        Effect.promise(() => given as Promise<void | undefined | A>),
        or
      )
    // Swallow a late rejection: it must not end the process.
    given.then(undefined, () => {})
    return Effect.die(new globalThis.Error(cannotWait))
  })
}

const cannotWait =
  "a hook returned a promise, which Effect.runSync cannot wait for. Run the program with Effect.runPromise, or make the hook an Effect or a function that returns its value"

/**
 * Middleware around every agent that runs below the Layer, outside of the agent's own. The first is outermost.
 *
 * Layers add up, in whichever way they are provided: nested, merged or in a list, the outer one outermost. The same
 * middleware in several of them counts once.
 *
 * What the middleware needs is taken when the Layer is built; of services that the run has too, those of the run are used,
 * except for the model. Its typed errors fail the run with `MiddlewareError`, because no agent's type knows them. It is not
 * around the agents that it runs itself.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Middleware } from "troupe"
 *
 * const audit = Middleware.hooks("audit", { beforeTool: (call) => Effect.log(call.tool) })
 * const program = Agent.make("agent", {}).run("Hello").pipe(Effect.provide(Middleware.layer(audit)))
 */
export const layer = <const M extends ReadonlyArray<Any>>(
  ...middleware: M
): Layer.Layer<never, never, Services<M[number]>> => {
  assertMiddleware("Middleware.layer", middleware)
  const given = Around.givenBy(middleware)
  return Layer.effectContext(Effect.map(captured<Services<M[number]>>(), (services) => given(services as never)))
}

/** @internal Throws unless `list` is a list of middleware. */
export const assertMiddleware = (subject: string, list: unknown): void =>
  assertList(subject, "middleware", list, isMiddleware, {
    what: "a middleware",
    remedy: "Give it what Middleware.make or Middleware.hooks returns"
  })

/**
 * An answer in the place of the model's: a text, or any parts of a turn. It has used nothing.
 *
 * @example
 * import { Effect } from "effect"
 * import { Middleware } from "troupe"
 *
 * const closed = Middleware.make("closed", { model: () => Effect.succeed(Middleware.turn("We are closed.")) })
 */
export const turn = (given: string | Partial<Turn>): Turn => {
  const { toolCalls = [], ...rest }: Partial<Turn> = typeof given === "string" ? { text: given } : given
  return {
    text: "",
    reasoning: "",
    toolCalls,
    finishReason: toolCalls.length > 0 ? "tool-calls" : "stop",
    usage: noUsage,
    parts: [],
    ...rest
  }
}

/**
 * What a tool call gives, in the place of the tool's own.
 *
 * - `isFailure`: whether the model sees it as a failure. Default false.
 *
 * @example
 * import { Effect } from "effect"
 * import { Middleware } from "troupe"
 *
 * const dryRun = Middleware.make("dry run", {
 *   tool: (call, next) => call.hints.readOnly ? next(call) : Effect.succeed(Middleware.outcome("not done: this is a dry run"))
 * })
 */
export const outcome = (result: Schema.Json, options?: { readonly isFailure?: boolean | undefined }): Outcome => ({
  result,
  isFailure: options?.isFailure ?? false
})
