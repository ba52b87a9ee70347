/**
 * Runs one program: starts it, makes the calls that it asks for at once, each in a fiber of its own, and tells it of their ends in the
 * order in which they come. That order is a decision that a journal keeps: when the run is made again, the program receives the
 * same, so that a race that was won stays won.
 *
 * A program whose calls all wait for answers from elsewhere is suspended. It goes on as a new program that receives the same, up to where
 * it was.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import type * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Any as AgentTool } from "../../../AgentTool.ts"
import { Changes } from "../../../internal/changes.ts"
import { decidedHere } from "../../../internal/decided.ts"
import { formOf } from "../../../internal/journaled.ts"
import { textOfJson } from "../../../internal/json.ts"
import { isAsleep, sleep } from "../../../internal/sleep.ts"
import {
  type Called,
  CodeEngine,
  type CodeEngineError,
  type End,
  type Program,
  type Running
} from "../../../services/CodeEngine.ts"
import { CurrentPatience, Patience } from "../../../internal/patience.ts"
import { Log, markOf, maxKept, type Received, read } from "./ledger.ts"
import { DoneCall, ProgramError } from "./programError.ts"
import type { Settings } from "./settings.ts"

/** The end of a call, as the program sees it. */
export interface Outcome {
  readonly result: Schema.Json
  readonly isFailure: boolean
}

/** A call that waits for an answer from elsewhere. */
export interface Wait {
  readonly waiting: unknown
  /** Ends it without an answer. */
  readonly drop: (why: string) => Effect.Effect<Outcome>
}

/** How a program makes its calls, and waits for them. What fails with `E` is not the program's to handle. */
export interface Calls<E, W extends Wait> {
  /** What was kept of the program, where it goes on. */
  readonly kept: Schema.Json | undefined
  /** Checks what was answered, before calls that waited are made. */
  readonly resume: (toolNamed: (name: string) => Tool.Any | undefined) => Effect.Effect<void, E>
  /** Refuses to go on. */
  readonly refuse: (problem: string) => Effect.Effect<never, E>
  /** Makes the `n`th call, counted from 1. */
  readonly call: (n: number, tool: AgentTool, params: Schema.Json) => Effect.Effect<Outcome | W, E>
  readonly suspend: (kept: Schema.Json, waits: ReadonlyArray<W>) => Effect.Effect<never, E>
  /** Called before calls that are under way are interrupted, because their program has ended. */
  readonly beforeInterrupt: (ns: ReadonlyArray<number>) => Effect.Effect<void>
  /** Notes that the program has a result of a tool. */
  readonly received: (tool: Tool.Any) => void
}

/** What a program gave. */
export interface Returned {
  readonly value: Schema.Json
  readonly console: string
}

/** The longest parameters of one call, and its longest result, in characters of JSON. */
const maxParams = 1_000_000
const maxResult = 4_000_000
const maxConsole = 2_000

const count = formOf(Schema.Finite)

/** One program while it runs. */
interface State<E, W extends Wait> {
  readonly program: Program
  readonly running: Running
  readonly byName: ReadonlyMap<string, AgentTool>
  readonly calls: Calls<E, W>
  readonly settings: Settings
  readonly scope: Scope.Scope
  readonly permits: Semaphore.Semaphore
  /** The calls that the program has not received the ends of. */
  readonly open: Map<number, Called>
  /** Of these: those that have come to something, not looked at yet; those that ended, in order; those that wait; those that sleep. */
  readonly came: Map<number, Exit.Exit<Outcome | W, E>>
  readonly ended: Map<number, Exit.Exit<Outcome, E>>
  readonly waiting: Map<number, W>
  readonly asleep: Set<number>
  readonly log: Log
  readonly done: Array<DoneCall>
  readonly arrivals: Changes
  /** What the program receives before it is where it was. */
  readonly replay: ReadonlyArray<Received>
  console: string
  isSuspended: boolean
}

/** Runs a program. What it has begun is interrupted when it ends, or is interrupted itself. */
export const run = <E, W extends Wait>(
  source: string,
  tools: ReadonlyArray<AgentTool>,
  calls: Calls<E, W>,
  settings: Settings
): Effect.Effect<Returned, ProgramError | CodeEngineError | E, CodeEngine> =>
  Effect.scoped(
    Effect.gen(function* () {
      const engine = yield* CodeEngine
      const ledger = calls.kept === undefined ? undefined : read(calls.kept, source)
      if (typeof ledger === "string") return yield* calls.refuse(ledger)
      const now = ledger?.now ?? (yield* decidedHere("code/now", Clock.currentTimeMillis, count))
      const names = ledger?.names ?? tools.map(({ name }) => name)
      const { memory, turnMs } = settings
      const program = { source, names, now, limits: { memory, turnMs } }
      const running = yield* engine.start(program)
      const byName = new Map(tools.map((tool) => [tool.name, tool]))
      const scope = yield* Scope.make()
      const permits = yield* Semaphore.make(settings.concurrency)
      const replay = ledger?.received ?? []
      const state: State<E, W> = { program, running, byName, calls, settings, scope, permits, replay, ...nothingYet() }
      const patience = new Patience()
      const late = Effect.andThen(
        patience.sleep(settings.timeout),
        Effect.suspend(() => fail(state, "Timeout", `it was not done after ${settings.timeoutText}`))
      )
      const own = Effect.provideService(driven(state, ledger?.waiting ?? []), CurrentPatience, patience)
      const ended = Effect.flatMap(Effect.exit(Effect.raceFirst(own, late)), (exit) =>
        Effect.andThen(beforeInterrupt(state, exit), exit)
      )
      return yield* Effect.onExit(ended, (exit) => Effect.andThen(Scope.close(scope, exit), dropWaits(state, exit)))
    })
  )

/** What is done before calls that are under way are interrupted with their program. */
const beforeInterrupt = <E, W extends Wait>(
  { calls, open, waiting }: State<E, W>,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> => {
  const underWay = [...open.keys()].filter((n) => !waiting.has(n))
  const isInterrupted = Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
  return underWay.length === 0 || isInterrupted ? Effect.void : calls.beforeInterrupt(underWay.map((n) => n + 1))
}

const nothingYet = () => ({
  open: new Map(),
  came: new Map(),
  ended: new Map(),
  waiting: new Map(),
  asleep: new Set<number>(),
  log: new Log(),
  done: [],
  arrivals: new Changes(),
  console: "",
  isSuspended: false
})

/** The calls that wait when their program ends are over. */
const dropWaits = Effect.fnUntraced(function* <E, W extends Wait>(
  state: State<E, W>,
  exit: Exit.Exit<unknown, unknown>
) {
  if (state.isSuspended || (yield* isAsleep(exit))) return
  yield* look(state)
  const why = "not executed: the program ended before it was answered"
  for (const wait of state.waiting.values()) yield* wait.drop(why)
})

const driven = Effect.fnUntraced(function* <E, W extends Wait>(
  state: State<E, W>,
  waiting: ReadonlyArray<{ readonly n: number; readonly call: string }>
): Effect.fn.Return<Returned, ProgramError | E> {
  const { calls, open, replay, running, settings } = state
  let made = 0
  for (let received = 0; ; received++) {
    const turn = yield* running.next
    state.console = (state.console + turn.console).slice(-maxConsole)
    for (const called of turn.calls) open.set(called.n, called)
    made += turn.calls.length
    const isReplaying = received < replay.length
    if (turn.end !== undefined) {
      return yield* isReplaying ? calls.refuse(diverged) : endOf(state, turn.end, turn.calls)
    }
    if (made > settings.maxCalls) return yield* fail(state, "Calls", `it made more than ${settings.maxCalls} calls`)
    if (isReplaying) {
      const one = replay[received]!
      if (!isCall(open, one)) return yield* calls.refuse(diverged)
      yield* tell(state, one)
      continue
    }
    if (received === replay.length && replay.length + waiting.length > 0) yield* goOn(state, waiting)
    else for (const called of turn.calls) yield* begin(state, called)
    if (open.size === 0) return yield* fail(state, "Stuck", "it awaits what never comes")
    yield* receive(state, received)
  }
})

const diverged = "the program does not make the calls that it made; it or its tools have changed"

const isCall = (open: ReadonlyMap<number, Called>, { call, n }: { readonly n: number; readonly call: string }) => {
  const called = open.get(n)
  return called !== undefined && markOf(called) === call
}

/** Makes the calls that waited, once the program is where it was. */
const goOn = Effect.fnUntraced(function* <E, W extends Wait>(
  state: State<E, W>,
  waiting: ReadonlyArray<{ readonly n: number; readonly call: string }>
): Effect.fn.Return<void, E> {
  const { byName, calls, open } = state
  if (open.size !== waiting.length || !waiting.every((one) => isCall(open, one))) return yield* calls.refuse(diverged)
  yield* calls.resume((name) => byName.get(name)?.tool)
  for (const called of open.values()) yield* begin(state, called)
})

/** Begins a call, in a fiber of its own. */
const begin = <E, W extends Wait>(state: State<E, W>, { n, name, params }: Called): Effect.Effect<void> => {
  const { arrivals, byName, came, permits, scope } = state
  const tool = byName.get(name)
  const made: Effect.Effect<Outcome | W, E> =
    tool === undefined
      ? notMade(`there is no tool "${name}" any more`)
      : params.length > maxParams
        ? notMade(`not called: its parameters are longer than ${maxParams} characters`)
        : permits.withPermits(1)(Effect.suspend(() => state.calls.call(n + 1, tool, JSON.parse(params) as Schema.Json)))
  return Effect.map(Effect.forkIn(made, scope), (fiber) => {
    // From outside: a fiber that sleeps runs nothing any more.
    fiber.addObserver((exit) => {
      came.set(n, exit)
      arrivals.notify()
    })
  })
}

const notMade = (error: string): Effect.Effect<Outcome> => Effect.succeed({ result: { error }, isFailure: true })

/** Tells the program of the end of one call. */
const receive = Effect.fnUntraced(function* <E, W extends Wait>(
  state: State<E, W>,
  received: number
): Effect.fn.Return<void, E | ProgramError> {
  const n = yield* decidedHere(`code/received ${received}`, firstOf(state), count)
  const called = state.open.get(n)
  if (called === undefined) {
    return yield* fail(state, "Diverged", `call ${n} is not made any more; the program or its tools have changed`)
  }
  const exit = yield* endOfCall(state, n)
  if (Exit.isFailure(exit)) return yield* Effect.failCause(exit.cause)
  state.ended.delete(n)
  const { isFailure, result } = exit.value
  const json = JSON.stringify(isFailure ? thrownOf(result) : result)
  const long = { name: "ToolError", message: `its result is longer than ${maxResult} characters` }
  const call = markOf(called)
  yield* tell(
    state,
    json.length > maxResult ? { n, call, isFailure: true, json: JSON.stringify(long) } : { n, call, isFailure, json }
  )
})

const tell = <E, W extends Wait>(state: State<E, W>, received: Received): Effect.Effect<void> => {
  const { byName, calls, done, log, open, running } = state
  const { isFailure, json, n } = received
  const { name, params } = open.get(n)!
  const tool = byName.get(name)?.tool
  if (tool !== undefined) calls.received(tool)
  open.delete(n)
  log.add(received)
  if (!isFailure) done.push(new DoneCall({ tool: name, params: params.slice(0, 200) }))
  return running.answer(n, isFailure, json)
}

/** Waits until a call has ended, and gives the first. */
const firstOf = <E, W extends Wait>(state: State<E, W>): Effect.Effect<number, E> =>
  Effect.suspend((): Effect.Effect<number, E> => {
    const { asleep, came, ended, open, waiting } = state
    if (came.size > 0) return Effect.andThen(look(state), firstOf(state))
    const [first] = ended.keys()
    if (first !== undefined) return Effect.succeed(first)
    if (open.size > asleep.size + waiting.size) return Effect.andThen(state.arrivals.next, firstOf(state))
    if (asleep.size > 0) return sleep
    return Effect.andThen(suspend(state), firstOf(state))
  })

const endOfCall = <E, W extends Wait>(state: State<E, W>, n: number): Effect.Effect<Exit.Exit<Outcome, E>> =>
  Effect.suspend((): Effect.Effect<Exit.Exit<Outcome, E>> => {
    if (state.came.size > 0) return Effect.andThen(look(state), endOfCall(state, n))
    if (state.asleep.has(n)) return sleep
    const exit = state.ended.get(n)
    return exit === undefined ? Effect.andThen(state.arrivals.next, endOfCall(state, n)) : Effect.succeed(exit)
  })

/** Looks at what calls have come to. */
const look = Effect.fnUntraced(function* <E, W extends Wait>({ asleep, came, ended, waiting }: State<E, W>) {
  for (const [n, exit] of came) {
    came.delete(n)
    if (Exit.isSuccess(exit)) {
      if ("waiting" in exit.value) waiting.set(n, exit.value)
      else ended.set(n, Exit.succeed(exit.value))
    } else if (yield* isAsleep(exit)) asleep.add(n)
    else ended.set(n, Exit.failCause(exit.cause))
  }
})

/** Suspends the program. Where its calls have given too much to be kept, those that wait fail. */
const suspend = <E, W extends Wait>(state: State<E, W>): Effect.Effect<void, E> => {
  const { calls, ended, log, open, program, waiting } = state
  if (!log.isFull) {
    const all = [...open.values()].map((called) => ({ n: called.n, call: markOf(called) }))
    state.isSuspended = true
    return calls.suspend(
      log.kept(program, all),
      all.map(({ n }) => waiting.get(n)!)
    )
  }
  const why = `not executed: it waits for an answer from elsewhere, and the program cannot be kept until then, because its calls have given more than ${maxKept} characters. Make such calls first, or in a program of their own.`
  return Effect.forEach(
    waiting,
    ([n, wait]) =>
      Effect.map(wait.drop(why), (outcome) => {
        waiting.delete(n)
        ended.set(n, Exit.succeed(outcome))
      }),
    { discard: true }
  )
}

/** The error that a failed call throws in the program. */
const thrownOf = (result: Schema.Json): { readonly name: string; readonly message: string } => {
  const fields = Predicate.isObject(result) ? result : { error: result }
  const { error, message, tag } = fields as Record<string, Schema.Json>
  const said = error ?? message ?? result
  return {
    name: typeof tag === "string" ? tag : "ToolError",
    message: textOfJson(said)
  }
}

const endOf = (
  state: Pick<State<unknown, Wait>, "console" | "done">,
  end: End,
  calls: ReadonlyArray<Called>
): Effect.Effect<Returned, ProgramError> => {
  if (end._tag === "Stopped") return fail(state, end.reason, end.error)
  if (end._tag === "Threw") return fail(state, "Threw", end.error)
  const [first] = calls
  if (first !== undefined) {
    return fail(state, "Unawaited", `${first.name} was called and not awaited, so it was not done; await every call`)
  }
  return Effect.succeed({ value: JSON.parse(end.value) as Schema.Json, console: state.console })
}

const fail = (
  { console, done }: Pick<State<unknown, Wait>, "console" | "done">,
  reason: ProgramError["reason"],
  detail: string
): Effect.Effect<never, ProgramError> =>
  Effect.fail(
    new ProgramError({ reason, detail: detail.slice(0, 2_000), done, ...(console === "" ? {} : { console }) })
  )
