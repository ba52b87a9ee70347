/** Records: lets requests through and keeps what comes back. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { HttpTape } from "../../../../services/HttpTape.ts"
import type { HttpFailure, HttpRequest, HttpResponse } from "../../../../services/HttpTransport.ts"
import * as Body from "./body.ts"
import type { Exchange } from "./format.ts"
import * as Match from "./match.ts"
import type { Scrubber } from "./scrub.ts"

/** One request while it is under way. It holds secrets, and leaves this file only scrubbed. */
interface Take {
  readonly request: HttpRequest
  readonly began: number
  /** How many responses had come before. */
  readonly after: number
  response: HttpResponse | undefined
  readonly chunks: Array<Uint8Array>
  end: "complete" | HttpFailure | { readonly seconds: number } | undefined
}

export class Recorder implements HttpTape {
  readonly replays = false
  readonly #scrubber: Scrubber
  readonly #takes: Array<Take> = []
  /** Takes whose response came, in the order in which they came. */
  readonly #answered: Array<Take> = []

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
        after: this.#answered.length,
        response: undefined,
        chunks: [],
        end: undefined
      }
      const lost = (failure: HttpFailure) => {
        take.end ??= failure
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => this.#takes.push(take)),
        () =>
          Effect.sync(() => {
            take.end ??= { seconds: Math.ceil((clock.currentTimeMillisUnsafe() - take.began) / 1000) }
          })
      )
      const response = yield* Effect.tapError(live(request), (failure) => Effect.sync(() => lost(failure)))
      take.response = response
      this.#answered.push(take)
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
    return Match.hash(Match.ofMade(request, secrets, this.#scrubber).key)
  }

  /** The exchanges to keep, in the order in which they started, without their secrets. */
  exchanges(keepInterrupted: boolean): ReadonlyArray<Exchange> {
    const scrubber = this.#scrubber
    for (const { request } of this.#takes) Match.learnFrom(request, scrubber)
    // A request can repeat what answers before it have said, and a replay gives those scrubbed. What servers say later
    // must not change it: a replay does not know of it.
    const answered = [...this.#answered]
    const learn = ({ chunks, response }: Take) => {
      scrubber.learnFrom(response!)
      scrubber.learnFromText(Body.textOf(chunks))
    }
    const requests = new Map(
      this.#takes.map((take, index) => {
        const before = index === 0 ? 0 : this.#takes[index - 1]!.after
        answered.slice(before, take.after).forEach(learn)
        return [take, this.#request(take.request)]
      })
    )
    answered.forEach(learn)
    return this.#takes
      .filter(({ end }) => keepInterrupted || end === "complete" || isFailure(end))
      .map((take) => ({ request: requests.get(take)!, ...this.#answer(take) }))
  }

  #request({ body, headers, method, url }: HttpRequest): Exchange["request"] {
    const safe = Body.ofRequest(body, this.#scrubber)
    return {
      method,
      url: this.#scrubber.url(url),
      headers: this.#scrubber.headers(Object.entries(headers)),
      ...(safe === undefined ? {} : { body: safe })
    }
  }

  #answer({ chunks, end, request, response }: Take): Omit<Exchange, "request"> {
    const came = response === undefined ? {} : { response: this.#response(request, response, chunks) }
    if (end === "complete") return came
    if (!isFailure(end)) return { ...came, interrupted: { seconds: end?.seconds ?? 0 } }
    const { code, message } = end
    return {
      ...came,
      failure: { message: this.#scrubber.text(message), ...(code === undefined ? {} : { code }) }
    }
  }

  #response(
    request: HttpRequest,
    { headers, status, url }: HttpResponse,
    chunks: ReadonlyArray<Uint8Array>
  ): Exchange["response"] & {} {
    const from = this.#scrubber.url(url)
    const moved = url === "" || from === this.#scrubber.url(request.url) ? {} : { url: from }
    const contentType = headers.find(([name]) => name.toLowerCase() === "content-type")?.[1]
    const body = Body.ofResponse(chunks, contentType, this.#scrubber)
    return { status, ...moved, headers: this.#scrubber.headers(headers), ...(body === undefined ? {} : { body }) }
  }
}

const isFailure = (end: Take["end"]): end is HttpFailure => typeof end === "object" && "_tag" in end
