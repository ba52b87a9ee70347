/** Calls of a toolkit's tools without a model, as the agent loop makes them, at either edge. */
import { Cause, Effect, Exit, type Layer, Stream } from "effect"
import type { Tool, Toolkit } from "effect/ai"
import { assert } from "vitest"
import { SyncEdge } from "troupe"

/** What the model would see. */
export interface Shown {
  readonly failed: boolean
  readonly result: unknown
}

/** Calls one tool; does not fail for failures that the model would see. */
export const call = <Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.Toolkit<Tools>,
  name: keyof Tools & string,
  params: unknown
): Effect.Effect<Shown, unknown, Tool.HandlersFor<Tools>> =>
  Effect.gen(function* () {
    const kit = yield* toolkit
    const results = yield* kit.handle(name, params as never)
    const last = (yield* Stream.runCollect(results)).at(-1)!
    return { failed: last.isFailure, result: last.encodedResult }
  }) as Effect.Effect<Shown, unknown, Tool.HandlersFor<Tools>>

/** The two ways to run. */
export const edges: Record<string, <A, E>(effect: Effect.Effect<A, E>) => Promise<Exit.Exit<A, E>>> = {
  runPromise: (effect) => Effect.runPromiseExit(effect),
  runSync: async (effect) => Effect.runSyncExit(Effect.provide(effect, SyncEdge.layer))
}

/** A caller for a toolkit and its Layer, at one edge. Gives the result of a call that must succeed. */
export const caller = <Tools extends Record<string, Tool.Any>, E>(
  toolkit: Toolkit.Toolkit<Tools>,
  layer: Layer.Layer<Tool.HandlersFor<Tools>, E>,
  edge: keyof typeof edges
) => {
  const tell = async (name: keyof Tools & string, params: unknown): Promise<Shown> => {
    const exit = await edges[edge]!(Effect.provide(call(toolkit, name, params), layer))
    return Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))
  }
  return {
    ok: async (name: keyof Tools & string, params: unknown): Promise<Record<string, unknown>> => {
      const { failed, result } = await tell(name, params)
      assert.isFalse(failed, JSON.stringify(result))
      return result as Record<string, unknown>
    },
    fails: async (name: keyof Tools & string, params: unknown): Promise<Record<string, unknown>> => {
      const { failed, result } = await tell(name, params)
      assert.isTrue(failed, JSON.stringify(result))
      return result as Record<string, unknown>
    }
  }
}
