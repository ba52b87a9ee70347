/**
 * Runs one program: starts it, makes the calls that it asks for at once, each in a fiber of its own, and tells it of their ends in the
 * order in which they come. That order is a decision that a journal keeps: when the run is made again, the program hears the
 * same, so that a race that was won stays won.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { Any as AgentTool } from "../../../AgentTool.ts"
import { decidedHere } from "../../../internal/decided.ts"
import { formOf } from "../../../internal/journaled.ts"
import { type Called, CodeEngine, type CodeEngineError, type End, type Running } from "../../../services/CodeEngine.ts"
import { DoneCall, ProgramError } from "./programError.ts"
import type { Settings } from "./settings.ts"

/** The end of a call, as the program sees it. */
export interface Outcome {
  readonly result: Schema.Json
  readonly isFailure: boolean
}

/** Makes a call. It fails where the failure is not the program's to handle. */
export type Call<E> = (tool: AgentTool, params: Schema.Json) => Effect.Effect<Outcome, E>

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
interface State<E> {
  readonly running: Running
  readonly settings: Settings
  readonly open: Map<number, Called>
  /** The ends of calls that the program has not received of, in the order in which they came. */
  readonly ended: Map<number, Exit.Exit<Outcome, E>>
  readonly done: Array<DoneCall>
  readonly begin: (called: Called) => Effect.Effect<void>
  readonly arrival: { wait: Deferred.Deferred<void> | undefined }
  console: string
}

/** Runs a program. What it has begun is interrupted when it ends, or is interrupted itself. */
export const run = <E>(
  source: string,
  tools: ReadonlyArray<AgentTool>,
  call: Call<E>,
  settings: Settings
): Effect.Effect<Returned, ProgramError | CodeEngineError | E, CodeEngine> =>
  Effect.scoped(
    Effect.gen(function* () {
      const engine = yield* CodeEngine
      const now = yield* decidedHere("code/now", Clock.currentTimeMillis, count)
      const names = tools.map(({ name }) => name)
      const { memory, turnMs } = settings
      const running = yield* engine.start({ source, names, now, limits: { memory, turnMs } })
      const state = yield* stateOf(running, tools, call, settings)
      const drive = Effect.timeoutOrElse(driven(state), {
        duration: settings.timeout,
        orElse: () => fail(state, "Timeout", `it was not done after ${settings.timeoutText}`)
      })
      return yield* drive
    })
  )

const stateOf = Effect.fnUntraced(function* <E>(
  running: Running,
  tools: ReadonlyArray<AgentTool>,
  call: Call<E>,
  settings: Settings
) {
  const byName = new Map(tools.map((tool) => [tool.name, tool]))
  const permits = yield* Semaphore.make(settings.concurrency)
  const scope = yield* Effect.scope
  const ended: State<E>["ended"] = new Map()
  const arrival: State<E>["arrival"] = { wait: undefined }
  const begin = ({ n, name, params }: Called): Effect.Effect<void> => {
    // Effect.suspend: the call is counted where it begins.
    const made = Effect.suspend(() => call(byName.get(name)!, JSON.parse(params) as Schema.Json))
    const whole = params.length > maxParams ? tooLong : permits.withPermits(1)(made)
    const settle = (exit: Exit.Exit<Outcome, E>) =>
      Effect.sync(() => {
        ended.set(n, exit)
        if (arrival.wait !== undefined) Deferred.doneUnsafe(arrival.wait, Effect.void)
        arrival.wait = undefined
      })
    return Effect.asVoid(Effect.forkIn(Effect.flatMap(Effect.exit(whole), settle), scope))
  }
  const state: State<E> = { running, settings, open: new Map(), ended, done: [], begin, arrival, console: "" }
  return state
})

const tooLong: Effect.Effect<Outcome> = Effect.succeed({
  result: { error: `not called: its parameters are longer than ${maxParams} characters` },
  isFailure: true
})

const driven = Effect.fnUntraced(function* <E>(state: State<E>): Effect.fn.Return<Returned, ProgramError | E> {
  const { open, running, settings } = state
  let made = 0
  for (let received = 0; ; received++) {
    const { calls, console, end } = yield* running.next
    state.console = (state.console + console).slice(-maxConsole)
    if (end !== undefined) return yield* endOf(state, end, calls)
    for (const called of calls) {
      if (++made > settings.maxCalls) return yield* fail(state, "Calls", `it made more than ${settings.maxCalls} calls`)
      open.set(called.n, called)
      yield* state.begin(called)
    }
    if (open.size === 0) return yield* fail(state, "Stuck", "it awaits what never comes")
    yield* receive(state, received)
  }
})

/** Tells the program of the end of one call. */
const receive = Effect.fnUntraced(function* <E>(
  state: State<E>,
  received: number
): Effect.fn.Return<void, E | ProgramError> {
  const n = yield* decidedHere(`code/received ${received}`, firstOf(state), count)
  const called = state.open.get(n)
  if (called === undefined) {
    return yield* fail(state, "Diverged", `call ${n} is not made any more; the program or its tools have changed`)
  }
  const exit = yield* endOfCall(state, n)
  if (Exit.isFailure(exit)) return yield* Effect.failCause(exit.cause)
  state.open.delete(n)
  state.ended.delete(n)
  const { isFailure, result } = exit.value
  if (!isFailure) state.done.push(new DoneCall({ tool: called.name, params: called.params.slice(0, 200) }))
  const json = JSON.stringify(isFailure ? thrownOf(result) : result)
  const long = { name: "ToolError", message: `its result is longer than ${maxResult} characters` }
  yield* json.length > maxResult
    ? state.running.answer(n, true, JSON.stringify(long))
    : state.running.answer(n, isFailure, json)
})

/** Waits until a call has ended, and gives the first. */
const firstOf = <E>(state: State<E>): Effect.Effect<number> =>
  Effect.suspend(() => {
    const [first] = state.ended.keys()
    return first === undefined ? Effect.andThen(arrivalOf(state), firstOf(state)) : Effect.succeed(first)
  })

const endOfCall = <E>(state: State<E>, n: number): Effect.Effect<Exit.Exit<Outcome, E>> =>
  Effect.suspend(() => {
    const exit = state.ended.get(n)
    return exit === undefined ? Effect.andThen(arrivalOf(state), endOfCall(state, n)) : Effect.succeed(exit)
  })

const arrivalOf = <E>({ arrival }: State<E>): Effect.Effect<void> =>
  Effect.suspend(() => Deferred.await((arrival.wait ??= Deferred.makeUnsafe<void>())))

/** The error that a failed call throws in the program. */
const thrownOf = (result: Schema.Json): { readonly name: string; readonly message: string } => {
  const fields = typeof result === "object" && result !== null && !Array.isArray(result) ? result : { error: result }
  const { error, message, tag } = fields as Record<string, Schema.Json>
  const said = error ?? message ?? result
  return {
    name: typeof tag === "string" ? tag : "ToolError",
    message: typeof said === "string" ? said : JSON.stringify(said)
  }
}

const endOf = <E>(state: State<E>, end: End, calls: ReadonlyArray<Called>): Effect.Effect<Returned, ProgramError> => {
  if (end._tag === "Stopped") return fail(state, end.reason, end.error)
  if (end._tag === "Threw") return fail(state, "Threw", end.error)
  const [first] = calls
  if (first !== undefined) {
    return fail(state, "Unawaited", `${first.name} was called and not awaited, so it was not done; await every call`)
  }
  return Effect.succeed({ value: JSON.parse(end.value) as Schema.Json, console: state.console })
}

const fail = (
  { console, done }: State<unknown>,
  reason: ProgramError["reason"],
  detail: string
): Effect.Effect<never, ProgramError> =>
  Effect.fail(
    new ProgramError({ reason, detail: detail.slice(0, 2_000), done, ...(console === "" ? {} : { console }) })
  )
