/** The port `Runs` on the durable engine: runs that are known by their ids, and that go on when their process is gone. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Refusal } from "../../../internal/refusal.ts"
import * as Inbox from "../../../Inbox.ts"
import type { DurableError } from "../../../RunError.ts"
import { isTerminal, type RunEvent } from "../../../RunEvent.ts"
import type * as Runner from "../../../Runner.ts"
import {
  type Delivery,
  type Info,
  RunsError,
  type Service as RunsService,
  type StartOptions,
  type Status
} from "../../../services/Runs.ts"
import type { Definition } from "./definition.ts"
import type { Execute, Kept, Ref, Service } from "./engine.ts"
import { asJson, journaled, runnerOf } from "./program.ts"

const GivenUp = Schema.TaggedStruct("GivenUp", {})

/** What is kept of a start. */
const Given = Schema.Struct({
  /** An input of the runner, the transcript of a run that goes on, or nothing in the place of the answers to one that is given up. */
  input: Schema.Union([
    Schema.TaggedStruct("Input", { value: Schema.Json }),
    Schema.TaggedStruct("Transcript", { value: Schema.toEncoded(Prompt.Prompt) }),
    GivenUp
  ]),
  owner: Schema.optionalKey(Schema.String),
  deltas: Schema.Boolean
})
type Given = typeof Given.Type
const decodeGiven = Schema.decodeUnknownOption(Given)
const holdsGivenUp = Schema.is(Schema.Struct({ input: GivenUp }))
const decodePrompt = Schema.decodeUnknownEffect(Prompt.Prompt)
const encodePrompt = Schema.encodeSync(Prompt.Prompt)

const Message = Schema.Struct({ prompt: Prompt.Prompt, delivery: Schema.Literals(["steer", "queue"]) })
const decodeMessage = Schema.decodeUnknownOption(Message)
const encodeMessage = Schema.encodeSync(Message)

const refOf = ({ key, name }: Kept): Ref => ({ name, key })
const runIdOf = (id: string): string => `run_${id}`
const idIn = (runId: string): string => runId.replace(/^run_/, "")

/** Executes the runs of a definition: they listen to what is sent to them, and end as suspended where they wait for answers. */
const executing =
  (durable: Definition, engine: Service, services: Context.Context<never>): Execute =>
  (start) =>
    Effect.gen(function* () {
      const given = Option.getOrUndefined(decodeGiven(start.input))
      if (given === undefined) return yield* Effect.die(new Error("what is kept of its start cannot be read"))
      if (given.input._tag === "GivenUp") return yield* Effect.interrupt
      const input: unknown =
        given.input._tag === "Transcript"
          ? yield* Effect.orDie(decodePrompt(given.input.value))
          : yield* durable.input.decode("", given.input.value)
      const inbox = yield* Inbox.make
      const take = (message: Schema.Json) =>
        Option.match(decodeMessage(message), {
          onNone: () => Effect.succeed(false),
          onSome: ({ delivery, prompt }) => Effect.map(inbox[delivery](prompt), (became) => became === "delivered")
        })
      yield* Effect.forkChild(engine.mail(idIn(start.journal.rootId ?? ""), take))
      return yield* outputOf(runnerOf(durable, start), input, given.deltas, inbox)
    }).pipe(
      Effect.mapError(durable.encodeError),
      Effect.updateContext((context: Context.Context<never>) => journaled(Context.merge(context, services), start))
    )

/** The output as the last event has it, which is all that is read of it. */
const outputOf = (
  runner: Runner.Runner<unknown, unknown, unknown, never>,
  input: unknown,
  deltas: boolean,
  inbox: Inbox.Inbox
): Effect.Effect<Schema.Json, unknown> => {
  if (!deltas) return Effect.as(Inbox.listen(runner.run(input), inbox), null)
  return Effect.as(Stream.runDrain(Inbox.listen(runner.stream(input), inbox)), null)
}

const fail = (reason: RunsError["reason"], runId: string, problem: string, remedy: string) =>
  new RunsError({ reason, runId, problem, remedy })

const ofEngine =
  (runId: string) =>
  (error: DurableError): RunsError =>
    error.reason === "key-conflict"
      ? fail("not-waiting", runId, "it has been resumed already", "Follow the run that went on")
      : fail(error.reason === "unknown-run" ? "unknown-run" : "engine", runId, error.problem, error.remedy)

const unknown = (runId: string) =>
  fail("unknown-run", runId, "this server does not know the run", "It may have been removed: start it again")

const ends: Readonly<Partial<Record<RunEvent["_tag"], Status>>> = {
  RunCompleted: "completed",
  RunFailed: "failed",
  RunInterrupted: "interrupted",
  RunSuspended: "suspended"
}

/** A run whose last event is there has ended for those who follow it, a moment before the engine says so. */
const statusOf = ({ ended, state }: Kept, last: RunEvent | undefined): Status => {
  const end = last?.path.length === 1 ? ends[last._tag] : undefined
  if (ended === undefined) return end ?? "running"
  if (end === "suspended") return end
  return state === "completed" || state === "failed" || state === "interrupted" ? state : "running"
}

/** Makes the engine of runs, and executes those of `definitions` here. Other runs are of `others`, which may know them. */
export const make = (
  engine: Service,
  definitions: ReadonlyMap<string, Definition>,
  others: RunsService | undefined
): Effect.Effect<RunsService, DurableError, Scope.Scope> =>
  Effect.gen(function* () {
    const services = yield* Effect.context<never>()
    for (const durable of definitions.values()) {
      yield* engine.host(durable, executing(durable, engine, services), () => Effect.succeed(undefined))
    }
    return serviceOf({ engine, definitions, others })
  })

/** Where runs are kept, and who may know the others. */
interface Keeping {
  readonly engine: Service
  readonly definitions: ReadonlyMap<string, Definition>
  readonly others: RunsService | undefined
}

/** Asks about a run that is kept, or those who may know it. */
const asking =
  ({ definitions, engine, others }: Keeping) =>
  <A>(
    runId: string,
    own: (kept: Kept) => Effect.Effect<A, RunsError | DurableError>,
    other: (runs: RunsService) => Effect.Effect<A, RunsError>
  ): Effect.Effect<A, RunsError> =>
    Effect.flatMap(Effect.mapError(engine.byId(idIn(runId)), ofEngine(runId)), (kept) => {
      if (kept === undefined || !definitions.has(kept.name)) {
        return others === undefined ? Effect.fail(unknown(runId)) : other(others)
      }
      return Effect.mapError(own(kept), (error) => (error instanceof RunsError ? error : ofEngine(runId)(error)))
    })

/** How a run stands, and the key of the run that goes on with it. */
const standing = Effect.fnUntraced(function* (
  engine: Service,
  kept: Kept
): Effect.fn.Return<Info & { readonly nextKey: string }, DurableError> {
  const runId = runIdOf(kept.id)
  const last = yield* engine.last(refOf(kept))
  const { key, next } = yield* resumption(engine, kept)
  const isAbandoned = next !== undefined && isGivenUp(next)
  return {
    nextKey: key,
    runId,
    runner: kept.name,
    status: isAbandoned ? "interrupted" : statusOf(kept, last),
    owner: Option.getOrUndefined(decodeGiven(kept.input))?.owner,
    startedAt: kept.createdAt,
    firstSeq: 0,
    nextSeq: last === undefined ? 0 : last.seq + 1,
    ended: last !== undefined && isTerminal(last) && last.path.length === 1 ? last : undefined,
    resumedAs: next === undefined || isAbandoned ? undefined : runIdOf(next.id)
  }
})

const infoOf = (engine: Service, kept: Kept): Effect.Effect<Info, DurableError> =>
  Effect.map(standing(engine, kept), ({ nextKey: _nextKey, ...info }) => info)

/** Reads the tag alone: the transcript of another may be long, and each run of a list is looked at. */
const isGivenUp = ({ input }: Kept): boolean => holdsGivenUp(input)

const submit = (engine: Service, durable: Definition, key: string, given: Given): Effect.Effect<string, RunsError> =>
  Effect.map(Effect.mapError(engine.submit(durable, key, asJson(given)), ofEngine("")), runIdOf)

const givenOf = (input: Given["input"], { deltas, owner }: StartOptions): Given => ({
  input,
  ...(owner === undefined ? {} : { owner }),
  deltas: deltas !== false
})

const starting =
  ({ definitions, engine, others }: Keeping): RunsService["start"] =>
  (runner, input, options = {}) =>
    Effect.gen(function* () {
      const durable = definitions.get(runner.name)
      // What belongs to a conversation of this process, or to one who waits for it, goes with that.
      const isKept = options.detached !== false && runner.definition.session === undefined && durable !== undefined
      if (!isKept) {
        if (others !== undefined) return yield* others.start(runner, input, options)
        const problem = `"${runner.name}" is not one of the runners whose runs are kept`
        const remedy = "Give it to Durable.runs, or provide Runs.layerMemory() to that Layer"
        return yield* fail("engine", "", problem, remedy)
      }
      const value = yield* Effect.mapError(durable.input.encode("", input), ofEngine(""))
      const given = givenOf({ _tag: "Input", value }, options)
      return yield* submit(engine, durable, globalThis.crypto.randomUUID(), given)
    })

/** Goes on with a suspended run as another one, once. */
const resuming = Effect.fnUntraced(function* (
  { definitions, engine }: Keeping,
  kept: Kept,
  answered: Prompt.Prompt,
  options: StartOptions
): Effect.fn.Return<string, RunsError | DurableError> {
  const { nextKey, owner, runId, status } = yield* standing(engine, kept)
  if (status !== "suspended") {
    return yield* fail("not-waiting", runId, "it does not wait for answers", "Only a suspended run is resumed")
  }
  const given = givenOf({ _tag: "Transcript", value: encodePrompt(answered) }, { owner, ...options })
  return yield* submit(engine, definitions.get(kept.name)!, nextKey, given)
})

/** Takes the place of the run that would go on with a suspended one, so that no process takes answers to it any more. */
const givingUp = Effect.fnUntraced(function* (
  { definitions, engine }: Keeping,
  kept: Kept
): Effect.fn.Return<void, RunsError | DurableError> {
  const { nextKey, owner, resumedAs, status } = yield* standing(engine, kept)
  if (status !== "suspended" || resumedAs !== undefined) return
  const durable = definitions.get(kept.name)!
  yield* Effect.catch(submit(engine, durable, nextKey, givenOf({ _tag: "GivenUp" }, { owner })), (error) =>
    // An answer may have come first.
    Effect.flatMap(infoOf(engine, kept), (info) =>
      info.status === "suspended" && info.resumedAs === undefined ? error : Effect.void
    )
  )
})

const serviceOf = (keeping: Keeping): RunsService => {
  const { definitions, engine, others } = keeping
  const of = asking(keeping)
  const list = Effect.gen(function* () {
    const kept = yield* Effect.forEach(definitions.keys(), (name) => engine.list({ name, limit: 500 }))
    const runs = kept.flat().filter((one) => !isGivenUp(one))
    const own = yield* Effect.forEach(runs, (one) => infoOf(engine, one))
    const rest = others === undefined ? [] : yield* others.list
    return [...own, ...rest].toSorted((a, b) => b.startedAt - a.startedAt)
  })
  const follow = (runId: string, kept: Kept, from: number | "now") =>
    Effect.map(firstOf(engine, kept, from), (first) =>
      Stream.mapError(engine.events(refOf(kept), first), ofEngine(runId))
    )
  const interrupt = (kept: Kept) =>
    kept.ended !== undefined
      ? Effect.void
      : Effect.andThen(engine.interrupt(refOf(kept)), Stream.runDrain(engine.events(refOf(kept), "now")))
  return {
    start: starting(keeping),
    follow: (runId, options) =>
      Stream.unwrap(
        of(
          runId,
          (kept) => follow(runId, kept, options?.from ?? 0),
          (runs) => Effect.succeed(runs.follow(runId, options))
        )
      ),
    poll: (runId) =>
      of(
        runId,
        (kept) => infoOf(engine, kept),
        (runs) => runs.poll(runId)
      ),
    list: Effect.mapError(list, (error) => (error instanceof RunsError ? error : ofEngine("")(error))),
    input: (runId, prompt, delivery) =>
      of(
        runId,
        (kept) => sent(engine, kept, prompt, delivery),
        (runs) => runs.input(runId, prompt, delivery)
      ),
    interrupt: (runId) => of(runId, interrupt, (runs) => runs.interrupt(runId)),
    giveUp: (runId) =>
      of(
        runId,
        (kept) => givingUp(keeping, kept),
        (runs) => runs.giveUp(runId)
      ),
    resume: (runId, answered, options = {}) =>
      of(
        runId,
        (kept) => resuming(keeping, kept, answered, options),
        (runs) => runs.resume(runId, answered, options)
      )
  }
}

/** The most answers to one run that are refused, each of which is a run that is kept. */
const maxRefused = 1000

/**
 * The run that goes on with a suspended one, and the key of that run: of two answers to a run, one counts. A run that only refused
 * an answer leaves the next key to another one.
 */
const resumption = Effect.fnUntraced(function* (
  engine: Service,
  kept: Kept
): Effect.fn.Return<{ readonly key: string; readonly next: Kept | undefined }, DurableError> {
  const first = `resumed ${runIdOf(kept.id)}`
  for (let count = 1; ; count++) {
    const key = count === 1 ? first : `${first} ${count}`
    const next = yield* engine.find({ name: kept.name, key })
    if (next === undefined || count > maxRefused || !(yield* hasRefused(engine, next))) return { key, next }
  }
})

const hasRefused = Effect.fnUntraced(function* (engine: Service, kept: Kept): Effect.fn.Return<boolean, DurableError> {
  const last = yield* engine.last(refOf(kept))
  if (last?._tag !== "RunFailed" || last.path.length !== 1) return false
  const refusal = new Refusal()
  const read = engine.events(refOf(kept), 0).pipe(
    Stream.takeUntil((event) => {
      refusal.read(event)
      return refusal.hasWorked
    })
  )
  yield* Stream.runDrain(read)
  return refusal.isOne
})

/** From now on: the last event in any case, where there is one. */
const firstOf = (engine: Service, kept: Kept, from: number | "now"): Effect.Effect<number, DurableError> =>
  from !== "now"
    ? Effect.succeed(from)
    : Effect.map(engine.last(refOf(kept)), (last) => {
        if (last === undefined) return 0
        return isTerminal(last) && last.path.length === 1 ? last.seq : last.seq + 1
      })

const sent = (
  engine: Service,
  kept: Kept,
  prompt: Prompt.RawInput,
  delivery: Delivery
): Effect.Effect<"delivered" | "undelivered", RunsError | DurableError> => {
  if (kept.ended !== undefined) {
    const remedy = "Start a run with the conversation so far and the new input"
    return Effect.fail(fail("not-listening", runIdOf(kept.id), "it takes no input", remedy))
  }
  const message = asJson(encodeMessage({ prompt: Prompt.make(prompt), delivery }))
  return Effect.map(engine.post(refOf(kept), message), (isTaken) => (isTaken ? "delivered" : "undelivered"))
}
