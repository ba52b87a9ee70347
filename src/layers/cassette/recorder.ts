/** Records: lets requests through and keeps what comes back. It touches no file; the network is reached through `live`. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { HttpTape } from "../../services/httpTape.ts"
import type { BridgeFailure, BridgeRequest, BridgeResponse } from "../../services/SyncBridge.ts"
import * as Body from "./body.ts"
import type { Exchange } from "./format.ts"
import * as Match from "./match.ts"
import * as PlatformFetch from "./platformFetch.ts"
import type { Scrubber } from "./scrub.ts"

/** One request while it is under way. It holds secrets, and leaves this file only scrubbed. */
interface Take {
  readonly request: BridgeRequest
  readonly began: number
  response: BridgeResponse | undefined
  readonly chunks: Array<Uint8Array>
  end: "complete" | BridgeFailure | { readonly seconds: number } | undefined
}

export class Recorder implements HttpTape {
  readonly replays = false
  readonly #scrubber: Scrubber
  readonly #takes: Array<Take> = []

  constructor(scrubber: Scrubber) {
    this.#scrubber = scrubber
  }

  send(...[request, secrets, live]: Parameters<HttpTape["send"]>): ReturnType<HttpTape["send"]> {
    return Effect.gen({ self: this }, function* () {
      const clock = yield* Clock.Clock
      this.#scrubber.learn(secrets)
      const take: Take = {
        request,
        began: clock.currentTimeMillisUnsafe(),
        response: undefined,
        chunks: [],
        end: undefined
      }
      const lost = (failure: BridgeFailure) => {
        take.end ??= failure
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => this.#takes.push(take)),
        () =>
          Effect.sync(() => {
            take.end ??= { seconds: Math.ceil((clock.currentTimeMillisUnsafe() - take.began) / 1000) }
          })
      )
      const response = yield* Effect.tapError((live ?? PlatformFetch.send)(request), (failure) =>
        Effect.sync(() => lost(failure))
      )
      take.response = response
      const body = response.body.pipe(
        Stream.mapArray((chunks) => {
          take.chunks.push(...chunks)
          return chunks
        }),
        Stream.tapError((failure) => Effect.sync(() => lost(failure))),
        // Not run for a reader that stops early.
        Stream.onEnd(
          Effect.sync(() => {
            take.end ??= "complete"
          })
        )
      )
      return { ...response, body }
    })
  }

  nameOf(...[request, secrets]: Parameters<HttpTape["nameOf"]>): string {
    this.#scrubber.learn(secrets)
    this.#scrubber.learnFrom({ url: request.url, headers: Object.entries(request.headers) })
    return Match.hash(Match.ofMade(request, this.#scrubber).key)
  }

  /** What there is to be kept, in the order in which it began, without any secret of any of it. */
  exchanges(keepInterrupted: boolean): ReadonlyArray<Exchange> {
    const kept = this.#takes.filter(({ end }) => keepInterrupted || end === "complete" || isFailure(end))
    for (const { request, response } of this.#takes) {
      this.#scrubber.learnFrom({ url: request.url, headers: Object.entries(request.headers) })
      if (response !== undefined) this.#scrubber.learnFrom(response)
    }
    return kept.map((take) => this.#exchange(take))
  }

  #exchange({ chunks, end, request, response }: Take): Exchange {
    const body = Body.ofRequest(request.body, this.#scrubber)
    const contentType = response?.headers.find(([name]) => name.toLowerCase() === "content-type")?.[1]
    const answer = Body.ofResponse(chunks, contentType, this.#scrubber)
    return {
      request: {
        method: request.method,
        url: this.#scrubber.url(request.url),
        headers: this.#scrubber.headers(Object.entries(request.headers)),
        ...(body === undefined ? {} : { body })
      },
      ...(response === undefined
        ? {}
        : {
            response: {
              status: response.status,
              headers: this.#scrubber.headers(response.headers),
              ...(answer === undefined ? {} : { body: answer })
            }
          }),
      ...(end === "complete"
        ? {}
        : isFailure(end)
          ? {
              failure: {
                message: this.#scrubber.text(end.message),
                ...(end.code === undefined ? {} : { code: end.code })
              }
            }
          : { interrupted: { seconds: end?.seconds ?? 0 } })
    }
  }
}

const isFailure = (end: Take["end"]): end is BridgeFailure => typeof end === "object" && "_tag" in end
