/** A store of sessions in memory. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { SessionConflict } from "../../../RunError.ts"
import { type Acquired, type Info, type Record, type Service, suspendedIn } from "../../../services/SessionStore.ts"
import { turnsIn } from "./sessionRecord.ts"
import { sharedFiles } from "./sharedFiles.ts"

interface Session {
  readonly uid: string
  readonly createdAt: number
  updatedAt: number
  records: ReadonlyArray<Record>
  owner: string | undefined
  until: number
}

const conflict = (session: string, reason: SessionConflict["reason"], expectedSeq = 0) =>
  Effect.fail(new SessionConflict({ session, reason, expectedSeq }))

type Sessions = Map<string, Session>
type Part<K extends keyof Service> = Pick<Service, K>

/** A new, empty store. */
export const make = (): Service => {
  const sessions: Sessions = new Map()
  return { shared: false, ...leases(sessions), ...contents(sessions), ...names(sessions), ...listing(sessions) }
}

const at = <A, E>(f: (now: number) => Effect.Effect<A, E>) => Effect.flatMap(Clock.currentTimeMillis, f)
const isFree = ({ owner, until }: Session, now: number) => owner === undefined || until <= now
const begin = (now: number, records: ReadonlyArray<Record> = []): Session => ({
  uid: globalThis.crypto.randomUUID(),
  createdAt: now,
  updatedAt: now,
  records,
  owner: undefined,
  until: 0
})

/** The owner of the turn of a session. */
const leases = (sessions: Sessions): Part<"acquire" | "renew" | "want" | "release"> => ({
  acquire: (id, owner, lease) =>
    at((now): Effect.Effect<Acquired> => {
      const session = sessions.get(id) ?? begin(now)
      if (!isFree(session, now) && session.owner !== owner) return Effect.succeed({ _tag: "Busy" })
      session.owner = owner
      session.until = now + Duration.toMillis(lease)
      sessions.set(id, session)
      return Effect.succeed({ _tag: "Acquired", uid: session.uid, seq: session.records.length })
    }),
  renew: (id, owner, lease) =>
    at((now) => {
      const session = sessions.get(id)
      if (session?.owner !== owner) return Effect.succeed("lost")
      session.until = now + Duration.toMillis(lease)
      return Effect.succeed("held")
    }),
  want: () => Effect.void,
  release: (id, owner) =>
    Effect.sync(() => {
      const session = sessions.get(id)
      if (session?.owner !== owner) return
      session.owner = undefined
      if (session.records.length === 0) sessions.delete(id)
    })
})

/** What was said in a session. */
const contents = (sessions: Sessions): Part<"read" | "append"> => {
  const share = sharedFiles()
  return {
    read: (id, from) =>
      Effect.sync(() => {
        const session = sessions.get(id)
        return session === undefined
          ? undefined
          : { uid: session.uid, seq: session.records.length, records: session.records.slice(from) }
      }),
    append: (id, { expectedSeq, owner, records, release }) =>
      at((now) => {
        const session = sessions.get(id) ?? begin(now)
        if (owner === undefined && !isFree(session, now)) return conflict(id, "busy", expectedSeq)
        if (owner !== undefined && session.owner !== owner) return conflict(id, "lost", expectedSeq)
        if (session.records.length !== expectedSeq) return conflict(id, "changed", expectedSeq)
        const added = records.map((record) => ({ ...record, messages: share(record.messages) }))
        session.records = [...session.records, ...added]
        session.updatedAt = now
        if (release === true) session.owner = undefined
        sessions.set(id, session)
        return Effect.succeed(session.records.length)
      })
  }
}

const hasRecords = (session: Session | undefined): session is Session => (session?.records.length ?? 0) > 0

/** Sessions under other names, and those that go. */
const names = (sessions: Sessions): Part<"fork" | "rename" | "remove"> => ({
  fork: (from, to, before) =>
    at((now) => {
      const source = sessions.get(from)
      if (!hasRecords(source)) return conflict(from, "missing")
      if (sessions.has(to)) return conflict(to, "exists")
      const end = Math.min(before ?? Infinity, suspendedIn(source.records)?.turn ?? Infinity)
      const copied = source.records.filter(({ status, turn }) => status !== "suspended" && turn < end)
      sessions.set(to, begin(now, copied))
      return Effect.void
    }),
  rename: (from, to) =>
    at((now) => {
      const source = sessions.get(from)
      if (!hasRecords(source)) return conflict(from, "missing")
      if (sessions.has(to)) return conflict(to, "exists")
      if (!isFree(source, now)) return conflict(from, "busy", source.records.length)
      sessions.delete(from)
      sessions.set(to, source)
      return Effect.void
    }),
  remove: (id) => Effect.sync(() => void sessions.delete(id))
})

/** All sessions. */
const listing = (sessions: Sessions): Part<"list" | "prune"> => ({
  list: (limit, after) =>
    Effect.sync(() =>
      [...sessions.keys()]
        .filter((id) => hasRecords(sessions.get(id)) && (after === undefined || id > after))
        .toSorted((a, b) => (a < b ? -1 : 1))
        .slice(0, limit)
        .map((id) => infoOf(id, sessions.get(id)!))
    ),
  prune: (idle) =>
    at((now) =>
      Effect.sync(() => {
        const old = [...sessions].filter(
          ([, session]) => isFree(session, now) && session.updatedAt <= now - Duration.toMillis(idle)
        )
        for (const [id] of old) sessions.delete(id)
        return old.length
      })
    )
})

const infoOf = (id: string, { createdAt, records, updatedAt }: Session): Info => ({
  id,
  turns: turnsIn(records),
  createdAt,
  updatedAt,
  waiting: records.at(-1)?.status === "suspended"
})
