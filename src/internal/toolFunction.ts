/**
 * Runs the function of a tool: sync, a promise or an Effect, with a signal that fires on interruption. Converts its
 * failure to what the model sees.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import type { RunInfo } from "../services/CurrentRun.ts"
import { isSync } from "../services/SyncBridge.ts"
import { ModuleToolFailed } from "../services/WorkerThreads.ts"
import { toJson } from "./json.ts"

/**
 * How a tool's function works, recorded when the tool is defined:
 *
 * - `sync`: it runs in place and gives a value, or an Effect to run. It blocks the event loop while it runs.
 * - `promise`: an `async` function. It gets an `AbortSignal` that fires on interruption.
 * - `effect`: a generator function, run as by `Effect.gen`.
 */
export type Kind = "sync" | "promise" | "effect"

/** The second argument of a tool's function: the run that it works for, and a signal. */
export interface ToolContext extends RunInfo {
  readonly toolCallId: string
  readonly idempotencyKey: string
  readonly step: number
  /** Fires when the run is interrupted or the tool times out. */
  readonly signal: AbortSignal
  /** Tells a preliminary result: a `ToolProgress` event. The model sees only the final one. */
  readonly progress: (result: unknown) => Effect.Effect<void>
}

/** The services of what the function of a tool returns. */
export type ServicesOf<Out> =
  Out extends Effect.Effect<infer _A, infer _E, infer R>
    ? R
    : Out extends Generator<infer Y, infer _A, infer _N>
      ? Y extends Effect.Effect<infer _B, infer _E2, infer R2>
        ? R2
        : never
      : never

/** The failure of `execute` when a promise cannot be awaited. The loop converts it to an `AsyncToolError`. */
export class CannotWait {
  readonly _tag = "CannotWait"
}

const AsyncFunction = (async () => {}).constructor
const GeneratorFunction = function* () {}.constructor

type EffectGenerator = Generator<Effect.Effect<unknown, unknown, unknown>, unknown, never>

/** Of any function: an arrow may give what a generator function has made. */
const isGenerator = (u: unknown): boolean => Object.prototype.toString.call(u) === "[object Generator]"

/** The kind of a function that does not declare one. */
export const kindOf = (execute: Function): Kind =>
  execute instanceof AsyncFunction ? "promise" : execute instanceof GeneratorFunction ? "effect" : "sync"

/**
 * What a function is called with. A class: an object that is made with a getter of its own keeps all that the getter sees
 * until the next full garbage collection.
 */
class Context implements ToolContext {
  declare readonly runId: string
  declare readonly rootId: string
  declare readonly path: ReadonlyArray<string>
  declare readonly conversationId: string
  declare readonly toolCallId: string
  declare readonly idempotencyKey: string
  declare readonly step: number
  declare readonly progress: ToolContext["progress"]
  #controller: AbortController | undefined

  constructor(base: Omit<ToolContext, "signal">) {
    Object.assign(this, base)
  }

  get signal(): AbortSignal {
    return (this.#controller ??= new AbortController()).signal
  }

  /** Fires the signal. It is not for the function, which gets the context. */
  static abort(context: Context): void {
    context.#controller?.abort()
  }
}

/** Calls the function. Calls `onPromise` when it returns a promise, which cannot be interrupted with the run. */
export const call = (
  kind: Kind,
  execute: (params: unknown, context: ToolContext) => unknown,
  params: unknown,
  base: Omit<ToolContext, "signal">,
  onPromise: () => void
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.flatMap(isSync, (sync) => {
    // Not even called: what it would have begun could be neither waited for nor stopped.
    if (sync && kind === "promise") return Effect.fail(new CannotWait())
    const context = new Context(base)
    const abort = () => Context.abort(context)
    let out: unknown
    try {
      out = execute(params, context)
    } catch (error) {
      return Effect.fail(error)
    }
    const effect = isGenerator(out) ? Effect.gen(() => out as EffectGenerator) : out
    if (Effect.isEffect(effect)) {
      return Effect.onInterrupt(effect as Effect.Effect<unknown, unknown, unknown>, () => Effect.sync(abort))
    }
    if (!Predicate.isPromiseLike(out)) return Effect.succeed(out)
    onPromise()
    if (!sync) return awaitPromise(out, abort)
    abort()
    // Swallow a late rejection: it must not end the process.
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
      setTimeout(end, 0)
    })
  })

/** What the model sees of a failure: its message, and the fields of a tagged error. */
export const failureToJson = (error: unknown): Schema.Json => {
  if (error instanceof ModuleToolFailed) return error.failure
  if (typeof error === "string") return { error }
  if (error instanceof Error) {
    const tag = Predicate.hasProperty(error, "_tag") ? { tag: String(error._tag) } : {}
    if (error.message !== "") return { error: error.message, ...tag }
    // A tagged error says with its fields what others say in a message.
    const { _tag, name: _name, message: _message, ...details } = toJson(error) as Schema.JsonObject
    return {
      error: error.name,
      ...tag,
      ...(_tag === undefined || Object.keys(details).length === 0 ? {} : { details })
    }
  }
  return { error: toJson(error) }
}
