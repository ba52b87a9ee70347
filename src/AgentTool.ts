/**
 * Tools made of plain functions, and runners made into tools. A tool here carries its own handler, so two agents with
 * equally named tools never get each other's. It may touch `Runner` and the run's port; it knows no agent or layer.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import { toJson } from "./internal/json.ts"
import { assertPlain, codec, jsonSchema } from "./internal/jsonForm.ts"
import type { Drawable } from "./internal/structure.ts"
import { InvalidDefinition } from "./RunError.ts"
import { CurrentRun, type RunInfo } from "./services/CurrentRun.ts"
import { isSync } from "./services/SyncBridge.ts"

const TypeId = "~troupe/AgentTool"

/**
 * How a tool's function works, recorded when the tool is defined:
 *
 * - `sync`: it runs in place and gives a value, or an Effect to run. It blocks the event loop while it runs.
 * - `promise`: an `async` function. It gets an `AbortSignal` that fires on interruption.
 * - `effect`: a generator function, run as by `Effect.gen`.
 */
export type Kind = "sync" | "promise" | "effect"

/** @internal What `execute` fails with where a promise cannot be waited for; the loop makes an `AsyncToolError` of it. */
export class CannotWait {
  readonly _tag = "CannotWait"
}

/** What the function is told besides its parameters: the run it works for, and a signal. */
export interface ToolContext extends RunInfo {
  readonly toolCallId: string
  readonly idempotencyKey: string
  readonly step: number
  /** Fires when the run is interrupted or the tool times out. */
  readonly signal: AbortSignal
  /** Tells a preliminary result: a `ToolProgress` event. The model sees only the final one. */
  readonly progress: (result: unknown) => Effect.Effect<void>
}

/** A tool with its handler. `Services` is what its function needs; the agent needs it too. */
export interface AgentTool<out Name extends string, out Services> {
  readonly [TypeId]: typeof TypeId
  readonly name: Name
  readonly kind: Kind
  /** The `effect/ai` tool that the model is shown. */
  readonly tool: Tool.Any
  /** How long one call may take. `undefined`: the agent's `toolTimeout`. */
  readonly timeout: Duration.Duration | undefined
  /** @internal The runner that it is the tool form of. */
  readonly runner: Drawable | undefined
  /**
   * @internal Runs the function on decoded parameters; fails with what it threw or failed with. Tells `onPromise` when
   * a promise is under way, which goes on whatever happens to the run.
   */
  readonly execute: (
    params: unknown,
    context: Omit<ToolContext, "signal">,
    onPromise: () => void
  ) => Effect.Effect<unknown, unknown, Services>
}

/** Any tool with its handler. */
export type Any = AgentTool<string, unknown>
/** The services that tool `T` needs. */
export type Services<T> = T extends AgentTool<infer _Name, infer R> ? R : never

/** True for a tool with its handler. */
export const isAgentTool = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

type ServicesOf<Out> =
  Out extends Effect.Effect<infer _A, infer _E, infer R>
    ? R
    : Out extends Generator<infer Y, infer _A, infer _N>
      ? Y extends Effect.Effect<infer _B, infer _E2, infer R2>
        ? R2
        : never
      : never
/** What a function may give for a tool whose result is `A`. */
export type Returns<A> =
  | A
  | PromiseLike<A>
  | Effect.Effect<A, unknown, unknown>
  | Generator<Effect.Effect<unknown, unknown, unknown>, A, never>

/** What {@link fromFunction} takes. */
export interface FromFunctionOptions<
  Name extends string,
  Parameters extends Schema.Top,
  Success extends Schema.Top,
  Out
> {
  /** 1 to 64 letters, digits, `_` or `-`: what every provider accepts. */
  readonly name: Name
  /** What it does and when to use it: all that the model knows of it besides its parameters. */
  readonly description: string
  /** A struct; none: the tool takes no parameters. */
  readonly parameters?: Parameters | undefined
  /** How the result is encoded for the model; none: by its own JSON shape. */
  readonly success?: Success | undefined
  /**
   * What a failure does. `"return"` (default): the model sees it and may try again. `"error"`: the run fails with
   * `ToolError` and the other tool calls of the step are interrupted.
   */
  readonly failureMode?: "return" | "error" | undefined
  /** How long one call may take; then it is interrupted and counts as failed. None: the agent's `toolTimeout`. */
  readonly timeout?: Duration.Input | undefined
  /** Overrides the detection of the kind, for a function that gives a promise and is not declared `async`. */
  readonly kind?: Kind | undefined
  readonly execute: (params: Parameters["Type"], context: ToolContext) => Out
}

/**
 * Makes a tool of a function: sync, async, an Effect, or a generator of Effects. What it throws, rejects or fails with
 * goes to the model as a failed result it can act on (see `failureMode`).
 *
 * Interrupting the run interrupts an Effect, and fires `context.signal` for a promise. Throws `InvalidDefinition` for a
 * name a provider would refuse and for parameters that have no JSON form or are not an object.
 *
 * @example
 * import { Schema } from "effect"
 * import { AgentTool } from "troupe"
 *
 * const weather = AgentTool.fromFunction({
 *   name: "weather",
 *   description: "Tells the weather of a city",
 *   parameters: Schema.Struct({ city: Schema.String }),
 *   execute: async ({ city }, { signal }) => (await fetch(`http://localhost:9/${city}`, { signal })).text()
 * })
 */
export const fromFunction = <
  const Name extends string,
  Out extends Returns<Success["Type"]>,
  Parameters extends Schema.Top = typeof NoParameters,
  Success extends Schema.Top = typeof Schema.Unknown
>(
  options: FromFunctionOptions<Name, Parameters, Success, Out>
): AgentTool<Name, ServicesOf<Out> | Parameters["DecodingServices"] | Success["EncodingServices"]> => {
  const kind = options.kind ?? kindOf(options.execute)
  const tool = define(
    options.name,
    options.description,
    (options.parameters ?? NoParameters) as Schema.Top,
    (options.success ?? Schema.Unknown) as Schema.Top,
    options.failureMode ?? "return"
  )
  const plain = options.success === undefined
  return make(options.name, kind, tool, options.timeout, (params, context, onPromise) => {
    const execute = options.execute as (params: unknown, context: ToolContext) => unknown
    // The inferred services are those of `Out`; a generator is what `Effect.gen` takes.
    const given = call(kind, execute, params, context, onPromise) as Effect.Effect<unknown, unknown, ServicesOf<Out>>
    return plain ? Effect.map(given, toJson) : given
  })
}

const NoParameters = Schema.Struct({})

/** @internal */
export const define = (
  name: string,
  description: string,
  parameters: Schema.Top,
  success: Schema.Top,
  failureMode: "return" | "error"
): Tool.Any => {
  const subject = `tool "${name}"`
  const tool = Tool.make(name, {
    description,
    // The schema of no fields admits any object and array; effect/ai's own says "an object without fields".
    parameters: (parameters === NoParameters
      ? Tool.EmptyParams
      : codec(subject, parameters)) as Schema.Struct<Schema.Struct.Fields>,
    success: codec(subject, success),
    failure: Schema.Unknown,
    failureMode
  }) as Tool.Any
  validate(tool)
  return tool
}

/** @internal */
export const make = <const Name extends string, R>(
  name: Name,
  kind: Kind,
  tool: Tool.Any,
  timeout: Duration.Input | undefined,
  execute: AgentTool<Name, R>["execute"],
  runner?: Drawable
): AgentTool<Name, R> => ({
  [TypeId]: TypeId,
  name,
  kind,
  tool,
  timeout: timeout === undefined ? undefined : Duration.fromInputUnsafe(timeout),
  execute,
  runner
})

/** The shape of a tool name that every provider accepts. */
const namePattern = /^[a-zA-Z0-9_-]{1,64}$/

const validated = new WeakSet<Tool.Any>()

/** @internal Throws `InvalidDefinition` for a tool that no provider could be sent. */
export const validate = (tool: Tool.Any): void => {
  if (validated.has(tool)) return
  const subject = `tool "${tool.name}"`
  if (!namePattern.test(tool.name)) {
    throw new InvalidDefinition({
      subject,
      problem: "providers refuse its name",
      remedy: "Use 1 to 64 letters, digits, underscores or hyphens"
    })
  }
  if (tool.needsApproval !== undefined && tool.needsApproval !== false) {
    throw new InvalidDefinition({
      subject,
      problem: "it needs approval, which agents cannot ask for",
      remedy: "Ask in its handler and leave needsApproval out; it never runs unasked"
    })
  }
  if (!Tool.isProviderDefined(tool) && Schema.isSchema(tool.parametersSchema)) {
    assertPlain(subject, tool.parametersSchema)
    if (!isObjectSchema(parametersOf(subject, tool))) {
      throw new InvalidDefinition({
        subject,
        problem: "its parameters are not an object with fields",
        remedy: "Make them a Schema.Struct with fields, or leave them out for a tool without parameters"
      })
    }
  }
  validated.add(tool)
}

/** A dynamic tool can bring a JSON schema of its own. */
const parametersOf = (subject: string, tool: Tool.Any): { readonly [key: string]: unknown } =>
  Tool.isDynamic(tool) && tool.jsonSchema !== undefined
    ? (tool.jsonSchema as { readonly [key: string]: unknown })
    : jsonSchema(subject, tool.parametersSchema)

const isObjectSchema = (schema: { readonly [key: string]: unknown }): boolean => {
  if (typeof schema["$ref"] === "string") return true
  return schema["type"] === "object"
}

const AsyncFunction = (async () => {}).constructor
const GeneratorFunction = function* () {}.constructor

const kindOf = (execute: Function): Kind =>
  execute instanceof AsyncFunction ? "promise" : execute instanceof GeneratorFunction ? "effect" : "sync"

const call = (
  kind: Kind,
  execute: (params: unknown, context: ToolContext) => unknown,
  params: unknown,
  base: Omit<ToolContext, "signal">,
  onPromise: () => void
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.flatMap(isSync, (sync) => {
    // Not even called: what it would have begun could be neither waited for nor stopped.
    if (sync && kind === "promise") return Effect.fail(new CannotWait())
    let controller: AbortController | undefined
    const context: ToolContext = {
      ...base,
      get signal() {
        return (controller ??= new AbortController()).signal
      }
    }
    if (kind === "effect") {
      return Effect.gen(
        () => execute(params, context) as Generator<Effect.Effect<unknown, unknown, unknown>, unknown, never>
      ).pipe(Effect.onInterrupt(() => Effect.sync(() => controller?.abort())))
    }
    let out: unknown
    try {
      out = execute(params, context)
    } catch (error) {
      return Effect.fail(error)
    }
    if (Effect.isEffect(out)) {
      return Effect.onInterrupt(out as Effect.Effect<unknown, unknown, unknown>, () =>
        Effect.sync(() => controller?.abort())
      )
    }
    if (!Predicate.isPromiseLike(out)) return Effect.succeed(out)
    onPromise()
    if (!sync) return awaitPromise(out, () => controller?.abort())
    controller?.abort()
    // Whatever becomes of it is nobody's to hear: a rejection must not end the process.
    out.then(undefined, () => {})
    return Effect.fail(new CannotWait())
  })

/**
 * A promise cannot be stopped, only asked to. After the abort it gets one turn of the event loop to settle, so that a
 * function that heeds its signal has ended before the run does.
 */
const awaitPromise = (promise: PromiseLike<unknown>, abort: () => void): Effect.Effect<unknown, unknown> =>
  Effect.callback((resume) => {
    promise.then(
      (value) => resume(Effect.succeed(value)),
      (error: unknown) => resume(Effect.fail(error))
    )
    return Effect.callback<void>((done) => {
      abort()
      const end = () => done(Effect.void)
      promise.then(end, end)
      setImmediate(end)
    })
  })

/** @internal What the model is told of a failure: its message, and the fields of a tagged error. */
export const failureToJson = (error: unknown): Schema.Json => {
  if (typeof error === "string") return { error }
  if (error instanceof Error) {
    const tag = Predicate.hasProperty(error, "_tag") ? { tag: String(error._tag) } : {}
    return { error: error.message === "" ? error.name : error.message, ...tag }
  }
  return { error: toJson(error) }
}

/** The run that the current tool call belongs to; `undefined` outside of a run. */
export const current: Effect.Effect<RunInfo | undefined> = Effect.map(CurrentRun, (info) => info)
