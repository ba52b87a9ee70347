/** The port between network Layers and the wire, which `Cassette.layer` provides. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { HttpFailure, HttpRequest, HttpResponse, TapeFailure } from "./HttpTransport.ts"
import type { SyncBridge } from "./SyncBridge.ts"

/** A response as {@link HttpResponse}, whose body may also end where the tape does. */
export interface TapeResponse extends Omit<HttpResponse, "body"> {
  readonly body: Stream.Stream<Uint8Array, HttpFailure | TapeFailure>
}

/** Records what is sent, or answers in its place. */
export interface HttpTape {
  /** True when nothing is sent: neither a key nor a network is needed. */
  readonly replays: boolean
  /**
   * Sends a request and records what comes back, or replays it. `secrets` are texts that no recording may hold. `live`
   * sends it.
   */
  readonly send: (
    request: HttpRequest,
    secrets: ReadonlyArray<string>,
    live: SyncBridge["fetch"]
  ) => Effect.Effect<TapeResponse, HttpFailure | TapeFailure, Scope.Scope>
  /** A name for a request that is the same when it is recorded and when it is replayed. */
  readonly nameOf: (request: HttpRequest, secrets: ReadonlyArray<string>) => string
}

/** Set inside of `Cassette.layer`. */
export const HttpTape: Context.Reference<HttpTape | undefined> = Context.Reference<HttpTape | undefined>(
  "troupe/HttpTape",
  { defaultValue: () => undefined }
)
