/**
 * Durable runs: agents and workflows that go on after their process, or their machine, is gone. A run is kept under a key;
 * the outcome of each of its steps is kept before anything sees it, so that another process goes on from there.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Cron from "effect/Cron"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Prompt from "effect/ai/Prompt"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { SqlClient as Sql } from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import type { Json } from "effect/Schema"
import { assertOptions, assertText, countOf, durationOf, namesOf, numberOf } from "../../internal/definition.ts"
import { messageOf } from "../../internal/message.ts"
import { absent } from "../../internal/optional.ts"
import type { RunState } from "../../internal/runState.ts"
import type * as RunError from "../../RunError.ts"
import { DurableError, InvalidDefinition, type OutcomeUnknown } from "../../RunError.ts"
import type { RunEvent } from "../../RunEvent.ts"
import * as Runner from "../../Runner.ts"
import type { Approved, Denied } from "../../services/Approver.ts"
import { Runs } from "../../services/Runs.ts"
import { isSync } from "../../services/SyncBridge.ts"
import { databaseProblem } from "../internal/databaseProblem.ts"
import { counting } from "./internal/counting.ts"
import { define, type Definition } from "./internal/definition.ts"
import {
  Engine,
  type Answer,
  type Ended,
  type Kept,
  type KeptStep,
  type Query,
  type Ref,
  type Service,
  type Wait
} from "./internal/engine.ts"
import { make as keptRuns } from "./internal/keptRuns.ts"
import { asJson, programOf } from "./internal/program.ts"

export {
  Engine,
  type Answer,
  type Ended,
  type Kept,
  type KeptStep,
  type Query,
  type State,
  type Wait
} from "./internal/engine.ts"

const TypeId = "~troupe/Durable"

type ErrorsIn<M> = {
  [K in keyof M]: M[K] extends abstract new (...args: never) => infer E ? Tagged<E> : never
}[keyof M]
/** Among the errors are schemas, which can be called as well. */
type Tagged<E> = unknown extends E ? never : E extends globalThis.Error & { readonly _tag: string } ? E : never

/** The errors that are read back as they were: those of agents, of workflows and of stores. */
export type Known =
  | ErrorsIn<typeof RunError>
  | { readonly _tag: "RouteNotFound" | "NotAccepted" | "PlanNotAccepted" | "InvalidPlan" | "WrongNumberOfInputs" }

type Foreign<E> = E extends Known
  ? never
  : E extends { readonly _tag: "ParallelError"; readonly failures: ReadonlyArray<{ readonly error: infer X }> }
    ? Foreign<Exclude<X, { readonly _tag: "BranchDefect" }>>
    : E extends { readonly _tag: "StepsFailed"; readonly failures: ReadonlyArray<{ readonly error: infer X }> }
      ? Foreign<Exclude<X, { readonly _tag: "BranchDefect" }>>
      : E

type Codec<A> = Schema.Codec<A, unknown>
type Needs<K extends string, A, Free> = Free extends true
  ? { readonly [P in K]?: Codec<A> | undefined }
  : { readonly [P in K]: Codec<A> }
type IsJson<A> = [A] extends [Json] ? true : false

/** The schemas that a durable run of `N` needs: only those that neither the runner nor JSON gives. */
export type Schemas<N> = Needs<
  "input",
  Runner.Input<N>,
  [Prompt.RawInput] extends [Runner.Input<N>] ? true : IsJson<Runner.Input<N>>
> &
  Needs<
    "output",
    Runner.Output<N>,
    N extends { readonly output: Schema.Schema<Runner.Output<N>> } ? true : IsJson<Runner.Output<N>>
  > &
  Needs<"error", Foreign<Runner.Error<N>>, IsJson<Foreign<Runner.Error<N>>>>

/** A runner whose runs are kept. */
export interface Durable<in Input, out Output, out Error, out Services> extends Runner.Runner<
  Input,
  Output,
  Error,
  Services
> {
  readonly [TypeId]: string
  /** @internal */
  readonly durable: Definition
}

/** Any durable runner. */
export type Any = Durable<never, unknown, unknown, unknown>

/** What names the runs of a definition: the durable runner itself, or its name alone. */
export interface Named {
  readonly [TypeId]: string
}

/**
 * The runs of this name, for a process that does not have the runner: it can show, interrupt, answer and follow them. Their
 * outputs are JSON there.
 */
export const byName = (name: string): Named => ({ [TypeId]: name })

/** True for a durable runner. */
export const isDurable = (u: unknown): u is Any => Runner.isRunner(u) && TypeId in u

/** The state of a run. */
export type Status =
  /** There is no run of this key. */
  | "unknown"
  /** A process executes it, or will in a moment. */
  | "running"
  /** No process executes runs of its definition: start a worker. */
  | "unserved"
  /** It waits, and takes no process; see {@link pending}. */
  | "suspended"
  | "completed"
  | "failed"
  | "interrupted"

/**
 * Makes a runner durable. It has the name of the options, and its own `run`, `result` and `stream` too.
 *
 * `run` keeps a run under the key that `key` makes of the input, and executes it in this process or in a worker that has it
 * already. The same key again attaches to that run, or returns its kept result. Interrupting `run` stops the work on it in
 * this process; the run is kept, and goes on in a worker or with the next `run`. `Durable.interrupt` ends it.
 *
 * - `version`: change it when what the runner does changes in a way that its structure does not show. A run that has not
 *   ended goes on only with the definition that it was started with.
 * - `input`, `output`, `error`: schemas, asked for where they are not known.
 * - `onUnknown`: answers steps whose outcome is not known, such as by asking the other side by its idempotency key. For
 *   `undefined`, and without it, the run waits for {@link answer}.
 *
 * Fails as the runner does, and with `DurableError`. A run sees the services of the process that executes it. Throws
 * `InvalidDefinition` for a name, a version or a schema that is not valid.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Durable } from "troupe"
 *
 * const desk = Agent.make("desk", { instructions: "Answer the question." })
 * const orders = Durable.make(desk, { name: "orders", version: "1", key: (input) => String(input) })
 * const program = orders.run("What is 2 + 40?").pipe(
 *   Effect.provide(DemoModel.layer),
 *   Effect.provide(Durable.layerSqlite({ filename: "runs.db" }))
 * )
 */
export const make = <N extends Runner.Member, R2 = never>(
  runner: N,
  options: {
    readonly name: string
    readonly version: string
    readonly key: (input: Runner.Input<N>) => string
    readonly onUnknown?: ((question: OutcomeUnknown) => Effect.Effect<Answer | undefined, never, R2>) | undefined
  } & Schemas<N>
): Durable<Runner.Input<N>, Runner.Output<N>, Runner.Error<N> | DurableError, Runner.Services<N> | R2 | Engine> => {
  const durable = define(runner, options)
  const whole = Runner.fromDefinition(options.name, durable.runner.description, {
    body: (input: Runner.Input<N>, state) => attached(durable, input, state),
    input: durable.runner.definition.input,
    output: durable.runner.definition.output,
    observers: [],
    structure: durable.runner.definition.structure,
    unrecorded: true
  })
  // The types of the runner are erased in the definition, which gives them back as they were.
  return Object.assign(whole, { [TypeId]: options.name, durable }) as Runner.Member as Durable<
    Runner.Input<N>,
    Runner.Output<N>,
    Runner.Error<N> | DurableError,
    Runner.Services<N> | R2 | Engine
  >
}

/** Executes runs in this process while this one runs, and waits for it. */
const attached = (durable: Definition, input: unknown, state: RunState): Effect.Effect<unknown, unknown, Engine> =>
  Effect.scoped(
    Effect.gen(function* () {
      const engine = yield* Engine
      const key = yield* durable.keyOf(input)
      const json = yield* durable.input.encode(key, input)
      const id: Ref = { name: durable.name, key }
      const onUsed = yield* counting(engine, id, state)
      const kept = yield* engine.find(id)
      if (kept?.ended === undefined) yield* host(engine, durable)
      yield* engine.submit(durable, key, json)
      return yield* outcome(durable, key, yield* engine.ended(id, onUsed))
    })
  )

const host = (engine: Service, durable: Definition): Effect.Effect<void, DurableError, Scope.Scope> =>
  Effect.flatMap(Effect.context<never>(), (context) =>
    engine.host(durable, programOf(durable, context), (question) =>
      Effect.provideContext(durable.onUnknown(question), context)
    )
  )

const outcome = (durable: Definition, key: string, ended: Ended): Effect.Effect<unknown, unknown> => {
  switch (ended._tag) {
    case "Output":
      return durable.output.decode(key, ended.output)
    case "Error":
      return Effect.suspend(() => Effect.fail(durable.decodeError(ended.error)))
    case "Defect":
      return Effect.die(new Error(ended.message))
    case "Interrupted":
      return Effect.interrupt
  }
}

const ref = (self: Named, key: string): Ref => ({ name: self[TypeId], key })

/** An Effect that needs only the engine, as the functions below return it. They spell it out, for editors. */
export type At<A, E = never> = Effect.Effect<A, E | DurableError, Engine>

/**
 * Keeps a run and returns its key at once, by which the other functions find it. A worker executes it. For a key that is there it changes nothing; with another
 * input it fails with `DurableError`, reason `key-conflict`.
 */
export const submit = <I, A, E, R>(self: Durable<I, A, E, R>, input: I): Effect.Effect<string, DurableError, Engine> =>
  Effect.gen(function* () {
    const engine = yield* Engine
    const { durable } = self
    const key = yield* durable.keyOf(input)
    yield* engine.submit(durable, key, yield* durable.input.encode(key, input))
    return key
  })

/** The run of this key, as it is kept. Fails with `DurableError`, reason `unknown-run`, when the key has no run. */
export const find = (self: Named, key: string): Effect.Effect<Kept, DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) => engine.get(ref(self, key)))

/** The steps of a run that are kept, the earliest first. */
export const steps = (self: Named, key: string): Effect.Effect<ReadonlyArray<KeptStep>, DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) => engine.steps(ref(self, key)))

/** Runs, the one that changed last first; at most 50 if `limit` is unset. */
export const list = (query: Query = {}): Effect.Effect<ReadonlyArray<Kept>, DurableError, Engine> => {
  assertOptions("Durable.list", query, knownOfQuery)
  if (query.limit !== undefined) countOf("Durable.list", "limit", query.limit, 0)
  return Effect.flatMap(Engine, (engine) => engine.list(query))
}

const knownOfQuery = namesOf<Query>({ name: true, state: true, limit: true })

/**
 * Removes runs that ended so long ago, with everything that is kept of them, and returns how many. The option `keep` of the
 * engine does so by itself.
 */
export const prune = (age: Duration.Input): Effect.Effect<number, DurableError, Engine> => {
  const kept = Duration.toMillis(durationOf("Durable.prune", "age", age))
  return Effect.gen(function* () {
    const engine = yield* Engine
    const before = (yield* Clock.currentTimeMillis) - kept
    let removed = 0
    for (let some = 1; some > 0; removed += some) some = yield* engine.prune(before)
    return removed
  })
}

/** The state of the run of this key. */
export const status = (self: Named, key: string): Effect.Effect<Status, DurableError, Engine> =>
  Effect.gen(function* () {
    const engine = yield* Engine
    const kept = yield* engine.find(ref(self, key))
    if (kept === undefined) return "unknown"
    if (kept.state !== "queued" && kept.state !== "running") return kept.state
    return (yield* engine.isServed(kept)) ? "running" : "unserved"
  })

/**
 * Waits for the end of a run, from any process: succeeds with its output, or fails with its error. Of a run that was
 * interrupted it is interrupted. Fails with `DurableError`, reason `unknown-run`, when the key has no run.
 */
export const result = <I, A, E, R>(
  self: Durable<I, A, E, R>,
  key: string
): Effect.Effect<A, E | DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) =>
    Effect.flatMap(engine.ended(ref(self, key)), (ended) => outcome(self.durable, key, ended))
  ) as Effect.Effect<A, E | DurableError, Engine>

/**
 * Interrupts a run, from any process. When it returns the run has ended: nothing more of it is kept. The process that
 * executes it interrupts its requests and tools a moment later. A run that has ended stays as it is. Nothing is undone.
 */
export const interrupt = (self: Named, key: string): Effect.Effect<void, DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) => engine.interrupt(ref(self, key)))

/**
 * The events of a run, from any process: from the beginning, from a number (`seq`) on, or from `"now"` on. The stream ends
 * with the run. An event is there once, also when the run was executed several times; text that was streamed before a crash
 * and is streamed again follows a `StepRetried`.
 */
export const events = (
  self: Named,
  key: string,
  options?: { readonly from?: number | "now" | undefined }
): Stream.Stream<RunEvent, DurableError, Engine> => {
  if (options !== undefined) assertOptions("Durable.events", options, knownOfEvents)
  if (typeof options?.from === "number") numberOf("Durable.events", "from", options.from)
  return Stream.unwrap(Effect.map(Engine, (engine) => engine.events(ref(self, key), options?.from ?? 0)))
}

const knownOfEvents: ReadonlySet<string> = new Set(["from"])

/**
 * Gives a run the value that `Step.signal` of this name waits for, or will. Values of one name are taken in the order in which
 * they were given. From any process.
 */
export const signal = (
  self: Named,
  key: string,
  name: string,
  value: Json
): Effect.Effect<void, DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) => engine.signal(ref(self, key), name, value))

/** What a run waits for: answers, approvals, results of tools that the client runs, signals, times. Empty for a run that does not wait. */
export const pending = (self: Named, key: string): Effect.Effect<ReadonlyArray<Wait>, DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) => Effect.map(engine.find(ref(self, key)), (kept) => kept?.waits ?? []))

/** The step has happened, with this result. The run goes on with it. */
export const happened = (result: Json): Answer => ({ _tag: "Happened", result })
/** The step has not happened. It is made again. */
export const didNotHappen: Answer = { _tag: "DidNotHappen" }
/** It cannot be found out. The run fails with `DurableError`, reason `given-up`. */
export const giveUp: Answer = { _tag: "GiveUp" }

/**
 * Answers a step whose outcome is not known: {@link happened}, {@link didNotHappen} or {@link giveUp}. `step` is the `id` that
 * {@link pending} lists. So is a call answered that the client makes (`AgentTool.client`), by `happened` with its result, which may
 * be `AgentTool.clientFailure`; the model sees `didNotHappen` as a failed call.
 */
export const answer = (
  self: Named,
  key: string,
  step: string,
  answer: Answer
): Effect.Effect<void, DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) => engine.answer(ref(self, key), step, answer))

/** Decides on an approval that a run waits for. `id` is the one that {@link pending} lists. */
export const decide = (
  self: Named,
  key: string,
  id: string,
  decision: Approved | Denied
): Effect.Effect<void, DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) => engine.decide(ref(self, key), id, asJson(decision)))

/**
 * Has a run that failed or was interrupted go on from the steps that are kept; those that failed are made again. Its events
 * have the end of each try. Fails with `DurableError` for a run that has not ended so, and for one of which something was
 * undone (`Runner.withCompensation`).
 */
export const retry = (self: Named, key: string): Effect.Effect<void, DurableError, Engine> =>
  Effect.flatMap(Engine, (engine) => engine.retry(ref(self, key)))

/**
 * Makes this process one that executes these runs, for as long as the Layer is there. It needs what the runners need. While
 * the database cannot be reached it tries again. When the Layer is released, steps under way may end, and other workers go
 * on with the runs.
 *
 * @example
 * import { Layer } from "effect"
 * import { Agent, DemoModel, Durable } from "troupe"
 *
 * const desk = Agent.make("desk", {})
 * const orders = Durable.make(desk, { name: "orders", version: "1", key: (input) => String(input) })
 * const program = Layer.launch(Durable.worker(orders).pipe(
 *   Layer.provide([DemoModel.layer, Durable.layerSqlite({ filename: "runs.db" })])
 * ))
 */
export const worker = <const D extends ReadonlyArray<Runner.Member>>(
  ...runs: D & { readonly [K in keyof D]: { readonly [TypeId]: string } }
): Layer.Layer<never, never, Runner.Services<D[number]> | Engine> => {
  const all = runs.map((run): Definition => {
    if (isDurable(run)) return run.durable
    throw new InvalidDefinition({
      subject: "Durable.worker",
      problem: `"${(run as Runner.Member).name}" is not durable`,
      remedy: "Make it so with Durable.make"
    })
  })
  const serving = Effect.gen(function* () {
    const engine = yield* Engine
    for (const durable of all) yield* insisting(host(engine, durable))
  })
  return Layer.effectDiscard(serving) as Layer.Layer<never, never, Runner.Services<D[number]> | Engine>
}

/** Options of {@link schedule}. */
export interface ScheduleOptions<in out I> {
  /** When: a cron expression of five or six fields, or a `Cron` of Effect. */
  readonly cron: string | Cron.Cron
  /** The input, or a function of the time that the run was planned for, in milliseconds since 1970. */
  readonly input: I | ((at: number) => I)
  /** The time zone of a cron expression, such as `"Europe/Berlin"`. Default: UTC. */
  readonly timeZone?: string | undefined
  /**
   * How old a time may be that passed while no process had the schedule, so that its run is started late. Older ones are left out.
   * Default: 1 hour.
   */
  readonly catchUp?: Duration.Input | undefined
  /** Names the schedule, for two of one runner that have the same expression. Default: the name of the runner and the expression. */
  readonly name?: string | undefined
}

/**
 * Starts runs at the times of a cron expression: each time once, in whichever of the processes that have this Layer. The key
 * of such a run is that of its input, with `@` and the planned time. It executes runs as {@link worker} does, and needs the
 * same.
 *
 * A schedule begins when a process first has it. How far it has come is kept: times that pass while no process has it are made up
 * for, in their order, when one comes back, unless they are older than `catchUp`. The clock of the process counts: where it jumps, a
 * time comes early or late, and still once. A time whose run cannot be started, such as one whose key was used for another input, is
 * logged as an error and left out.
 *
 * Throws `InvalidDefinition` for an expression that is not valid; a process that has two schedules of one name dies of it.
 *
 * @example
 * import { Layer } from "effect"
 * import { Agent, DemoModel, Durable } from "troupe"
 *
 * const reporter = Agent.make("reporter", { instructions: "Write the report of the day." })
 * const reports = Durable.make(reporter, { name: "reports", version: "1", key: () => "daily" })
 * const program = Layer.launch(Durable.schedule(reports, { cron: "0 6 * * *", input: "Go." }).pipe(
 *   Layer.provide([DemoModel.layer, Durable.layerSqlite({ filename: "runs.db" })])
 * ))
 */
export const schedule = <I, A, E, R>(
  self: Durable<I, A, E, R>,
  options: ScheduleOptions<NoInfer<I>>
): Layer.Layer<never, never, R | Engine> => {
  const { durable } = self
  assertOptions(`the schedule of "${durable.name}"`, options, scheduleOptions)
  assertText(`the schedule of "${durable.name}"`, "name", options.name)
  const cron = cronOf(durable.name, options)
  const catchUp = durationOf(`the schedule of "${durable.name}"`, "catchUp", options.catchUp ?? "1 hour")
  const name = options.name ?? `${durable.name}/${textOf(options)}`
  const start = (at: number) =>
    Effect.gen(function* () {
      const engine = yield* Engine
      const { input: given } = options
      const input: unknown = yield* Effect.sync(() =>
        typeof given === "function" ? (given as (at: number) => I)(at) : given
      )
      const key = `${yield* durable.keyOf(input)}@${new Date(at).toISOString()}`
      const json = yield* durable.input.encode(key, input)
      yield* Effect.retry(
        Effect.tapError(engine.submit(durable, key, json), (error) => Effect.logWarning(error.message)),
        { while: (error) => error.reason === "engine", schedule: Schedule.spaced("1 second") }
      )
    }).pipe(
      // One time that cannot be started must not hold up those after it.
      Effect.catchCause((cause) =>
        Cause.hasInterrupts(cause)
          ? Effect.interrupt
          : Effect.logError(`the run of "${durable.name}" for ${new Date(at).toISOString()} was not started`, cause)
      )
    )
  const scheduling = Effect.gen(function* () {
    const engine = yield* Engine
    const context = yield* Effect.context<Engine>()
    const run = (at: number) => Effect.provideContext(start(at), context)
    yield* insisting(engine.schedule(durable, { name, cron, catchUp: Duration.toMillis(catchUp), run }))
  })
  return Layer.merge(worker(self), Layer.effectDiscard(scheduling)) as Layer.Layer<never, never, R | Engine>
}

const scheduleOptions = namesOf<ScheduleOptions<unknown>>({
  catchUp: true,
  cron: true,
  input: true,
  name: true,
  timeZone: true
})

/** The times of a schedule as a text. */
const textOf = ({ cron, timeZone }: Pick<ScheduleOptions<never>, "cron" | "timeZone">): string =>
  typeof cron !== "string" ? JSON.stringify(cron) : timeZone === undefined ? cron : `${cron} ${timeZone}`

const cronOf = (name: string, { cron, timeZone }: Pick<ScheduleOptions<never>, "cron" | "timeZone">): Cron.Cron => {
  const invalid = (problem: string) =>
    new InvalidDefinition({
      subject: `the schedule of "${name}"`,
      problem,
      remedy: 'Write one of five fields, such as "0 6 * * *"'
    })
  const parsed = typeof cron === "string" ? Cron.parse(cron, timeZone ?? "UTC") : Result.succeed(cron)
  if (Result.isFailure(parsed)) {
    throw invalid(`${JSON.stringify(cron)} is not a cron expression: ${messageOf(parsed.failure)}`)
  }
  try {
    Cron.next(parsed.success, 0)
  } catch {
    throw invalid(`${typeof cron === "string" ? JSON.stringify(cron) : "its cron"} names a time that never comes`)
  }
  return parsed.success
}

/** Tries again until it succeeds, and says why it does not. */
const insisting = <A, R>(effect: Effect.Effect<A, DurableError, R>): Effect.Effect<A, never, R> =>
  Effect.orDie(
    Effect.retry(
      Effect.tapError(effect, (error) => Effect.logWarning(error.message)),
      Schedule.spaced("1 second")
    )
  )

/**
 * The port `Runs` on the engine, for `AgentServer` and other programs that know runs by their ids: runs of these runners, by their
 * names, go on in another process that has this Layer when their own is gone. `version` is that of `Durable.make`; default `"1"`.
 *
 * - Kept are runs that are started detached. Turns of a session, and runs that belong to a request, are left to the `Runs` that is
 *   provided to this Layer, such as `Runs.layerMemory()`; without one they fail with `RunsError`, reason `engine`.
 * - A run that waits for answers ends as suspended, as it does in memory, and `Runs.resume` goes on with it. Where answers are signed,
 *   all processes need one secret: `Approvals.signing({ secret })`.
 * - A message to a run (`Runs.input`) whose process ends as it takes it may be taken again.
 * - What a caller puts around the runner, such as a server's limit of time, is not part of a kept run.
 *
 * Fails with `DurableError` when the database cannot be reached. Throws `InvalidDefinition` for two runners of one name.
 *
 * @example
 * import { Layer } from "effect"
 * import { Agent, AgentServer, DemoModel, Durable, Runs } from "troupe"
 *
 * const desk = Agent.make("desk", { instructions: "Answer questions." })
 * const program = Layer.launch(AgentServer.serve({ runners: { desk }, port: 3000 }).pipe(
 *   Layer.provide(Durable.layerRuns([desk]).pipe(Layer.provide(Runs.layerMemory()))),
 *   Layer.provide([DemoModel.layer, Durable.layerSqlite({ filename: "runs.db" })])
 * ))
 */
export const layerRuns = <const D extends ReadonlyArray<Runner.Member>>(
  runners: D,
  options: { readonly version?: string | undefined } = {}
): Layer.Layer<Runs, DurableError, Runner.Services<D[number]> | Engine> => {
  assertOptions("Durable.layerRuns", options, new Set(["version"]))
  const definitions = new Map<string, Definition>()
  for (const runner of runners) {
    if (definitions.has(runner.name)) {
      throw new InvalidDefinition({
        subject: "Durable.layerRuns",
        problem: `two of its runners are called "${runner.name}"`,
        remedy: "Give one another name with Runner.named"
      })
    }
    const named = { name: runner.name, version: options.version ?? "1", key: () => "" }
    definitions.set(runner.name, define(runner, named))
  }
  const runs = Effect.gen(function* () {
    const engine = yield* Engine
    const others = Option.getOrUndefined(yield* Effect.serviceOption(Runs))
    return yield* keptRuns(engine, definitions, others)
  })
  return Layer.effect(Runs, runs) as Layer.Layer<Runs, DurableError, Runner.Services<D[number]> | Engine>
}

/** Options of both engines. */
export interface EngineOptions {
  /**
   * After this time without a sign of a process its runs are taken over. Default: 10 seconds. A process that is paused for
   * longer loses its runs, and what it does afterwards is not kept. On one machine a process that has ended is noticed at
   * once.
   */
  readonly lease?: Duration.Input | undefined
  /** How often a process looks for what other processes have written. Default: 250 milliseconds. */
  readonly poll?: Duration.Input | undefined
  /** How long steps under way may take when a run is handed to another process. Default: 10 seconds. */
  readonly drain?: Duration.Input | undefined
  /** How long runs that have ended are kept. Default: forever. */
  readonly keep?: Duration.Input | undefined
}

const engineOptions = ["drain", "keep", "lease", "poll"] as const

const settingsOf = (subject: string, options: EngineOptions) => {
  const millis = (option: (typeof engineOptions)[number], otherwise: Duration.Input) =>
    Duration.toMillis(durationOf(subject, option, options[option] ?? otherwise))
  return {
    lease: Math.max(1000, millis("lease", "10 seconds")),
    poll: Math.max(10, millis("poll", "250 millis")),
    drain: millis("drain", "10 seconds"),
    keep: options.keep === undefined ? undefined : millis("keep", 0)
  }
}

/** Loads what the engine needs; a package that is missing is named. */
const loaded = <A>(load: () => Promise<A>, remedy: string): Effect.Effect<A, DurableError> =>
  Effect.tryPromise({
    try: load,
    catch: (cause) =>
      new DurableError({ reason: "engine", key: "", problem: `it could not be loaded: ${messageOf(cause)}`, remedy })
  })

const otherEffect = "Use a version of effect that fits troupe"

/** The engine waits for other processes and for a database, and loads its parts when they are needed. */
const blocked = Effect.suspend(() =>
  Effect.fail(
    new DurableError({
      reason: "engine",
      key: "",
      problem: "Effect.runSync cannot wait for their engine, with SyncEdge.layer either",
      remedy: "Run the program with Effect.runPromise, or run the runner itself, which is then not durable"
    })
  )
)

/** The engine on a database, whose Layer is loaded when it is needed. */
const engineOn = <E>(
  database: Effect.Effect<Layer.Layer<Sql, E>, DurableError>,
  settings: ReturnType<typeof settingsOf>
): Layer.Layer<Engine, DurableError> =>
  Layer.effect(Engine)(
    Effect.gen(function* () {
      if (yield* isSync) return yield* blocked
      const { make } = yield* loaded(() => import("./internal/sqlEngine.ts"), otherEffect)
      const client = yield* database
      const { SqlClient } = yield* loaded(() => import("effect/sql/SqlClient"), otherEffect)
      const context = yield* Effect.mapError(Layer.build(client), unusable)
      return yield* make(Context.get(context, SqlClient), settings)
    })
  )

/**
 * The engine for one machine: runs are kept in a file of SQLite, which any number of processes of the machine can use at
 * once. It needs no package. Fails with `DurableError` when the file cannot be used, and under `Effect.runSync`.
 */
export const layerSqlite = (
  options: { readonly filename: string } & EngineOptions
): Layer.Layer<Engine, DurableError> => {
  const subject = "Durable.layerSqlite"
  assertOptions(subject, options, new Set(["filename", ...engineOptions]))
  assertText(subject, "filename", options.filename)
  const settings = settingsOf(subject, options)
  const database = Effect.map(
    loaded(() => import("../state/Sqlite.ts"), "Use Node 24"),
    ({ layer }) => layer({ filename: options.filename })
  )
  return engineOn(database, settings)
}

/**
 * The engine for many machines: runs are kept in PostgreSQL 14 or later, which is all that the processes share. It needs
 * the package `@effect/sql-pg`. Fails with `DurableError` when the database cannot be reached, and under `Effect.runSync`.
 *
 * - `maxConnections`: of this process, at most. Default: 10.
 * - `prepare`: whether connections keep prepared statements. Default: `true`. Set `false` behind a pooler in transaction mode, such as
 *   PgBouncer, which gives each statement another session; nothing else of the engine needs one.
 */
export const layerPostgres = (
  options: {
    readonly url: string | Redacted.Redacted
    readonly maxConnections?: number | undefined
    readonly prepare?: boolean | undefined
  } & EngineOptions
): Layer.Layer<Engine, DurableError> => {
  const subject = "Durable.layerPostgres"
  assertOptions(subject, options, new Set(["url", "maxConnections", "prepare", ...engineOptions]))
  const settings = settingsOf(subject, options)
  const maxConnections = countOf(subject, "maxConnections", options.maxConnections ?? 10)
  const url = Redacted.isRedacted(options.url) ? (options.url as Redacted.Redacted) : Redacted.make(options.url)
  const database = Effect.map(loaded(pgClient, "npm install @effect/sql-pg"), ({ layer }) => {
    const { prepare = true } = options
    // What a step gave may be large, and a run whose steps cannot be read goes on nowhere. This is what a column can hold.
    return layer({ url, maxConnections, prepare, maxMessageSize: 1_100_000_000 })
  })
  return engineOn(database, settings)
}

const pgClient = async () => {
  try {
    return await import("@effect/sql-pg/PgClient")
  } catch (error) {
    return absent(error)
  }
}

const unusable = (cause: unknown): DurableError =>
  new DurableError({
    reason: "engine",
    key: "",
    problem: `the database cannot be used: ${databaseProblem(cause)}`,
    remedy: "Check where it is, and that this process may use it"
  })
