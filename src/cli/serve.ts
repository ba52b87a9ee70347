/** `troupe serve`: serves the runners that a file exports over HTTP. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import { inputOf, takesText } from "../internal/runnerSchemas.ts"
import { oneLine } from "../internal/text.ts"
import * as Approvals from "../layers/approvals/Approvals.ts"
import * as AgentServer from "../layers/server/AgentServer.ts"
import * as SessionStore from "../layers/state/SessionStore.ts"
import * as TraceStore from "../layers/state/TraceStore.ts"
import type { StoreError } from "../RunError.ts"
import { Exposed } from "../RunEvent.ts"
import type * as Runner from "../Runner.ts"
import { databaseOf } from "./database.ts"
import { badInput, checkPort, type CliFailure, defined, failed } from "./failure.ts"
import { findForServer } from "./model.ts"
import { runnersOf, type TextRunner } from "./module.ts"
import { err } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly file: string
  readonly model: Option.Option<string>
  readonly port: number
  readonly host: Option.Option<string>
  readonly playground: boolean
  readonly expose: Option.Option<string>
  readonly db: Option.Option<string>
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const { port } = input
    yield* checkPort("--port", port)
    const runners = yield* servedOf(input.file)
    const model = yield* findForServer(input.model)
    const names = Object.keys(runners)
    const { playground } = input
    const host = Option.getOrUndefined(input.host)
    const expose = yield* exposedOf(input)
    const stores = yield* storesOf(input)
    const at = host === undefined ? {} : { host, hosts: [host] }
    const options = { runners, port, playground, expose, ...at }
    // Which runners take a text was looked at above.
    const server = yield* defined(() =>
      AgentServer.serve(options as AgentServer.ServeOptions<Readonly<Record<string, TextRunner>>>)
    )
    yield* Effect.gen(function* () {
      const { url } = yield* AgentServer.Listening
      yield* err(`troupe: serves ${names.join(", ")} on ${url}\n`)
      yield* err(playground ? `troupe: playground: ${url}/\n` : `troupe: try: curl ${url}/runners\n`)
      yield* Effect.never
    }).pipe(
      Effect.provide(Layer.provide(server, [stores, yield* signing])),
      Effect.provide(model),
      Effect.mapError(failed)
    )
  })

/** With a secret of its own, a server that is started again takes answers to what it asked before. */
const signing: Effect.Effect<Layer.Layer<never>, CliFailure> = Effect.matchEffect(
  Config.option(Config.Redacted("TROUPE_SIGNING_SECRET")),
  {
    onFailure: (error) => badInput(error.message),
    onSuccess: Option.match({
      onNone: () => Effect.succeed(Layer.empty),
      onSome: (secret) =>
        Redacted.value(secret).length < 32
          ? badInput("TROUPE_SIGNING_SECRET is shorter than 32 characters. Make one: openssl rand -base64 32")
          : Effect.succeed(Approvals.signing({ secret }))
    })
  }
)

/** What clients see. A playground that this machine alone reaches is its developer's own, and shows everything. */
const exposedOf = ({ expose, host, playground }: Input): Effect.Effect<ReadonlyArray<Exposed>, CliFailure> => {
  const isOwn = playground && Option.isNone(host)
  const given = Option.getOrElse(expose, () => (isOwn ? "all" : "none")).trim()
  if (given === "all") return Effect.succeed(Exposed.literals)
  if (given === "none") return Effect.succeed([])
  const isExposed = Schema.is(Exposed)
  return Effect.forEach(
    given.split(",").map((name) => name.trim()),
    (name) =>
      isExposed(name)
        ? Effect.succeed(name)
        : badInput(`--expose has "${oneLine(name)}". Use all, none, or some of ${Exposed.literals.join(", ")}.`)
  )
}

/** Conversations and traces: in the database, or in memory for the playground. */
const storesOf = ({ db, playground }: Input): Effect.Effect<Layer.Layer<never, StoresError>, CliFailure> => {
  if (Option.isSome(db)) {
    return Effect.map(databaseOf(db), (database) =>
      Layer.mergeAll(SessionStore.layerSql, TraceStore.layerSql).pipe(Layer.provide(database))
    )
  }
  return Effect.succeed(playground ? Layer.mergeAll(SessionStore.layerMemory, TraceStore.layerMemory) : Layer.empty)
}

type StoresError = SqlError.SqlError | StoreError

type Served = TextRunner | AgentServer.WithInput

/** The runners of a file by the names of its exports; `default` has the runner's own name. Refuses two under one name. */
const servedOf = (
  file: string
): Effect.Effect<Readonly<Record<string, Served>>, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const named = new Map<string, Runner.Any>()
    for (const [exported, runner] of yield* runnersOf(file)) {
      const name = (exported === "default" ? runner.name : exported).replace(/[^A-Za-z0-9._-]/g, "-")
      if ((named.get(name) ?? runner) !== runner) {
        return yield* badInput(`${file} exports two runners that would be served as "${name}". Rename one of them.`)
      }
      named.set(name, runner)
    }
    const served = ([name, runner]: readonly [string, Runner.Any]): readonly [string, Served] => {
      const schema = inputOf(runner)
      const isText = schema === undefined || takesText(schema)
      return [name, isText ? (runner as TextRunner) : { runner, input: schema }]
    }
    return Object.fromEntries([...named].map(served))
  })
