/**
 * What a journal keeps of a team, so that one that is made again goes the same way: who began which task, how work was stopped from
 * outside, and with which news the leader went on. The board itself is filled again by the calls that had filled it.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { formOf, journalOf, keptOf, note } from "../../internal/journaled.ts"
import { placeIn, CurrentPlace } from "../../internal/place.ts"
import { CurrentState, type RunState } from "../../internal/runState.ts"
import { TeamTask } from "../../RunEvent.ts"
import type { Journal } from "../../services/Journal.ts"

/** How a task was taken from the member that worked on it. */
export type Stopped = "released" | "cancelled"

/** The decisions of one run of a team. Work on a task is counted from 1. */
export interface KeptTeam {
  /** Who begins a task: `member`, or another one where that has begun it before. */
  readonly begins: (task: string, nth: number, member: string) => Effect.Effect<string>
  /**
   * Gives a task to a member, whose `nth` work on it would be next, as `given` says. Where that was done before, what it came to then counts:
   * when the team is made again, work on the task may have begun by now, or not yet.
   */
  readonly gives: (
    task: string,
    nth: number,
    member: string,
    given: Effect.Effect<TeamTask | string>
  ) => Effect.Effect<TeamTask | string>
  /** How work on a task was stopped before. */
  readonly stopped: (task: string, nth: number) => Effect.Effect<Stopped | undefined>
  readonly stop: (task: string, nth: number, how: Stopped) => Effect.Effect<void>
  /** Whether a member without a task reads its messages: what it had begun before comes first, because it may have taken them there. */
  readonly mayRead: (member: string) => boolean
  /** Notes that a member reads its messages. */
  readonly read: (member: string) => Effect.Effect<void>
  /** The news that a round of the leader began with before. */
  readonly news: (round: number) => Effect.Effect<ReadonlyArray<string> | undefined>
  readonly tell: (round: number, news: ReadonlyArray<string>) => Effect.Effect<void>
}

const Given = Schema.Struct({
  task: Schema.String,
  nth: Schema.Int,
  member: Schema.String,
  answer: Schema.Union([TeamTask, Schema.String])
})
const given = formOf(Given)
const isGiven = Schema.is(Schema.toEncoded(Given))
const isStopped = Schema.is(Schema.Literals(["released", "cancelled"]))
const isNews = Schema.is(Schema.Array(Schema.String))

/** Keeps nothing. */
const none: KeptTeam = {
  begins: (_task, _nth, member) => Effect.succeed(member),
  gives: (_task, _nth, _member, given) => given,
  stopped: () => Effect.undefined,
  stop: () => Effect.void,
  mayRead: () => true,
  read: () => Effect.void,
  news: () => Effect.undefined,
  tell: () => Effect.void
}

/** What members had done before the team was made again, by the decisions of one name, and what of it they have done again. */
class Again {
  readonly #before = new Map<string, number>()
  readonly #done = new Map<string, Set<string>>()

  constructor({ earlier }: Journal, name: string) {
    for (const { value } of earlier?.(name) ?? []) {
      if (typeof value === "string") this.#before.set(value, (this.#before.get(value) ?? 0) + 1)
    }
  }

  /** Notes what a member does, once for each key. */
  note(member: string, key: string): void {
    this.#done.set(member, (this.#done.get(member) ?? new Set()).add(key))
  }

  countOf(member: string): number {
    return this.#done.get(member)?.size ?? 0
  }

  /** Whether a member has not done all of it again. */
  isLeft(member: string): boolean {
    return this.countOf(member) < (this.#before.get(member) ?? 0)
  }
}

/** The decisions of a team, in the journal around its run. */
export const keptTeam = (state: RunState): Effect.Effect<KeptTeam> =>
  Effect.withFiber((fiber) => {
    const journal = journalOf(fiber)
    if (journal === undefined) return Effect.succeed(none)
    const place = placeIn(state, fiber.getRef(CurrentPlace))
    const step = (...names: ReadonlyArray<string | number>) => ({
      key: place.within("team", ...names).own,
      name: `team ${names[0]}`
    })
    const tasks = new Again(journal, "team task")
    const gifts = (journal.earlier?.("team given") ?? []).flatMap(({ value }) =>
      isGiven(value) && typeof value.answer !== "string" ? [value] : []
    )
    const reads = new Again(journal, "team messages")
    return Effect.succeed<KeptTeam>({
      begins: (task, nth, member) => {
        const own = step("task", task, nth)
        return Effect.flatMap(keptOf(journal, own), (before) => {
          if (before === member) tasks.note(member, own.key)
          if (typeof before === "string") return Effect.succeed(before)
          const gift = gifts.findLast((one) => one.task === task && one.nth === nth)
          return Effect.map(note(journal, own, gift?.member ?? member), String)
        })
      },
      gives: (task, nth, member, giving) =>
        Effect.withFiber((fiber) => {
          const place = placeIn(fiber.getRef(CurrentState) ?? state, fiber.getRef(CurrentPlace))
          const own = { key: place.key("given"), name: "team given" }
          return Effect.flatMap(keptOf(journal, own), (json) => {
            const before = json === undefined ? undefined : given.decode(json).answer
            if (typeof before === "string") return Effect.succeed(before)
            // Where it is another's by now, it was so before.
            if (before !== undefined) return Effect.as(giving, before)
            return Effect.tap(giving, (answer) => note(journal, own, given.encode({ task, nth, member, answer })))
          })
        }),
      stopped: (task, nth) =>
        Effect.map(keptOf(journal, step("stopped", task, nth)), (how) => (isStopped(how) ? how : undefined)),
      stop: (task, nth, how) => Effect.asVoid(note(journal, step("stopped", task, nth), how)),
      mayRead: (member) => !tasks.isLeft(member) || reads.isLeft(member),
      read: (member) =>
        Effect.suspend(() => {
          const own = step("messages", member, reads.countOf(member) + 1)
          reads.note(member, own.key)
          return Effect.asVoid(note(journal, own, member))
        }),
      news: (round) => Effect.map(keptOf(journal, step("news", round)), (news) => (isNews(news) ? news : undefined)),
      tell: (round, news) => Effect.asVoid(note(journal, step("news", round), news))
    })
  })
