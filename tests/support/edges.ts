/**
 * One suite, two edges: `it.effect` and `it.live` of this file register each test twice, by `Effect.runPromise` and by
 * `Effect.runSync` with `SyncEdge.layer`. What needs a promise, such as an async tool, uses `it` of `@effect/vitest`.
 */
import { it as async, type Vitest } from "@effect/vitest"
import { Effect, type Exit, Layer, type Scope } from "effect"
import { TestClock, TestConsole } from "effect/testing"
import { SyncEdge } from "troupe"
import { it as plain } from "vitest"

type Both = Pick<Vitest.Tester<Scope.Scope>, "each" | "prop"> & Vitest.Test<Scope.Scope>

/** A deadlock of timers must not hang the whole test run, which a blocked process could not end. */
const watchdog = "50 seconds"
const testEnvironment = Layer.mergeAll(TestConsole.layer, TestClock.layer())

const bySync =
  (environment: Layer.Layer<never>, edge: Layer.Layer<never>) =>
  <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): A =>
    Effect.runSync(
      effect.pipe(Effect.scoped, Effect.provide(environment), Effect.timeout(watchdog), Effect.provide(edge))
    )

const both = (tester: Vitest.Tester<Scope.Scope>, environment: Layer.Layer<never>): Both => {
  const runSync = bySync(environment, SyncEdge.layer)
  // A property is judged by a fiber, in which only what does not block may be run.
  const runNested = bySync(environment, SyncEdge.layerNested)
  const register: Vitest.Test<Scope.Scope> = (name, self, timeout) => {
    tester(name, self, timeout)
    plain(`${name} (runSync)`, (context) => void runSync(Effect.suspend(() => self(context))), timeout as number)
  }
  const each: Both["each"] = (cases) => (name, self, timeout) => {
    tester.each(cases)(name, self, timeout)
    plain.for(cases)(`${name} (runSync)`, (one, context) => void runSync(Effect.suspend(() => self(one, context))))
  }
  const prop: Both["prop"] = (name, arbitraries, self, timeout) => {
    tester.prop(name, arbitraries, self, timeout)
    tester.prop(
      `${name} (runSync)`,
      arbitraries,
      (values, context) => Effect.sync(() => runNested(Effect.suspend(() => self(values, context)))),
      timeout
    )
  }
  return Object.assign(register, { each, prop })
}

export const it = {
  /** With a `TestClock`. */
  effect: both(async.effect, testEnvironment),
  /** With real time. */
  live: both(async.live, Layer.empty),
  /** With a `TestClock`, and by `Effect.runSync` alone. */
  sync: (name: string, self: () => Effect.Effect<unknown, unknown, Scope.Scope>): void => {
    const runSync = bySync(testEnvironment, SyncEdge.layer)
    plain(`${name} (runSync)`, () => void runSync(Effect.suspend(self)))
  }
}

/** `it.live`, by `Effect.runSync` alone. */
export const bySyncEdge = {
  live: (name: string, self: () => Effect.Effect<unknown, unknown, Scope.Scope>): void => {
    const runSync = bySync(Layer.empty, SyncEdge.layer)
    plain(`${name} (runSync)`, () => void runSync(Effect.suspend(self)))
  }
}

/** How a program ends by each edge, within a test that goes on. */
export const exitOn = {
  async: <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
    Effect.promise(() => Effect.runPromiseExit(effect)),
  sync: <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
    // The test itself is a fiber, and blocking it is what this is about.
    Effect.sync(() => Effect.runSyncExit(effect.pipe(Effect.provide(SyncEdge.layerNested))))
}
