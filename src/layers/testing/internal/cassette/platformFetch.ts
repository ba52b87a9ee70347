/** The platform's `fetch` in the form of the sync edge's, for recording where promises can be awaited. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { describe } from "../../../../internal/connectionError.ts"
import type { BridgeFailure, SyncBridge } from "../../../../services/SyncBridge.ts"

/** Sends a request. Closing the scope before the body has ended aborts it on the wire. */
export const send: SyncBridge["fetch"] = (request) =>
  Effect.gen(function* () {
    const controller = yield* Effect.acquireRelease(
      Effect.sync(() => new AbortController()),
      (self) => Effect.sync(() => self.abort())
    )
    const { body, headers, method, url } = request
    const response = yield* Effect.tryPromise({
      try: () =>
        fetch(url, {
          method,
          headers: { ...headers },
          body: typeof body === "object" ? body.slice() : (body ?? null),
          signal: controller.signal
        }),
      catch: failureOf
    })
    const reader = response.body?.getReader()
    const pull =
      reader === undefined
        ? Cause.done()
        : Effect.flatMap(
            Effect.tryPromise({
              try: () => reader.read() as Promise<{ readonly done: boolean; readonly value?: Uint8Array }>,
              catch: failureOf
            }),
            ({ done, value }) => (done || value === undefined ? Cause.done() : Effect.succeed([value] as const))
          )
    return {
      status: response.status,
      url: response.url,
      headers: [...response.headers],
      body: Stream.fromPull(Effect.succeed(pull))
    }
  })

const failureOf = (error: unknown): BridgeFailure => ({ _tag: "BridgeFailure", ...describe(error) })
