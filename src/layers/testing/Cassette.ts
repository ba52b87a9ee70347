/**
 * Records a real model's traffic to a file and replays it, on both edges: a test that was written with a key and a
 * network runs without either. The parts are in `cassette/`; files are read and written in place.
 */
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as TapedHttpClient from "./internal/cassette/httpClient.ts"
import {
  type CassetteError,
  CassetteNotFound,
  type RequestNotRecorded,
  type UnusedRecordings
} from "./internal/cassette/errors.ts"
import * as File from "./internal/cassette/file.ts"
import { print } from "./internal/cassette/format.ts"
import { Player } from "./internal/cassette/player.ts"
import { Recorder } from "./internal/cassette/recorder.ts"
import * as Stub from "./internal/cassette/stub.ts"
import { Scrubber } from "./internal/cassette/scrub.ts"
import { assertOneOf, assertOptions, namesOf } from "../../internal/definition.ts"
import { HttpTape } from "../../services/HttpTape.ts"

export {
  type CassetteError,
  CassetteInUse,
  CassetteInvalid,
  CassetteNotFound,
  CassetteUnavailable,
  Difference,
  notRecorded,
  RequestNotRecorded,
  UnusedRecordings
} from "./internal/cassette/errors.ts"

export type { StubRequest, StubResponse } from "./internal/cassette/stub.ts"

/** Options of a cassette. */
export interface Options {
  /** The file; a relative path is relative to the working directory. Its directory is made when it is recorded. */
  readonly path: string | URL
  /**
   * `"replay"` answers from the file and never sends anything. `"record"` sends everything and replaces the file.
   * `"auto"` (default) replays a file that exists and records one that does not, except where the variable `CI` is set:
   * there it replays, or fails.
   */
  readonly mode?: "auto" | "record" | "replay" | undefined
  /**
   * Further headers whose values no file may hold, in any case. Headers, parameters and fields named after keys, tokens,
   * cookies, sessions, signatures or passwords are always among them.
   */
  readonly scrubHeaders?: ReadonlyArray<string> | undefined
  /**
   * Changes what is written: called with each address, header, body and line of a stream, from which keys are already
   * removed. It is also applied to the requests of a replay before they are compared, so it can take out what differs
   * from run to run, such as a date. Applied twice it must give the same as once.
   */
  readonly scrub?: ((text: string) => string) | undefined
  /**
   * What the Layer's release does after a success about recordings that were not used and requests that were not recorded:
   * `"ignore"` (default), or `"die"` with `UnusedRecordings` or `RequestNotRecorded`, even if the program recovered.
   */
  readonly unused?: "ignore" | "die" | undefined
}

const known = namesOf<Options>({ path: true, mode: true, scrubHeaders: true, scrub: true, unused: true })

/** The state of a cassette in use. */
export class Cassette extends Context.Service<
  Cassette,
  {
    /** The mode; `"auto"` resolved. */
    readonly mode: "record" | "replay"
    /** Recordings that no request has asked for yet; none while recording. */
    readonly unused: Effect.Effect<UnusedRecordings["recordings"]>
    /** Fails when a request was not recorded or recordings are left: what `unused: "die"` dies with, to be asked sooner. */
    readonly verify: Effect.Effect<void, RequestNotRecorded | UnusedRecordings>
  }
>()("troupe/Cassette") {}

/**
 * Puts a file between a model and its server. Provide it to `OpenAi.layer`, or to {@link layerHttpClient} for other
 * providers.
 *
 * Requests are matched by method, path with query, and body; the host and headers are ignored. The same
 * request made twice gets its answers in the order in which they were recorded. Streams come in their recorded chunks,
 * as fast as they are read. Error answers and lost connections are replayed as they were. A request that was interrupted
 * when it was recorded returns its recorded part and then waits, for the recorded time and 5 seconds more.
 *
 * A request that was not recorded fails with an `AiError` that is not retried (`InvalidRequestError`), whose message says
 * where it differs; {@link notRecorded} gives the typed error. Replaying, `OpenAi.layer` needs no key.
 *
 * The file is written in one step when the Layer is released, also after a failure. When the run was interrupted only
 * complete exchanges are kept; without one the file stays as it was. It never holds an API key: see
 * {@link Options}.
 *
 * Fails with `CassetteNotFound`, `CassetteInvalid` (it names file and place), `CassetteInUse` when another Layer or
 * process records the same file, and `CassetteUnavailable` when the file system refuses.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Agent, Cassette, OpenAi } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const Model = OpenAi.layer({ model: "gpt-4.1-mini" }).pipe(
 *   Layer.provide(Cassette.layer({ path: "fixtures/answer.json" }))
 * )
 * const program = agent.run("Hello").pipe(Effect.provide(Model))
 */
export const layer = (options: Options): Layer.Layer<Cassette, CassetteError | Config.ConfigError> => {
  assertOptions("Cassette.layer", options, known)
  assertOneOf("Cassette.layer", "mode", options.mode, ["auto", "record", "replay"])
  assertOneOf("Cassette.layer", "unused", options.unused, ["ignore", "die"])
  return Layer.effectContext(
    Effect.gen(function* () {
      const shown = typeof options.path === "string" ? options.path : fileURLToPath(options.path)
      const file = resolve(shown)
      const scrubber = new Scrubber(options.scrubHeaders ?? [], options.scrub)
      const mode = yield* modeOf(options, file)
      return mode === "record" ? yield* record(file, shown, scrubber) : yield* replay(file, shown, scrubber, options)
    })
  )
}

/**
 * Answers the requests of `OpenAi.layer` and of {@link layerHttpClient} from a function, on both edges; nothing is sent.
 * Use it where a test would replace `globalThis.fetch`, which the thread of the sync edge does not share. A defect of
 * the function is a defect of the request.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Agent, Cassette, OpenAi, SyncEdge } from "troupe"
 *
 * const Stub = Cassette.layerStub(() => ({
 *   body: { choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }] }
 * }))
 * const Model = OpenAi.layer({ model: "m", api: "chat" }).pipe(Layer.provide(Stub))
 * const answer = Effect.runSync(
 *   Agent.make("agent", {}).run("Hello").pipe(Effect.provide(Model), Effect.provide(SyncEdge.layer))
 * )
 */
export const layerStub = (
  respond: (request: Stub.StubRequest) => Stub.StubResponse | Effect.Effect<Stub.StubResponse>
): Layer.Layer<Cassette> =>
  Layer.succeedContext(
    Context.make(Cassette, { mode: "replay", unused: Effect.succeed([]), verify: Effect.void }).pipe(
      Context.add(HttpTape, Stub.make(respond))
    )
  )

/**
 * An `HttpClient` whose traffic is on the cassette, for providers and tools on `effect/http`. While recording it sends
 * with the client that it is given; replaying it never uses it. Request bodies are text, bytes, streams of bytes or
 * forms. A request that was not recorded fails with an `EncodeError`, which is not retried, and whose `cause` is
 * `RequestNotRecorded`.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { FetchHttpClient, HttpClient } from "effect/http"
 * import { Cassette } from "troupe"
 *
 * const Client = Cassette.layerHttpClient.pipe(
 *   Layer.provide(Cassette.layer({ path: "fixtures/weather.json", scrubHeaders: ["x-org"] })),
 *   Layer.provide(FetchHttpClient.layer)
 * )
 * const program = HttpClient.get("https://example.com/weather").pipe(Effect.provide(Client))
 */
export const layerHttpClient: Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient | Cassette> =
  Layer.unwrap(Effect.as(Cassette, TapedHttpClient.layer))

const modeOf = ({ mode = "auto" }: Options, file: string): Effect.Effect<"record" | "replay", Config.ConfigError> =>
  Effect.gen(function* () {
    if (mode !== "auto") return mode
    return File.exists(file) || (yield* isCi) ? "replay" : "record"
  })

/** From Config or the environment: a program's own Config may not have `CI`, and it must still not record there. */
const isCi: Effect.Effect<boolean, Config.ConfigError> = Effect.map(
  Config.withDefault(Config.String("CI"), undefined),
  (configured) => !/^(|0|false|no|off)$/i.test((configured ?? process.env["CI"] ?? "").trim())
)

const record = (
  file: string,
  shown: string,
  scrubber: Scrubber
): Effect.Effect<Context.Context<Cassette>, CassetteError, Scope.Scope> =>
  Effect.gen(function* () {
    const recorder = new Recorder(scrubber)
    yield* Effect.acquireRelease(
      Effect.suspend(() => Effect.fromResult(File.lock(file, shown))),
      (lock, exit) =>
        Effect.try({
          try: () => {
            const interrupted = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
            const exchanges = recorder.exchanges(!interrupted)
            if (exchanges.length > 0) lock.write(print(exchanges, interrupted))
          },
          catch: (error) => error
        }).pipe(Effect.orDie, Effect.ensuring(Effect.sync(lock.release)))
    )
    return Context.make(Cassette, { mode: "record", unused: Effect.succeed([]), verify: Effect.void }).pipe(
      Context.add(HttpTape, recorder)
    )
  })

const replay = (
  file: string,
  shown: string,
  scrubber: Scrubber,
  { mode, unused }: Options
): Effect.Effect<Context.Context<Cassette>, CassetteError, Scope.Scope> =>
  Effect.gen(function* () {
    const found = yield* Effect.fromResult(File.read(file, shown))
    if (found === undefined) return yield* new CassetteNotFound({ path: shown, inCi: mode !== "replay" })
    const player = new Player(shown, found, scrubber)
    const verify = Effect.suspend(() => (player.problem === undefined ? Effect.void : Effect.fail(player.problem)))
    // What failed already says why; what was left unused would only hide that.
    if (unused === "die") {
      yield* Effect.addFinalizer((exit) => (Exit.isSuccess(exit) ? Effect.orDie(verify) : Effect.void))
    }
    return Context.make(Cassette, { mode: "replay", unused: Effect.sync(() => player.unused), verify }).pipe(
      Context.add(HttpTape, player)
    )
  })
