/**
 * The services that a Layer was built with, kept for a function that runs later. They supply what the caller of that
 * function does not: as in Effect's own toolkits and servers, what the caller provides wins.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { SyncBridge } from "../services/SyncBridge.ts"

/** The services of the fiber that builds a Layer, without those that mean nothing once the Layer is built. */
export const captured = <R>(): Effect.Effect<Context.Context<R>, never, R> =>
  Effect.map(
    Effect.context<R>(),
    (context) =>
      Context.omit(
        Clock.Clock,
        Layer.CurrentMemoMap,
        Scheduler.Scheduler,
        Scope.Scope,
        SyncBridge,
        Tracer.ParentSpan
      )(context) as Context.Context<R>
  )

const none: ReadonlySet<string> = new Set()

/**
 * Runs `effect` with the caller's services, and with those of `own` that the caller does not have. The services named in
 * `kept` are those of `own` alone, also where the caller has others.
 */
export const withCaptured = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  own: Context.Context<R>,
  kept: ReadonlySet<string> = none
): Effect.Effect<A, E> =>
  Effect.updateContext(effect, (caller: Context.Context<never>) => {
    const services = new Map(own.mapUnsafe)
    for (const [key, service] of caller.mapUnsafe) if (!kept.has(key)) services.set(key, service)
    return Context.makeUnsafe<R>(services)
  })
