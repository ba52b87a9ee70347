/** A store of sessions on SQLite or PostgreSQL. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Client from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { SessionConflict, StoreError } from "../../../RunError.ts"
import type { Acquired, Addition, Info, Record, Service, Stored } from "../../../services/SessionStore.ts"
import { asFailures, isTransient } from "../../internal/databaseProblem.ts"
import { type Database, type Migrations, open, reconnecting } from "./database.ts"
import { groupCommit, type Together } from "./groupCommit.ts"
import * as SessionRecord from "./sessionRecord.ts"

const migrations: Migrations = [
  (sql, dialect) => {
    // By bytes, so that pages of a list have one order in every database.
    const id = sql.literal(dialect === "pg" ? 'TEXT COLLATE "C"' : "TEXT")
    const bytes = sql.literal(dialect === "pg" ? "BYTEA" : "BLOB")
    return [
      sql`CREATE TABLE troupe_sessions (
        id ${id} PRIMARY KEY, uid TEXT NOT NULL, seq INTEGER NOT NULL, turns INTEGER NOT NULL, waiting INTEGER NOT NULL,
        created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
        lease_owner TEXT, lease_until BIGINT NOT NULL, lease_wanted INTEGER NOT NULL)`,
      sql`CREATE INDEX troupe_sessions_updated ON troupe_sessions (updated_at)`,
      sql`CREATE TABLE troupe_session_records (
        session ${id} NOT NULL, seq INTEGER NOT NULL, turn INTEGER NOT NULL, status TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (session, seq))`,
      sql`CREATE TABLE troupe_session_blobs (hash TEXT PRIMARY KEY, data ${bytes} NOT NULL)`,
      sql`CREATE TABLE troupe_session_files (
        session ${id} NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (session, seq, hash))`,
      sql`CREATE INDEX troupe_session_files_hash ON troupe_session_files (hash)`
    ]
  }
]

/** The owner of no lease. No lease has it, because owners are random. */
const noOwner = ""

/** A number of our own, for PostgreSQL's advisory locks: attachments are added by many at once or removed by one. */
const blobLock = 7_405_302

const conflict = (session: string, reason: SessionConflict["reason"], expectedSeq = 0) =>
  new SessionConflict({ session, reason, expectedSeq })

/** Opens the store: its tables are made or brought to the newest version. */
export const make = (sql: Client.SqlClient): Effect.Effect<Service, SqlError | StoreError> =>
  Effect.map(open(sql, "sessions", migrations), (database): Service => {
    const together = groupCommit(database)
    return { shared: true, ...leases(database, together), ...records(database, together), ...management(database) }
  })

const leases = (
  { again, now, sql }: Database,
  together: Together
): Pick<Service, "acquire" | "renew" | "want" | "release"> => ({
  acquire: (id, owner, lease) => {
    const acquired = Effect.gen(function* (): Effect.fn.Return<Acquired, SqlError> {
      const time = yield* now
      const uid = globalThis.crypto.randomUUID()
      const ms = Duration.toMillis(lease)
      const [row] = yield* sql<{ readonly uid: string; readonly seq: number }>`
        INSERT INTO troupe_sessions (id, uid, seq, turns, waiting, created_at, updated_at, lease_owner, lease_until, lease_wanted)
        VALUES (${id}, ${uid}, 0, 0, 0, ${time}, ${time}, ${owner}, ${time} + ${ms}, 0)
        ON CONFLICT (id) DO UPDATE SET lease_owner = excluded.lease_owner, lease_until = excluded.lease_until, lease_wanted = 0
        WHERE troupe_sessions.lease_owner IS NULL OR troupe_sessions.lease_until <= ${time} OR troupe_sessions.lease_owner = ${owner}
        RETURNING uid, seq`
      return row === undefined ? { _tag: "Busy" } : { _tag: "Acquired", uid: row.uid, seq: Number(row.seq) }
    })
    return again(together(acquired, acquired), id)
  },
  renew: (id, owner, lease) =>
    again(
      Effect.gen(function* () {
        const time = yield* now
        const [row] = yield* sql<{ readonly lease_wanted: number }>`
          UPDATE troupe_sessions SET lease_until = ${time} + ${Duration.toMillis(lease)}
          WHERE id = ${id} AND lease_owner = ${owner} RETURNING lease_wanted`
        return row === undefined ? "lost" : Number(row.lease_wanted) === 0 ? "held" : "wanted"
      }),
      id
    ),
  want: (id) => again(Effect.asVoid(sql`UPDATE troupe_sessions SET lease_wanted = 1 WHERE id = ${id}`), id),
  release: (id, owner) =>
    again(
      Effect.gen(function* () {
        const [kept] = yield* sql`
          UPDATE troupe_sessions SET lease_owner = NULL, lease_until = 0, lease_wanted = 0
          WHERE id = ${id} AND lease_owner = ${owner} AND seq > 0 RETURNING seq`
        if (kept === undefined) {
          yield* sql`DELETE FROM troupe_sessions WHERE id = ${id} AND lease_owner = ${owner} AND seq = 0`
        }
      }),
      id
    )
})

interface Row {
  readonly seq: number
  readonly body: string
}

interface Piece {
  readonly data: Uint8Array
}

/** How much of an attachment is read at once: clients of PostgreSQL limit how long a row may be. */
const maxPiece = 8_000_000

/** Reads attachments by their hashes, long ones in pieces. */
const reader = (sql: Client.SqlClient) => {
  const wholeOf = Effect.fnUntraced(function* (
    hash: string,
    first: Uint8Array,
    size: number
  ): Effect.fn.Return<Uint8Array | undefined, SqlError> {
    const whole = new Uint8Array(size)
    whole.set(first)
    for (let at = first.length; at < size; at += maxPiece) {
      const [piece] = yield* sql<Piece>`
        SELECT SUBSTR(data, ${at + 1}, ${maxPiece}) AS data FROM troupe_session_blobs WHERE hash = ${hash}`
      // It was removed meanwhile.
      if (piece === undefined) return undefined
      whole.set(piece.data, at)
    }
    return whole
  })
  return Effect.fnUntraced(function* (
    hashes: ReadonlyArray<string>
  ): Effect.fn.Return<ReadonlyMap<string, Uint8Array>, SqlError> {
    const found = new Map<string, Uint8Array>()
    for (let at = 0; at < hashes.length; at += 500) {
      const rows = yield* sql<Piece & { readonly hash: string; readonly size: number }>`
        SELECT hash, LENGTH(data) AS size, SUBSTR(data, 1, ${maxPiece}) AS data
        FROM troupe_session_blobs WHERE ${sql.in("hash", hashes.slice(at, at + 500))}`
      for (const { data, hash, size } of rows) {
        const whole = Number(size) <= maxPiece ? data : yield* wholeOf(hash, data, Number(size))
        if (whole !== undefined) found.set(hash, whole)
      }
    }
    return found
  })
}

const records = (database: Database, together: Together): Pick<Service, "read" | "append"> => {
  const { again, sql, use } = database
  const blobsOf = reader(sql)
  const read = Effect.fnUntraced(function* (
    id: string,
    from: number
  ): Effect.fn.Return<Stored | undefined, SqlError | StoreError> {
    const [session] = yield* sql<{ readonly uid: string; readonly seq: number }>`
      SELECT uid, seq FROM troupe_sessions WHERE id = ${id}`
    if (session === undefined) return undefined
    const seq = Number(session.seq)
    const rows = yield* sql<Row>`
      SELECT seq, body FROM troupe_session_records WHERE session = ${id} AND seq > ${from} AND seq <= ${seq} ORDER BY seq`
    const parsed: Array<SessionRecord.Parsed> = []
    for (let index = 0; index < Math.max(seq - from, 0); index++) {
      const row = rows[index]
      if (Number(row?.seq) !== from + index + 1) {
        const problem = `record ${from + index + 1} is missing`
        return yield* new StoreError({ store: "sessions", reason: "unreadable", subject: id, problem })
      }
      parsed.push(yield* SessionRecord.parse(id, from + index + 1, row!.body))
    }
    const blobs = yield* blobsOf([...new Set(parsed.flatMap(({ hashes }) => [...hashes]))])
    const all: Array<Record> = []
    for (const one of parsed) all.push(yield* SessionRecord.decode(id, from + all.length + 1, one, blobs))
    return { uid: session.uid, seq, records: all }
  })
  return {
    read: (id, from) => again(read(id, from), id),
    append: (id, addition) =>
      use(
        Effect.suspend(() => {
          const stored = addition.records.map(SessionRecord.encode)
          const added = append(database, id, addition, stored)
          return once(database, id, addition.expectedSeq, stored, together(added, sql.withTransaction(added)))
        }),
        id
      )
  }
}

/**
 * Adds records once, also where the connection is lost as they are added: then it is not known whether they were, and they are looked for.
 * They are those of the run that they name, so no others are equal to them.
 */
const once = <E>(
  { dialect, sql }: Database,
  id: string,
  expectedSeq: number,
  records: ReadonlyArray<SessionRecord.Stored>,
  added: Effect.Effect<number, E | SqlError>
): Effect.Effect<number, E | SqlError> => {
  const [first] = records
  if (dialect !== "pg" || first === undefined) return added
  const isThere = Effect.map(
    sql<Row>`SELECT seq, body FROM troupe_session_records WHERE session = ${id} AND seq = ${expectedSeq + 1}`,
    ([row]) => row?.body === first.body
  )
  let isUnsure = false
  const attempt = Effect.catch(asFailures(added), (error) => {
    if (!isTransient(error) && !isUnsure) return Effect.fail(error)
    isUnsure = true
    return Effect.flatMap(asFailures(isThere), (there) =>
      there ? Effect.succeed(expectedSeq + records.length) : Effect.fail(error)
    )
  })
  return Effect.retry(attempt, { ...reconnecting, while: isTransient })
}

const append = Effect.fnUntraced(function* (
  { dialect, now, sql }: Database,
  id: string,
  { expectedSeq, owner, records, release }: Addition,
  stored: ReadonlyArray<SessionRecord.Stored>
): Effect.fn.Return<number, SqlError | SessionConflict> {
  const time = yield* now
  // First, as removing takes it first.
  if (dialect === "pg" && stored.some(({ blobs }) => blobs.size > 0)) {
    yield* sql`SELECT pg_advisory_xact_lock_shared(${blobLock})`
  }
  if (owner === undefined && expectedSeq === 0) {
    yield* sql`
      INSERT INTO troupe_sessions (id, uid, seq, turns, waiting, created_at, updated_at, lease_until, lease_wanted)
      VALUES (${id}, ${globalThis.crypto.randomUUID()}, 0, 0, 0, ${time}, ${time}, 0, 0) ON CONFLICT (id) DO NOTHING`
  }
  const seq = expectedSeq + records.length
  const waiting = records.at(-1)?.status === "suspended" ? 1 : 0
  const turns = records.findLast(({ status }) => status !== "suspended")?.turn
  const isOurs =
    owner === undefined ? sql`(lease_owner IS NULL OR lease_until <= ${time})` : sql`lease_owner = ${owner}`
  const [row] = yield* sql`
    UPDATE troupe_sessions SET seq = ${seq}, waiting = ${waiting}, updated_at = ${time}
      ${turns === undefined ? sql.literal("") : sql`, turns = ${turns}`}
      ${release === true ? sql.literal(", lease_owner = NULL, lease_until = 0, lease_wanted = 0") : sql.literal("")}
    WHERE id = ${id} AND seq = ${expectedSeq} AND ${isOurs} RETURNING seq`
  if (row === undefined) return yield* refused(sql, id, owner ?? noOwner, expectedSeq)
  for (const [index, { blobs, body }] of stored.entries()) {
    const { status, turn } = records[index]!
    const at = expectedSeq + index + 1
    yield* sql`INSERT INTO troupe_session_records ${sql.insert({ session: id, seq: at, turn, status, body })}`
    for (const [hash, data] of blobs) {
      yield* sql`INSERT INTO troupe_session_blobs ${sql.insert({ hash, data })} ON CONFLICT (hash) DO NOTHING`
      yield* sql`INSERT INTO troupe_session_files ${sql.insert({ session: id, seq: at, hash })}`
    }
  }
  return seq
})

/** Why nothing could be added. */
const refused = Effect.fnUntraced(function* (
  sql: Client.SqlClient,
  id: string,
  owner: string,
  expectedSeq: number
): Effect.fn.Return<never, SqlError | SessionConflict> {
  const [row] = yield* sql<{ readonly seq: number; readonly lease_owner: string | null }>`
    SELECT seq, lease_owner FROM troupe_sessions WHERE id = ${id}`
  if (row === undefined) return yield* conflict(id, owner === noOwner ? "missing" : "lost", expectedSeq)
  if (owner !== noOwner && row.lease_owner !== owner) return yield* conflict(id, "lost", expectedSeq)
  return yield* conflict(id, Number(row.seq) === expectedSeq ? "busy" : "changed", expectedSeq)
})

const management = (database: Database): Pick<Service, "fork" | "rename" | "remove" | "list" | "prune"> => {
  const { again, now, sql, use } = database
  const within = <A, E>(work: Effect.Effect<A, E | SqlError>, subject?: string) =>
    use(sql.withTransaction(work), subject)
  const withinAgain = <A, E>(work: Effect.Effect<A, E | SqlError>, subject?: string) =>
    again(sql.withTransaction(work), subject)
  return {
    fork: (from, to, before) => within(fork(database, from, to, before), from),
    rename: (from, to) => within(rename(database, from, to), from),
    remove: (id) => withinAgain(Effect.asVoid(remove(database, sql`id = ${id}`)), id),
    list: (limit, after) => again(list(sql, limit, after)),
    prune: (idle) => {
      const some = Effect.gen(function* () {
        const time = yield* now
        return yield* remove(
          database,
          sql`(lease_owner IS NULL OR lease_until <= ${time}) AND updated_at <= ${time} - ${Duration.toMillis(idle)}`
        )
      })
      const all = (before: number): Effect.Effect<number, StoreError> =>
        Effect.flatMap(withinAgain(some), (removed) =>
          removed < removedAtOnce ? Effect.succeed(before + removed) : all(before + removed)
        )
      return all(0)
    }
  }
}

/**
 * Fails unless `from` has records and `to` is free. In PostgreSQL, where transactions of one time see what others commit meanwhile, no one
 * adds records to `from`, removes it or takes its attachments until this is done.
 */
const assertMoves = Effect.fnUntraced(function* (
  { dialect, sql }: Database,
  from: string,
  to: string,
  lock: "FOR SHARE" | "FOR UPDATE"
) {
  // First, as removing takes it first.
  if (dialect === "pg") yield* sql`SELECT pg_advisory_xact_lock_shared(${blobLock})`
  const [row] = yield* sql<{ readonly seq: number }>`
    SELECT seq FROM troupe_sessions WHERE id = ${from} ${sql.literal(dialect === "pg" ? lock : "")}`
  const seq = Number(row?.seq ?? 0)
  if (seq === 0) return yield* conflict(from, "missing")
  const [taken] = yield* sql`SELECT id FROM troupe_sessions WHERE id = ${to}`
  if (taken !== undefined) return yield* conflict(to, "exists")
  return seq
})

const fork = Effect.fnUntraced(function* (
  database: Database,
  from: string,
  to: string,
  before: number | undefined
): Effect.fn.Return<void, SqlError | SessionConflict> {
  const { now, sql } = database
  const last = yield* assertMoves(database, from, to, "FOR SHARE")
  const time = yield* now
  const earlier = before === undefined ? sql.literal("1 = 1") : sql`turn < ${before}`
  // Of a turn that waits, steps may be kept already.
  const which = sql`status <> 'suspended' AND ${earlier} AND turn NOT IN (
    SELECT turn FROM troupe_session_records WHERE session = ${from} AND seq = ${last} AND status = 'suspended')`
  const uid = globalThis.crypto.randomUUID()
  const [made] = yield* sql`
    INSERT INTO troupe_sessions (id, uid, seq, turns, waiting, created_at, updated_at, lease_until, lease_wanted)
    SELECT ${to}, ${uid}, COUNT(*), COALESCE(MAX(turn), 0), 0, ${time}, ${time}, 0, 0
    FROM troupe_session_records WHERE session = ${from} AND ${which}
    ON CONFLICT (id) DO NOTHING RETURNING id`
  if (made === undefined) return yield* conflict(to, "exists")
  yield* sql`
    INSERT INTO troupe_session_records (session, seq, turn, status, body)
    SELECT ${to}, ROW_NUMBER() OVER (ORDER BY seq), turn, status, body
    FROM troupe_session_records WHERE session = ${from} AND ${which}`
  yield* sql`
    INSERT INTO troupe_session_files (session, seq, hash)
    SELECT ${to}, copied.seq, files.hash FROM troupe_session_files AS files
    JOIN (SELECT seq AS source, ROW_NUMBER() OVER (ORDER BY seq) AS seq
          FROM troupe_session_records WHERE session = ${from} AND ${which}) AS copied ON copied.source = files.seq
    WHERE files.session = ${from}`
})

const rename = Effect.fnUntraced(function* (
  database: Database,
  from: string,
  to: string
): Effect.fn.Return<void, SqlError | SessionConflict> {
  const { now, sql } = database
  const seq = yield* assertMoves(database, from, to, "FOR UPDATE")
  const time = yield* now
  const [moved] = yield* sql`
    UPDATE troupe_sessions SET id = ${to}, lease_owner = NULL
    WHERE id = ${from} AND (lease_owner IS NULL OR lease_until <= ${time}) RETURNING id`
  if (moved === undefined) return yield* conflict(from, "busy", seq)
  yield* sql`UPDATE troupe_session_records SET session = ${to} WHERE session = ${from}`
  yield* sql`UPDATE troupe_session_files SET session = ${to} WHERE session = ${from}`
})

/** Sessions that one transaction removes: a long one would keep turns waiting. */
const removedAtOnce = 500

/**
 * Removes sessions with their records and the attachments that no other session has. Which ones is found out once, and in PostgreSQL they are
 * held until they are gone: a turn that is added meanwhile would be left without its session.
 */
const remove = Effect.fnUntraced(function* (
  { dialect, sql }: Database,
  which: Fragment
): Effect.fn.Return<number, SqlError> {
  if (dialect === "pg") yield* sql`SELECT pg_advisory_xact_lock(${blobLock})`
  const found = yield* sql<{ readonly id: string }>`
    SELECT id FROM troupe_sessions WHERE ${which} LIMIT ${removedAtOnce} ${sql.literal(dialect === "pg" ? "FOR UPDATE" : "")}`
  if (found.length === 0) return 0
  const ids = found.map(({ id }) => id)
  const theirs = sql.in("session", ids)
  const [filed] = yield* sql`SELECT 1 AS one FROM troupe_session_files WHERE ${theirs} LIMIT 1`
  if (filed !== undefined) {
    yield* sql`
      DELETE FROM troupe_session_blobs WHERE hash IN (SELECT hash FROM troupe_session_files WHERE ${theirs})
      AND NOT EXISTS (SELECT 1 FROM troupe_session_files AS others WHERE others.hash = troupe_session_blobs.hash
        AND NOT (${sql.in("others.session", ids)}))`
    yield* sql`DELETE FROM troupe_session_files WHERE ${theirs}`
  }
  yield* sql`DELETE FROM troupe_session_records WHERE ${theirs}`
  yield* sql`DELETE FROM troupe_sessions WHERE ${sql.in("id", ids)}`
  return ids.length
})

interface InfoRow {
  readonly id: string
  readonly turns: number
  readonly created_at: number
  readonly updated_at: number
  readonly waiting: number
}

const list = (
  sql: Client.SqlClient,
  limit: number,
  after: string | undefined
): Effect.Effect<ReadonlyArray<Info>, SqlError> =>
  Effect.map(
    sql<InfoRow>`SELECT id, turns, created_at, updated_at, waiting FROM troupe_sessions
      WHERE seq > 0 AND ${after === undefined ? sql.literal("1 = 1") : sql`id > ${after}`} ORDER BY id LIMIT ${limit}`,
    (rows) =>
      rows.map((row) => ({
        id: row.id,
        turns: Number(row.turns),
        createdAt: Number(row.created_at),
        updatedAt: Number(row.updated_at),
        waiting: Number(row.waiting) === 1
      }))
  )
