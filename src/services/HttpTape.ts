/**
 * Between a network Layer and the wire: a port that `Cassette.layer` fills and the network Layers read. No I/O here.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { BridgeFailure, BridgeRequest, BridgeResponse, SyncBridge } from "./SyncBridge.ts"

/** A request that the tape has no answer for. Sending it again does not help. */
export interface TapeFailure {
  readonly _tag: "TapeFailure"
  /** One line, without secrets. */
  readonly message: string
  /** The tagged error behind it, encoded. */
  readonly error: Schema.MutableJson
}

/** A response as {@link BridgeResponse}, whose body may also end where the tape does. */
export interface TapeResponse extends Omit<BridgeResponse, "body"> {
  readonly body: Stream.Stream<Uint8Array, BridgeFailure | TapeFailure>
}

/** Records what is sent, or answers in its place. */
export interface HttpTape {
  /** True when nothing is sent: neither a key nor a network is needed. */
  readonly replays: boolean
  /**
   * Sends a request and records what comes back, or replays it. `secrets` are texts that no recording may hold. `live`
   * sends it; without one the platform's `fetch` does.
   */
  readonly send: (
    request: BridgeRequest,
    secrets: ReadonlyArray<string>,
    live: SyncBridge["fetch"] | undefined
  ) => Effect.Effect<TapeResponse, BridgeFailure | TapeFailure, Scope.Scope>
  /** A name for a request that is the same when it is recorded and when it is replayed. */
  readonly nameOf: (request: BridgeRequest, secrets: ReadonlyArray<string>) => string
}

/** Set inside of `Cassette.layer`. */
export const HttpTape: Context.Reference<HttpTape | undefined> = Context.Reference<HttpTape | undefined>(
  "troupe/HttpTape",
  { defaultValue: () => undefined }
)
