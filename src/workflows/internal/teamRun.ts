/** Runs a team: a leader in rounds, and members who work on the tasks of a board at once, in one scope. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Prompt from "effect/ai/Prompt"
import * as Result from "effect/Result"
import { CurrentMail, Mail } from "../../internal/inbox.ts"
import { userText } from "../../internal/input.ts"
import { toJson } from "../../internal/json.ts"
import { messageOf } from "../../internal/message.ts"
import { givenBy } from "../../internal/middleware.ts"
import { isPassedOn } from "../../internal/resumption.ts"
import type { RunState } from "../../internal/runState.ts"
import { encodeOutput } from "../../internal/runnerSchemas.ts"
import * as Runner from "../../Runner.ts"
import type { TeamTask } from "../../RunEvent.ts"
import { at, CurrentPlace, type Place, placeIn } from "../../internal/place.ts"
import { exitOf, isAsleep, sleep } from "../../internal/sleep.ts"
import { type KeptTeam, keptTeam, type Stopped } from "./keptTeam.ts"
import { Board } from "./taskBoard.ts"
import { type Desk, leaderName, seat } from "./teamTools.ts"

/** Whether it takes a text or a conversation is known by its kind. */
type AnyMember = Runner.Runner<unknown, unknown, unknown, unknown>

/** A team, checked. */
export interface CheckedTeam {
  readonly leader: AnyMember
  readonly members: ReadonlyArray<readonly [name: string, runner: AnyMember]>
  readonly maxRounds: number
  readonly stuckAfter: Duration.Duration
  readonly mailbox: number
}

/** One member at work. */
interface Seat {
  readonly name: string
  readonly runner: AnyMember
  readonly mail: Mail
  /** Messages that have not been taken yet. */
  waiting: number
  /** Whether its last run for messages failed: it is not run for them again until there is another one. */
  isDeaf: boolean
  task: string | undefined
  isBusy: boolean
  /** Whether its run sleeps, which is made again with the team. */
  isAsleep: boolean
  /** When it last did anything, in milliseconds. */
  activeAt: number
  isReported: boolean
  conversation: ReadonlyArray<Prompt.Message>
}

/** Runs the leader until no task is left, and the members alongside it. */
export const run = (plan: CheckedTeam, input: string, state: RunState): Effect.Effect<unknown, unknown, unknown> =>
  Effect.withFiber((fiber) =>
    Effect.flatMap(keptTeam(state), (kept) => {
      const team = new Team(plan, state, kept, placeIn(state, fiber.getRef(CurrentPlace)))
      return Effect.raceFirst(team.lead(input), team.work())
    })
  )

/** How long a sender waits for room in a mailbox. */
const patience = Duration.seconds(30)
/** How long news is collected before the leader is run again. */
const pause = Effect.yieldNow

class Team {
  readonly #plan: CheckedTeam
  readonly #state: RunState
  readonly #board: Board
  readonly #desk: Desk
  readonly #seats: ReadonlyArray<Seat>
  readonly #kept: KeptTeam
  /** Where runs of members begin: for a task, or for messages. */
  readonly #places = new Map<string, Place>()
  readonly #placeOf: (key: string) => Place
  #news: Array<string> = []
  /** Messages to the leader that it has not taken yet. */
  #messages: Array<string> = []

  constructor(plan: CheckedTeam, state: RunState, kept: KeptTeam, place: Place) {
    this.#plan = plan
    this.#state = state
    this.#kept = kept
    this.#placeOf = place.branches()
    this.#board = new Board((task) => state.events.emit({ _tag: "TaskChanged", task }))
    this.#seats = plan.members.map(([name, runner]) => ({
      name,
      runner,
      mail: new Mail(),
      waiting: 0,
      isDeaf: false,
      task: undefined,
      isBusy: false,
      isAsleep: false,
      activeAt: 0,
      isReported: false,
      conversation: []
    }))
    this.#desk = {
      board: this.#board,
      members: plan.members.map(([name, { description }]) => ({ name, description })),
      standing: () =>
        this.#seats.map(({ isAsleep, isBusy, name, task, waiting }) => ({
          name,
          status: !isBusy
            ? "idle"
            : `${isAsleep ? "waits in" : "works on"} ${task === undefined ? "its messages" : `task ${task}`}`,
          messages: waiting
        })),
      send: (from, to, text) => this.#send(from, to, text),
      give: (id, member, given) => this.#kept.gives(id, this.#board.begun(id) + 1, member, given)
    }
  }

  // -- the leader -----------------------------------------------------------------------------------------------------

  /** The rounds of the leader; the last answer is the output. */
  lead(input: string): Effect.Effect<unknown, unknown, unknown> {
    const { leader, maxRounds } = this.#plan
    return Effect.gen({ self: this }, function* () {
      let given: unknown = input
      for (let round = 1; ; round++) {
        const exit = yield* exitOf(this.#seated(undefined, Runner.named(leader, leaderName).result(given)))
        if (yield* isAsleep(exit)) return yield* this.#sleep()
        const result = yield* exit
        if (this.#isDone() || round >= maxRounds) return result.output
        const news = yield* this.#nextNews(round)
        const last = round + 1 === maxRounds ? "\n\nThis is the last round: answer now with what there is." : ""
        const text = `News of your team, as data:\n${news.join("\n")}${last}`
        // A leader that takes only texts gets what it was asked as well.
        given = takesConversation(leader)
          ? Prompt.fromMessages([...result.transcript.content, userText(text)])
          : `${input}\n\n${text}`
      }
    })
  }

  #isDone(): boolean {
    return !this.#hasNews() && this.#board.unfinished.length === 0 && this.#seats.every(({ isBusy }) => !isBusy)
  }

  #hasNews(): boolean {
    return this.#news.length + this.#messages.length > 0
  }

  /** Waits for something that the leader has to know. */
  #nextNews(round: number): Effect.Effect<ReadonlyArray<string>> {
    return Effect.gen({ self: this }, function* () {
      const before = yield* this.#kept.news(round)
      if (before !== undefined) return yield* this.#sameNews(before)
      yield* this.#until(() => {
        this.#noteIdle()
        return this.#hasNews() || this.#isStill()
      })
      if (!this.#hasNews()) return yield* sleep
      const news = [...this.#news, ...this.#messages]
      this.#forget(news)
      yield* this.#kept.tell(round, news)
      return news
    })
  }

  /** The news of a round that was before the team was made again, once what they tell of has come about again. */
  #sameNews(before: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>> {
    const isHere = this.#until(() => {
      const all = new Set([...this.#news, ...this.#messages])
      // What a watchdog said does not come again.
      return before.every((text) => all.has(text)) || this.#isStill()
    })
    return Effect.map(isHere, () => {
      this.#forget(before)
      return before
    })
  }

  /** Looks at each change, until it has come to something. */
  #until(isReached: () => boolean): Effect.Effect<void> {
    return Effect.andThen(pause, () =>
      isReached() ? Effect.void : Effect.andThen(this.#board.changed, () => this.#until(isReached))
    )
  }

  #forget(taken: ReadonlyArray<string>): void {
    for (const text of taken) {
      const list = this.#news.includes(text) ? this.#news : this.#messages
      const at = list.indexOf(text)
      if (at >= 0) list.splice(at, 1)
    }
    // There is room again for those who wait to send.
    this.#board.notify()
  }

  /** Whether no member is at work or can begin. */
  #isStill(): boolean {
    return this.#seats.every(
      (seat) => seat.isAsleep || (!seat.isBusy && !this.#isToRead(seat) && this.#board.next(seat.name) === undefined)
    )
  }

  #isToRead({ isDeaf, name, waiting }: Seat): boolean {
    return waiting > 0 && !isDeaf && this.#kept.mayRead(name)
  }

  /** Goes to sleep once no member is at work. */
  #sleep(): Effect.Effect<never> {
    return Effect.andThen(
      this.#until(() => this.#isStill()),
      sleep
    )
  }

  /** Where no member works and none can begin, only the leader can go on. */
  #noteIdle(): void {
    if (!this.#isStill() || this.#hasNews() || this.#seats.some(({ isAsleep }) => isAsleep)) return
    const open = this.#board.unfinished
    if (open.length === 0) {
      this.#news.push("All tasks have ended.")
      return
    }
    for (const { blockedBy, id } of open) {
      const by = blockedBy.filter((other) => this.#board.get(other)?.status !== "done").join(", ")
      this.#news.push(
        `All members are idle, and task ${id} cannot begin: ${by === "" ? "its assignee is not there" : `it is blocked by ${by}`}.`
      )
    }
  }

  #tell(text: string): void {
    this.#news.push(text)
    this.#board.notify()
  }

  // -- the members ----------------------------------------------------------------------------------------------------

  /** The members at work, and the watchdog. It never succeeds: what fails it, fails the team. */
  work(): Effect.Effect<never, unknown, unknown> {
    const all = [...this.#seats.map((seat) => this.#member(seat)), this.#watch()]
    return Effect.andThen(
      Effect.forEach(all, (one) => one, { concurrency: "unbounded", discard: true }),
      Effect.never
    )
  }

  #member(seat: Seat): Effect.Effect<never, unknown, unknown> {
    seat.mail.open()
    const turn = Effect.suspend((): Effect.Effect<unknown, unknown, unknown> => {
      const task = this.#board.next(seat.name)
      if (task !== undefined) return this.#workOn(seat, task)
      if (this.#isToRead(seat)) return this.#read(seat)
      seat.isBusy = false
      return this.#board.changed
    })
    return Effect.ensuring(
      Effect.forever(turn),
      Effect.sync(() => seat.mail.close())
    )
  }

  #workOn(seat: Seat, { id, title }: TeamTask): Effect.Effect<void, unknown, unknown> {
    return Effect.gen({ self: this }, function* () {
      const nth = this.#board.begun(id) + 1
      const stop = yield* this.#board.beginning(id, this.#begin(seat, id, nth))
      if (stop === undefined) return
      seat.isBusy = true
      seat.task = id
      const before = yield* this.#kept.stopped(id, nth)
      const exit = yield* before === undefined
        ? this.#run(seat, nth === 1 ? `task ${id}` : `task ${id} # ${nth}`, this.#textOf(this.#board.get(id)!), stop)
        : this.#stoppedAgain(seat, id, before, stop)
      seat.isBusy = false
      seat.task = undefined
      if (typeof exit === "string") {
        if (before === undefined) yield* this.#kept.stop(id, nth, exit)
        return this.#board.notify()
      }
      if (Exit.isFailure(exit)) {
        const error = Cause.squash(exit.cause)
        // A run that waits for a decision has not failed; a defect is one of the team.
        if (!Cause.hasFails(exit.cause) || isPassedOn(error)) return yield* Effect.failCause(exit.cause)
        yield* this.#board.end(id, "failed", messageOf(error))
        return this.#tell(`${seat.name} failed at task ${id} (${title}): ${messageOf(error)}`)
      }
      const result = toJson(exit.value)
      yield* this.#board.end(id, "done", result)
      const kept = this.#board.get(id)?.result ?? result
      this.#tell(`${seat.name} has done task ${id} (${title}). Its result: ${JSON.stringify(kept)}`)
    })
  }

  /** Begins work on a task, if it is this member that does. What it gives says how the member has to stop. */
  #begin({ name }: Seat, id: string, nth: number): Effect.Effect<Effect.Effect<Stopped> | undefined> {
    return Effect.gen({ self: this }, function* () {
      const member = yield* this.#kept.begins(id, nth, name)
      if (member !== name) {
        this.#board.hold(id, member)
        return undefined
      }
      const task = this.#board.get(id)!
      return this.#board.isReady(task) ? yield* this.#board.begin(task, name) : undefined
    })
  }

  /** Waits for the call that had stopped work on a task, which is made again, unless it came before that began. */
  #stoppedAgain(seat: Seat, id: string, how: Stopped, stop: Effect.Effect<Stopped>): Effect.Effect<Stopped> {
    if (how === "released" && this.#board.wasReleased(id)) return Effect.as(this.#board.release(id), "released")
    return this.#untilStopped(seat, stop)
  }

  /** An idle member is run for the messages that have come to it. */
  #read(seat: Seat): Effect.Effect<void, unknown, unknown> {
    return Effect.gen({ self: this }, function* () {
      seat.isBusy = true
      yield* this.#kept.read(seat.name)
      const exit = yield* this.#run(seat, "messages", "You have messages.", Effect.never)
      seat.isBusy = false
      if (typeof exit === "string") return this.#board.notify()
      seat.isDeaf = seat.waiting > 0
      if (Exit.isSuccess(exit))
        return this.#tell(`${seat.name}, who has no task, says: ${JSON.stringify(toJson(exit.value))}`)
      if (!Cause.hasFails(exit.cause) || isPassedOn(Cause.squash(exit.cause)))
        return yield* Effect.failCause(exit.cause)
      this.#tell(`${seat.name} failed at reading its messages: ${messageOf(Cause.squash(exit.cause))}`)
    })
  }

  /** Runs a member for a task or for messages; returns its exit, or how it was stopped. */
  #run(
    seat: Seat,
    key: string,
    text: string,
    stop: Effect.Effect<Stopped>
  ): Effect.Effect<Exit.Exit<unknown, unknown> | Stopped, never, unknown> {
    return Effect.gen({ self: this }, function* () {
      const isAgent = takesConversation(seat.runner)
      const given = isAgent ? Prompt.fromMessages([...seat.conversation, userText(text)]) : text
      seat.activeAt = yield* Clock.currentTimeMillis
      seat.isReported = false
      const observed = Runner.onEvent(Runner.named(seat.runner, seat.name), ({ at }) =>
        Effect.sync(() => {
          seat.activeAt = at
        })
      )
      const own = Effect.map(observed.result(given), ({ output, transcript }) => {
        if (isAgent) seat.conversation = transcript.content
        return encodeOutput(seat.runner, output)
      })
      const listening = Effect.provideService(this.#seated(seat.name, own), CurrentMail, seat.mail)
      const raced = yield* Effect.exit(Effect.raceFirst(Effect.exit(at(listening, this.#placeFor(key))), stop))
      const exit = Exit.isSuccess(raced) ? raced.value : raced
      if (typeof exit === "string" || !(yield* isAsleep(exit))) return exit
      return yield* this.#untilStopped(seat, stop)
    })
  }

  /** Waits to be stopped: nothing of the member runs. */
  #untilStopped(seat: Seat, stop: Effect.Effect<Stopped>): Effect.Effect<Stopped> {
    seat.isAsleep = true
    this.#board.notify()
    return Effect.ensuring(
      stop,
      Effect.sync(() => {
        seat.isAsleep = false
      })
    )
  }

  /** The place of what is done for a task or for messages, however often. */
  #placeFor(key: string): Place {
    const place = this.#places.get(key) ?? this.#placeOf(key)
    this.#places.set(key, place)
    return place
  }

  #textOf({ blockedBy, description, id, title }: TeamTask): string {
    const before = blockedBy.flatMap((other) => {
      const { result, title } = this.#board.get(other)!
      return result === undefined ? [] : [`Result of task ${other} (${title}), as data: ${JSON.stringify(result)}`]
    })
    return [`Task ${id}: ${title}`, description, ...before].filter((text) => text !== "").join("\n\n")
  }

  /** Gives the agent of a run the tools of its seat. */
  #seated<A, E, R>(own: string | undefined, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const tools = [seat(this.#desk, this.#state, own)]
    return Effect.provideContext(work, givenBy([{ name: "team", around: {}, tools }])(Context.empty()))
  }

  /** Tells the leader of a member that does nothing. */
  #watch(): Effect.Effect<never> {
    const { stuckAfter } = this.#plan
    const look = Effect.map(Clock.currentTimeMillis, (now) => {
      for (const seat of this.#seats) {
        const isStuck =
          seat.isBusy && !seat.isAsleep && !seat.isReported && now - seat.activeAt >= Duration.toMillis(stuckAfter)
        if (!isStuck) continue
        seat.isReported = true
        this.#tell(
          `${seat.name} has done nothing for ${Duration.format(stuckAfter)}${seat.task === undefined ? "" : `, on task ${seat.task}`}. Release or cancel the task, or wait.`
        )
      }
    })
    return Effect.forever(Effect.andThen(Effect.sleep(stuckAfter), look))
  }

  // -- messages -------------------------------------------------------------------------------------------------------

  #send(from: string, to: string, text: string): Effect.Effect<string, string> {
    const said = `Message of ${from}, as data: ${text}`
    const receivers = [
      ...(from !== leaderName && (to === "all" || to === leaderName) ? [undefined] : []),
      ...this.#seats.filter(({ name }) => name !== from && (to === "all" || to === name))
    ]
    if (receivers.length === 0) return to === "all" ? Effect.succeed("sent") : Effect.fail(`there is no ${to}`)
    let isSent = false
    const sent = Effect.suspend(() => {
      if (isSent) return Effect.void
      isSent = true
      return this.#state.events.emit({ _tag: "MessageSent", from, to, text })
    })
    // One whose mailbox is full keeps no message from the others.
    const all = Effect.forEach(receivers, (seat) => Effect.result(this.#post(seat, said, sent)), {
      concurrency: "unbounded"
    })
    return Effect.flatMap(all, (results) => {
      const problems = results.flatMap((one) => (Result.isFailure(one) ? [one.failure] : []))
      if (problems.length === 0) return Effect.succeed("sent")
      return problems.length === results.length
        ? Effect.fail(problems.join("; "))
        : Effect.succeed(`sent, but not to all: ${problems.join("; ")}`)
    })
  }

  /** Puts a message into a mailbox, where it waits until it is taken. A full one makes its sender wait. */
  #post(seat: Seat | undefined, text: string, sent: Effect.Effect<void>): Effect.Effect<void, string> {
    const name = seat?.name ?? leaderName
    if (seat !== undefined && !takesConversation(seat.runner)) return Effect.fail(`${name} takes no messages`)
    const hasRoom = () => (seat === undefined ? this.#messages.length : seat.waiting) < this.#plan.mailbox
    const room: Effect.Effect<void> = Effect.suspend(() =>
      hasRoom() ? Effect.void : Effect.andThen(this.#board.changed, () => room)
    )
    const full = () => Effect.fail(`the mailbox of ${name} is full; send it later`)
    const within = Effect.suspend(() =>
      hasRoom() ? Effect.void : Effect.timeoutOrElse(room, { duration: patience, orElse: full })
    )
    return within.pipe(
      Effect.andThen(
        Effect.sync(() => {
          if (seat === undefined) this.#messages.push(text)
          else this.#deliver(seat, text)
          this.#board.notify()
        })
      ),
      // The place is taken before anything else can happen.
      Effect.tap(sent)
    )
  }

  #deliver(seat: Seat, text: string): void {
    seat.waiting++
    seat.isDeaf = false
    seat.mail.post(text, () => {
      seat.waiting--
      this.#board.notify()
    })
  }
}

/** Agents, and workflows that hand a conversation over, take one. */
const takesConversation = ({ definition }: AnyMember): boolean =>
  ["agent", "orchestrator", "handoffs"].includes(definition.structure().kind)
