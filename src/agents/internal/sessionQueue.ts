/** The order of the turns of a session: within this process by a queue, between processes by the lease of its store. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Prompt from "effect/ai/Prompt"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import type { Mail } from "../../internal/inbox.ts"
import { SessionConflict, type StoreError } from "../../RunError.ts"
import { Lease, type Service } from "../../services/SessionStore.ts"

/** What a turn does while another turn of its session is under way. */
export type WhenBusy = "queue" | "steer" | "interrupt" | "reject"

/** A turn that takes messages while it is under way. */
export interface Active {
  /** The definition of its runner: only its own messages are for it. */
  readonly key: unknown
  readonly mail: Mail
  readonly exit: Deferred.Deferred<Exit.Exit<unknown, unknown>>
}

/** The session is a turn's own while it has this. */
export interface Hold {
  readonly owner: string
  readonly uid: string
  /** The number of the last record. */
  seq: number
  /** True once the lease was given back together with the last record. */
  isGivenBack: boolean
  /** The turn takes messages from now on. */
  readonly listens: (active: Active) => void
  /** Fails when the turn has to end, because it lost the session or another one takes its place. */
  readonly ended: Effect.Effect<never, SessionConflict>
}

/** The turns of one session in this process. */
interface Line {
  readonly semaphore: Semaphore.Semaphore
  users: number
  /** Ends the turn that has the session. */
  stop: Deferred.Deferred<never, SessionConflict> | undefined
  /** The turn that has the session, once it takes messages. */
  active: Active | undefined
}

const linesOf = new WeakMap<Service, Map<string, Line>>()

const lineOf = (store: Service, id: string): { readonly lines: Map<string, Line>; readonly line: Line } => {
  let lines = linesOf.get(store)
  if (lines === undefined) linesOf.set(store, (lines = new Map()))
  let line = lines.get(id)
  if (line === undefined)
    lines.set(id, (line = { semaphore: Semaphore.makeUnsafe(1), users: 0, stop: undefined, active: undefined }))
  return { lines, line }
}

/** A session that a fiber has the turn of. */
interface Within {
  readonly store: Service
  readonly id: string
}

/** The sessions whose turns the current fiber works for. */
const Turns: Context.Reference<ReadonlyArray<Within>> = Context.Reference<ReadonlyArray<Within>>(
  "troupe/Session/Turns",
  { defaultValue: () => [] }
)

const conflict = (session: string, reason: SessionConflict["reason"], expectedSeq = 0) =>
  new SessionConflict({ session, reason, expectedSeq })

/**
 * Runs `turn` while the session is its own. Waiting for it can be interrupted; `turn` gets `restore` for what can be
 * interrupted in it. The session is given back when `turn` ends, if it has not given it back itself.
 */
export const withSession = <A, E, R>(
  store: Service,
  id: string,
  whenBusy: WhenBusy,
  turn: (hold: Hold, restore: Restore) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | StoreError | SessionConflict, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber): Effect.Effect<A, E | StoreError | SessionConflict, R> => {
      const around = fiber.getRef(Turns)
      if (isWithin(around, store, id)) return Effect.fail(conflict(id, "nested"))
      const { line, lines } = lineOf(store, id)
      line.users++
      const lease = fiber.getRef(Lease)
      const inside = Effect.flatMap(Deferred.make<never, SessionConflict>(), (stop) => {
        line.stop = stop
        const listens = (active: Active) => {
          line.active = active
        }
        return leased({ store, id, whenBusy, restore }, { lease, stop, listens }, turn)
      })
      return inLine(line, id, whenBusy, restore, inside).pipe(
        Effect.provideService(Turns, [...around, { store, id }]),
        Effect.ensuring(
          Effect.sync(() => {
            if (--line.users === 0) lines.delete(id)
          })
        )
      )
    })
  )

const isWithin = (around: ReadonlyArray<Within>, store: Service, id: string): boolean =>
  around.some((one) => one.store === store && one.id === id)

/**
 * Hands `input` to the turn of the same runner that is under way in this process, and returns how that turn ends; `undefined`
 * when no turn is under way, or when it has ended without taking the input.
 */
export const steer = (
  store: Service,
  id: string,
  key: unknown,
  input: Prompt.Prompt
): Effect.Effect<Exit.Exit<unknown, unknown> | undefined> =>
  Effect.withFiber((fiber) => {
    const active = linesOf.get(store)?.get(id)?.active
    const isUsers = input.content.length > 0 && input.content.every(({ role }) => role === "user")
    if (active === undefined || active.key !== key || !isUsers || isWithin(fiber.getRef(Turns), store, id))
      return Effect.succeed(undefined)
    return Effect.flatMap(active.mail.send("steer", input), (delivery) =>
      delivery === "delivered" ? Deferred.await(active.exit) : Effect.succeed(undefined)
    )
  })

/** As `Effect.uninterruptibleMask` gives it. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const inLine = <A, E, R>(
  line: Line,
  id: string,
  whenBusy: WhenBusy,
  restore: Restore,
  inside: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SessionConflict, R> => {
  const { semaphore } = line
  const cleared = Effect.ensuring(
    inside,
    Effect.sync(() => {
      line.stop = undefined
      line.active = undefined
    })
  )
  const waiting = restore(semaphore.withPermit(Effect.uninterruptible(cleared)))
  return Effect.flatMap(semaphore.takeIfAvailable(1), (isFree): Effect.Effect<A, E | SessionConflict, R> => {
    if (isFree) return Effect.ensuring(cleared, semaphore.release(1))
    if (whenBusy === "reject") return Effect.fail(conflict(id, "busy"))
    if (whenBusy !== "interrupt" || line.stop === undefined) return waiting
    return Effect.andThen(Deferred.fail(line.stop, conflict(id, "interrupted")), waiting)
  })
}

interface Terms extends Pick<Hold, "listens"> {
  readonly lease: Duration.Input
  readonly stop: Deferred.Deferred<never, SessionConflict>
}

/** Which session is waited for, and how. */
interface Wanted extends Within {
  readonly whenBusy: WhenBusy
  readonly restore: Restore
}

const leased = <A, E, R>(
  wanted: Wanted,
  { lease: input, listens, stop }: Terms,
  turn: (hold: Hold, restore: Restore) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | StoreError | SessionConflict, R> => {
  const { id, restore, store } = wanted
  const owner = globalThis.crypto.randomUUID()
  const lease = Duration.fromInputUnsafe(input)
  const giveBack = Effect.catch(store.release(id, owner), (error) =>
    Effect.logWarning(`${error.message} The session is free again when its lease has ended.`)
  )
  return Effect.flatMap(take(wanted, owner, lease), ({ seq, uid }) => {
    const hold: Hold = { owner, uid, seq, isGivenBack: false, listens, ended: Deferred.await(stop) }
    const whole = Effect.ensuring(
      turn(hold, restore),
      Effect.suspend(() => (hold.isGivenBack ? Effect.void : giveBack))
    )
    if (!store.shared) return whole
    const beats = Effect.forkChild(heartbeats(store, id, { owner, lease, stop, seq }))
    return Effect.flatMap(beats, (fiber) =>
      Effect.ensuring(
        whole,
        Effect.sync(() => fiber.interruptUnsafe())
      )
    )
  })
}

/** Time between two looks at a session that another process has, in milliseconds: more each time. */
const lookAgain = (count: number): number => Math.min(10 * 1.5 ** count, 500)

const take = (
  { id, restore, store, whenBusy }: Wanted,
  owner: string,
  lease: Duration.Duration
): Effect.Effect<{ readonly uid: string; readonly seq: number }, StoreError | SessionConflict> => {
  const attempt = (count: number): ReturnType<typeof take> =>
    Effect.flatMap(store.acquire(id, owner, lease), (acquired) => {
      if (acquired._tag === "Acquired") return Effect.succeed(acquired)
      if (whenBusy === "reject") return Effect.fail(conflict(id, "busy"))
      const asked = whenBusy === "interrupt" ? store.want(id) : Effect.void
      const pause = Effect.flatMap(Random.next, (random) => Effect.sleep(lookAgain(count) * (0.5 + random)))
      return asked.pipe(Effect.andThen(restore(pause)), Effect.andThen(Effect.suspend(() => attempt(count + 1))))
    })
  return attempt(0)
}

interface Beating {
  readonly owner: string
  readonly stop: Terms["stop"]
  readonly lease: Duration.Duration
  readonly seq: number
}

/** Renews the lease until the turn ends, or has to end. */
const heartbeats = (
  store: Service,
  id: string,
  { lease, owner, seq, stop }: Beating
): Effect.Effect<unknown, never> => {
  const every = Duration.toMillis(lease) / 6
  const end = (reason: SessionConflict["reason"]) => Deferred.fail(stop, conflict(id, reason, seq))
  const beat = (last: number): Effect.Effect<unknown> =>
    Effect.andThen(
      Effect.sleep(every),
      Effect.matchEffect(store.renew(id, owner, lease), {
        // The database may come back in time.
        onFailure: () =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => (now - last < every * 5 ? beat(last) : end("lost"))),
        onSuccess: (state) =>
          state === "held"
            ? Effect.flatMap(Clock.currentTimeMillis, beat)
            : end(state === "wanted" ? "interrupted" : "lost")
      })
    )
  return Effect.interruptible(Effect.flatMap(Clock.currentTimeMillis, beat))
}
