/** The port to the network on the sync edge, which `SyncEdge.layer` provides and the network Layers use. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import type { HttpFailure, HttpRequest, HttpResponse, HttpTransport } from "./HttpTransport.ts"

/** A thread whose messages a blocked thread can wait for. */
export interface MessageSource {
  /** True when it has ended: nothing comes any more. */
  readonly ended: boolean
  /** Delivers what has come. True when there was something. */
  poll(): boolean
  /** Blocks until there may be something to deliver, for `ms` at most. */
  wait(ms: number): void
}

/** Network I/O that a blocked thread can wait for. */
export interface SyncBridge {
  /** Sends a request. Interruption, or closing the scope before the body has ended, aborts it on the wire. */
  readonly fetch: (request: HttpRequest) => Effect.Effect<HttpResponse, HttpFailure, Scope.Scope>
  /** The same as a port. */
  readonly transport: HttpTransport
  /** The IP addresses of a host name, as the system knows them. */
  readonly resolve: (host: string) => Effect.Effect<ReadonlyArray<string>, HttpFailure>
  /** Registers a fiber with the edge, so that the program that runs it waits for it. */
  readonly enter: (fiber: Fiber.Fiber<unknown, unknown>) => void
  /** Reports to the edge that a fiber begins (1) or stops (-1) waiting for a thread. */
  readonly expect: (change: 1 | -1, source: MessageSource) => void
}

/** Set inside of `SyncEdge.layer`; `undefined` on the async edge. */
export const SyncBridge: Context.Reference<SyncBridge | undefined> = Context.Reference<SyncBridge | undefined>(
  "troupe/SyncBridge",
  { defaultValue: () => undefined }
)

/** True for a fiber that cannot wait for a promise: one of `Effect.runSync`, with or without `SyncEdge.layer`. */
export const isSyncFiber = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.getRef(Scheduler.Scheduler).executionMode === "sync"

/** The same of the fiber that asks. */
export const isSync: Effect.Effect<boolean> = Effect.withFiber((fiber) => Effect.succeed(isSyncFiber(fiber)))
