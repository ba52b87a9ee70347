/** Replays: finds the recording of each request and gives its answer, in its chunks. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { HttpTape, TapeResponse } from "../../../../services/HttpTape.ts"
import type { HttpFailure, TapeFailure } from "../../../../services/HttpTransport.ts"
import * as Body from "./body.ts"
import { RequestNotRecorded, UnusedRecordings } from "./errors.ts"
import type { Exchange, File } from "./format.ts"
import * as Match from "./match.ts"
import type { Scrubber } from "./scrub.ts"
import { failureOf } from "./tape.ts"

interface Recording {
  /** Counted from 1, as in the file. */
  readonly number: number
  readonly exchange: Exchange
  readonly asked: Match.ComparedRequest
  used: boolean
}

/** How much longer than the recorded program one may wait for what was never recorded. */
const graceSeconds = 5

export class Player implements HttpTape {
  readonly replays = true
  readonly #path: string
  readonly #scrubber: Scrubber
  readonly #interrupted: boolean
  readonly #recordings: ReadonlyArray<Recording>
  readonly #byKey = new Map<string, Array<Recording>>()
  #count = 0
  /** The first request that had no recording. */
  failed: RequestNotRecorded | undefined

  constructor(path: string, file: File, scrubber: Scrubber) {
    this.#path = path
    this.#scrubber = scrubber
    this.#interrupted = file.interrupted === true
    this.#recordings = file.exchanges.map((exchange, index) => {
      const asked = Match.ofRecorded(exchange.request)
      return { number: index + 1, exchange, asked, used: false }
    })
    for (const recording of this.#recordings) {
      const { key } = recording.asked
      const same = this.#byKey.get(key)
      if (same === undefined) this.#byKey.set(key, [recording])
      else same.push(recording)
    }
  }

  send(...[request, secrets]: Parameters<HttpTape["send"]>): ReturnType<HttpTape["send"]> {
    return Effect.suspend(() => {
      const number = ++this.#count
      const asked = Match.ofMade(request, secrets, this.#scrubber)
      const same = this.#byKey.get(asked.key) ?? []
      const free = same.filter((one) => !one.used)
      const recording = free.find((one) => one.asked.origin === asked.origin) ?? free[0]
      if (recording === undefined) return Effect.fail(this.#fail(this.#notRecorded(number, asked, same)))
      recording.used = true
      return this.#answer(number, recording, request.url)
    })
  }

  nameOf(...[request, secrets]: Parameters<HttpTape["nameOf"]>): string {
    return Match.hash(Match.ofMade(request, secrets, this.#scrubber).key)
  }

  /** The recordings that were not used. An interrupted request may be missing in a replay, so it does not count. */
  get unused(): UnusedRecordings["recordings"] {
    return this.#recordings
      .filter(({ exchange, used }) => !used && exchange.interrupted === undefined)
      .map(({ asked, number }) => ({ number, method: asked.method, url: asked.path }))
  }

  /** The problem so far. */
  get problem(): RequestNotRecorded | UnusedRecordings | undefined {
    if (this.failed !== undefined) return this.failed
    const recordings = this.unused
    return recordings.length === 0 ? undefined : new UnusedRecordings({ path: this.#path, recordings })
  }

  #answer(number: number, recording: Recording, url: string): ReturnType<HttpTape["send"]> {
    const { failure, interrupted, response } = recording.exchange
    const lost: HttpFailure | undefined =
      failure === undefined ? undefined : { _tag: "HttpFailure", message: failure.message, code: failure.code }
    const end: Effect.Effect<never, HttpFailure | TapeFailure> | undefined =
      lost !== undefined
        ? Effect.fail(lost)
        : interrupted !== undefined
          ? this.#wait(number, recording, interrupted.seconds)
          : undefined
    // A network never answers at once: let fibers that are about to send a request do so first.
    if (response === undefined) return Effect.andThen(Effect.yieldNow, end ?? Effect.never)
    const chunks: Stream.Stream<Uint8Array, HttpFailure | TapeFailure> = Stream.fromIterable(
      Body.chunksOf(response.body)
    ).pipe(
      Stream.rechunk(1),
      Stream.mapEffect((chunk) => Effect.as(Effect.yieldNow, chunk))
    )
    const made: TapeResponse = {
      status: response.status,
      url: response.url ?? url,
      headers: Object.entries(response.headers),
      body: end === undefined ? chunks : Stream.concat(chunks, Stream.fromEffectDrain(end))
    }
    return Effect.as(Effect.yieldNow, made)
  }

  /** The recorded program went away here. This one may do the same; if it does not, there is nothing to go on with. */
  #wait(number: number, { asked, number: nearest }: Recording, seconds: number): Effect.Effect<never, TapeFailure> {
    const fail = Effect.suspend(() =>
      Effect.fail(
        this.#fail(
          new RequestNotRecorded({
            path: this.#path,
            request: number,
            method: asked.method,
            url: asked.path,
            problem: `waits for more than recording ${nearest} holds: the recorded request was interrupted after ${seconds} s`,
            nearest,
            differences: [],
            more: 0
          })
        )
      )
    )
    return Effect.andThen(Effect.sleep((seconds + graceSeconds) * 1000), fail)
  }

  #notRecorded(number: number, asked: Match.ComparedRequest, same: ReadonlyArray<Recording>): RequestNotRecorded {
    const cut = this.#interrupted ? " (the run that was recorded was interrupted)" : ""
    const common = { path: this.#path, request: number, method: asked.method, url: asked.path }
    const made = (problem: string) =>
      new RequestNotRecorded({ ...common, problem: `${problem}${cut}`, differences: [], more: 0 })
    if (this.#recordings.length === 0) return made("is not recorded: the cassette is empty")
    if (same.length > 0) {
      const times = same.length === 1 ? "once" : `${same.length} times`
      return made(`was recorded ${times} and is now made once more`)
    }
    const free = this.#recordings.filter((one) => !one.used)
    const candidates = (free.length > 0 ? free : this.#recordings).map((recording) => {
      const found = Match.differences(recording.asked, asked)
      return { recording, found, distance: Match.distance(found) }
    })
    const { found, recording } = candidates.reduce((best, one) => (one.distance < best.distance ? one : best))
    const spent = free.length > 0 ? "" : ", which was replayed already"
    return new RequestNotRecorded({
      ...common,
      problem: `is not recorded${cut}; it differs from recording ${recording.number}${spent}`,
      nearest: recording.number,
      differences: found.slice(0, 10),
      more: Math.max(0, found.length - 10)
    })
  }

  #fail(error: RequestNotRecorded): TapeFailure {
    this.failed ??= error
    return failureOf(error)
  }
}
