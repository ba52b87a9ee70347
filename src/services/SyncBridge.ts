/**
 * The way to the network on the sync edge: a port that `SyncEdge.layer` fills and the network Layers read. No I/O here.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"

/** A request as the platform's `fetch` takes it. */
export interface BridgeRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | undefined
  /**
   * Connects to this IP address and does not resolve the host again, so that the caller can check an address of
   * {@link SyncBridge.resolve} first. Redirects are not followed and the body is not decoded.
   */
  readonly address?: string | undefined
  /** What a redirect becomes: another request (default), the answer, or a failure. */
  readonly redirect?: "follow" | "manual" | "error" | undefined
}

/** The head of a response, and its body as it comes. */
export interface BridgeResponse {
  readonly status: number
  readonly url: string
  readonly headers: ReadonlyArray<readonly [string, string]>
  /** Ends with a {@link BridgeFailure} when the connection is lost in the middle. */
  readonly body: Stream.Stream<Uint8Array, BridgeFailure>
}

/** A request that got no response, or lost it: refused, reset, unknown host, a worker that died. */
export interface BridgeFailure {
  readonly _tag: "BridgeFailure"
  readonly message: string
  /** The system's code, such as `ECONNREFUSED`; `EWORKER` when the worker thread died. */
  readonly code: string | undefined
}

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
  readonly fetch: (request: BridgeRequest) => Effect.Effect<BridgeResponse, BridgeFailure, Scope.Scope>
  /** The IP addresses of a host name, as the system knows them. */
  readonly resolve: (host: string) => Effect.Effect<ReadonlyArray<string>, BridgeFailure>
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

/** True where a promise cannot be waited for: under `Effect.runSync`, with or without `SyncEdge.layer`. */
export const isSync: Effect.Effect<boolean> = Effect.withFiber((fiber) =>
  Effect.succeed(fiber.getRef(Scheduler.Scheduler).executionMode === "sync")
)
