/** The events of runs: they are followed from a number on, and closed for runs that no process ends. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { toJson } from "../../../../internal/json.ts"
import type { DurableError } from "../../../../RunError.ts"
import { RunEvent } from "../../../../RunEvent.ts"
import { missingEnds } from "../closing.ts"
import type { Ref, Service } from "../engine.ts"
import type * as Tables from "../tables.ts"
import type { Access } from "./access.ts"

/** The functions of the service that read events. */
export const following = (access: Access): Pick<Service, "events" | "last"> => ({
  events: (ref, from) => eventsOf(access, ref, from),
  last: (ref) =>
    Effect.gen(function* () {
      const { ask, known, tables } = access
      const run = yield* known(ref)
      const last = yield* ask(ref.key, tables.lastSeqOf(run.id))
      return last < 0 ? undefined : (yield* readable(yield* ask(ref.key, tables.events(run.id, last)))).at(-1)
    })
})

/** Ends the events of a run that no process ends. */
export const close = ({ ask, now, tables }: Access, run: Tables.RunRow): Effect.Effect<void, DurableError> =>
  Effect.gen(function* () {
    const kept = yield* readable(yield* ask(run.key, tables.allEvents(run.id)))
    const root = { runId: `run_${run.id}`, name: run.name }
    const own = missingEnds(kept, root, run.ended ?? { _tag: "Interrupted" }, yield* now)
    const [first] = own
    if (first === undefined) return
    yield* ask(run.key, tables.closeEvents(run.id, first.seq, own.map(encodeEvent)))
  })

interface Batch {
  readonly events: ReadonlyArray<RunEvent>
  /** The number of the next event; `undefined` after the last one. */
  readonly next: number | undefined
}

/** How often a run that was interrupted is looked at for events of the process that executed it. */
const lateLooks = 8

/** The events of a run from number `from` on, until it has ended. */
const eventsOf = (access: Access, ref: Ref, from: number | "now"): Stream.Stream<RunEvent, DurableError> => {
  const { ask, known, tables } = access
  const first = Effect.flatMap(known(ref), (run) =>
    from === "now" ? Effect.map(ask(ref.key, tables.lastSeqOf(run.id)), (last) => last + 1) : Effect.succeed(from)
  )
  return Stream.unwrap(
    Effect.map(first, (start) =>
      Stream.flattenIterable(
        Stream.unfold(start as number | undefined, (next) =>
          next === undefined
            ? Effect.succeed(undefined)
            : Effect.map(more(access, ref, next, lateLooks), ({ events, next }) => [events, next] as const)
        )
      )
    )
  )
}

const more = (access: Access, ref: Ref, next: number, looks: number): Effect.Effect<Batch, DurableError> =>
  Effect.gen(function* () {
    const { ask, changes, known, live, tables } = access
    const run = yield* known(ref)
    const events = yield* ask(ref.key, tables.events(run.id, next))
    if (events.length > 0) {
      const read = yield* readable(events)
      // Of a run that was tried again, each try has an end.
      return { events: read, next: run.generation === 0 && read.some(isLast) ? undefined : next + events.length }
    }
    if (run.ended !== undefined && (run.state !== "interrupted" || looks < 0)) return { events: [], next: undefined }
    // The process that executed it is gone too.
    if (run.ended !== undefined && looks === 0) yield* close(access, run)
    else yield* live(changes(run.id))
    return yield* more(access, ref, next, run.ended === undefined ? looks : looks - 1)
  })

const decodeEvent = Schema.decodeUnknownOption(RunEvent)
const encodeEvent = (event: RunEvent): Schema.Json => toJson(Schema.encodeSync(RunEvent)(event))

/** The events that can be read; what cannot be read is said. */
const readable = (events: ReadonlyArray<Schema.Json>): Effect.Effect<ReadonlyArray<RunEvent>> => {
  const read = events.map((event) => decodeEvent(event))
  const lost = read.filter(Option.isNone).length
  const said =
    lost === 0
      ? Effect.void
      : Effect.logWarning(`${lost} events of a durable run cannot be read: they are of another version, or torn`)
  return Effect.as(
    said,
    read.filter(Option.isSome).map(({ value }) => value)
  )
}

const isLast = (event: RunEvent): boolean =>
  event.path.length === 1 &&
  (event._tag === "RunCompleted" || event._tag === "RunFailed" || event._tag === "RunInterrupted")
