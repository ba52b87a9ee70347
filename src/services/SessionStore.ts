/**
 * The port to a store of sessions: conversations that outlive their runs. `layers/state/SessionStore.ts` is the public
 * module, with the Layers; `agents/Session.ts` makes a runner of a session.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import { assertOptions, durationOf } from "../internal/definition.ts"
import * as Suspension from "../internal/suspension.ts"
import type { SessionConflict, StoreError } from "../RunError.ts"
import type { WaitingFor } from "./Waiting.ts"

/** The version of the records. It changes when a reader of the old format would misread the new. */
export const version = 1

/**
 * One record of a session. Records are only ever added. A turn is one record, unless it is kept step by step or was
 * suspended.
 */
export const Record = Schema.Struct({
  v: Schema.Literal(version),
  /** The turn, counted from 1. */
  turn: Schema.Int,
  /** `partial`: the turn has not ended, or its process has died. */
  status: Schema.Literals(["completed", "failed", "interrupted", "suspended", "partial"]),
  /** When it was made, in milliseconds since the epoch. */
  at: Schema.Finite,
  /** The run that made it, and the names of the runners from the root to it. */
  runId: Schema.String,
  path: Schema.Array(Schema.String),
  /** The place of the turn in its durable run. A run that is made again finds the turn by it. */
  key: Schema.optionalKey(Schema.String),
  /** True when the messages go on from those of the turn's record before; else they take their place. */
  continues: Schema.Boolean,
  /** What the turn adds to the conversation. Of a suspended turn, what its run goes on from. */
  messages: Prompt.Prompt,
  /** Of a suspended turn: true when `messages` go on from the conversation, false when they are the whole transcript. */
  follows: Schema.optionalKey(Schema.Boolean),
  /** The input of a suspended turn. */
  input: Schema.optionalKey(Prompt.Prompt),
  /** Snapshots of the files of the workspace, of a session that can put them back: before the turn, and after it. */
  files: Schema.optionalKey(Schema.Struct({ before: Schema.String, after: Schema.optionalKey(Schema.String) }))
})
/** One record of a session. */
export interface Record extends Schema.Schema.Type<typeof Record> {}

/** What is known of a session without reading it. Times are in milliseconds since the epoch. */
export interface Info {
  readonly id: string
  /** How many turns are kept. */
  readonly turns: number
  readonly createdAt: number
  readonly updatedAt: number
  /** True when its last turn is suspended. */
  readonly waiting: boolean
}

/** The records of a session after `from`, in their order. */
export interface Stored {
  /** Names this session and no other, also after another one took its id. */
  readonly uid: string
  /** The number of its last record; records are numbered from 1. */
  readonly seq: number
  readonly records: ReadonlyArray<Record>
}

/** The outcome of an attempt to get the session for one owner. */
export type Acquired =
  | { readonly _tag: "Acquired"; readonly uid: string; readonly seq: number }
  | { readonly _tag: "Busy" }

/** What {@link Service.append} adds, and on which condition. */
export interface Addition {
  readonly expectedSeq: number
  readonly records: ReadonlyArray<Record>
  /** The owner of the lease; without one, no one may have it. */
  readonly owner?: string | undefined
  /** Gives the lease back in the same step. */
  readonly release?: boolean | undefined
}

/**
 * A store of sessions. Each operation is atomic, also between processes that share the store. A lease is how a turn has its
 * session for itself: it ends by itself when it is not renewed, so that the end of a process blocks no session for long.
 */
export interface Service {
  /** False for a store of one process: its leases need no renewal. */
  readonly shared: boolean
  /** Takes the lease for `owner`, and makes the session if there is none. */
  readonly acquire: (id: string, owner: string, lease: Duration.Duration) => Effect.Effect<Acquired, StoreError>
  /** Prolongs a lease. `wanted`: another turn asks for the session; `lost`: it is no longer the owner's. */
  readonly renew: (
    id: string,
    owner: string,
    lease: Duration.Duration
  ) => Effect.Effect<"held" | "wanted" | "lost", StoreError>
  /** Asks the owner of the lease to give it up. */
  readonly want: (id: string) => Effect.Effect<void, StoreError>
  /** Gives a lease back. A session without records is gone then. */
  readonly release: (id: string, owner: string) => Effect.Effect<void, StoreError>
  /** The records after number `from`; `undefined` when the session does not exist. */
  readonly read: (id: string, from: number) => Effect.Effect<Stored | undefined, StoreError>
  /** Adds records, and returns the number of the last one. */
  readonly append: (id: string, addition: Addition) => Effect.Effect<number, StoreError | SessionConflict>
  /** Copies the turns before turn `before`, all of them if unset, without a suspended one. */
  readonly fork: (
    from: string,
    to: string,
    before: number | undefined
  ) => Effect.Effect<void, StoreError | SessionConflict>
  readonly rename: (from: string, to: string) => Effect.Effect<void, StoreError | SessionConflict>
  readonly remove: (id: string) => Effect.Effect<void, StoreError>
  /** Sessions by id, at most `limit`, after the id `after`. */
  readonly list: (limit: number, after: string | undefined) => Effect.Effect<ReadonlyArray<Info>, StoreError>
  /** Removes sessions without a turn for `idle`, and returns how many. */
  readonly prune: (idle: Duration.Duration) => Effect.Effect<number, StoreError>
}

/** The store of sessions of the program. Make one with `layerMemory` or `layerSql`. */
export class SessionStore extends Context.Service<SessionStore, Service>()("troupe/SessionStore") {}

/**
 * How long a process that has died blocks a session, and the longest time that a turn may block its event loop. Default: 30
 * seconds. A turn renews its lease six times in that time.
 */
export const Lease: Context.Reference<Duration.Input> = Context.Reference<Duration.Input>("troupe/SessionStore/Lease", {
  defaultValue: () => "30 seconds"
})

/** The messages that records say, without those of a suspended turn. */
export const messagesOf = (records: ReadonlyArray<Record>): ReadonlyArray<Prompt.Message> => {
  const messages: Array<Prompt.Message> = []
  let turn = 0
  let start = 0
  for (const record of records) {
    if (record.turn !== turn) start = messages.length
    else if (!record.continues) messages.length = start
    turn = record.turn
    if (record.status === "suspended") messages.length = start
    else messages.push(...record.messages.content)
  }
  return messages
}

/** The suspended turn that a session ends with. */
export const suspendedIn = (records: ReadonlyArray<Record>): Record | undefined => {
  const last = records.at(-1)
  return last?.status === "suspended" ? last : undefined
}

/**
 * The conversation so far, without a suspended turn; empty when the session does not exist. Fails with `StoreError`.
 *
 * @example
 * import { Effect } from "effect"
 * import { SessionStore, Transcript } from "troupe"
 *
 * const turns = Effect.map(SessionStore.history("user-42"), (history) => Transcript.turns(history).length)
 */
export const history = (id: string): Effect.Effect<Prompt.Prompt, StoreError, SessionStore> =>
  Effect.flatMap(SessionStore, (store) =>
    Effect.map(store.read(id, 0), (stored) => Prompt.fromMessages(messagesOf(stored?.records ?? [])))
  )

/** The transcript that a suspended turn goes on from. */
export const transcriptOf = (
  history: ReadonlyArray<Prompt.Message>,
  { follows, messages }: Pick<Record, "follows" | "messages">
): Prompt.Prompt => (follows === false ? messages : Prompt.fromMessages([...history, ...messages.content]))

const suspendedOf = (stored: Stored | undefined): Prompt.Prompt => {
  const suspended = suspendedIn(stored?.records ?? [])
  return suspended === undefined ? Prompt.empty : transcriptOf(messagesOf(stored!.records), suspended)
}

/**
 * What the last turn of a session waits for: approvals, results of tools that the caller runs, outside events; empty where it
 * is not suspended. `Session.resume` takes the answers. Fails with `StoreError`.
 */
export const pending = (id: string): Effect.Effect<ReadonlyArray<WaitingFor>, StoreError, SessionStore> =>
  Effect.flatMap(SessionStore, (store) =>
    Effect.map(store.read(id, 0), (stored) => Suspension.pending(suspendedOf(stored)))
  )

/**
 * Gives a suspended turn up: the session goes on as it was before it. Does nothing where no turn is suspended. Fails with
 * `SessionConflict` while a turn is under way.
 */
export const giveUp = (id: string): Effect.Effect<void, StoreError | SessionConflict, SessionStore> =>
  Effect.gen(function* () {
    const store = yield* SessionStore
    const stored = yield* store.read(id, 0)
    const suspended = suspendedIn(stored?.records ?? [])
    if (suspended === undefined) return
    const { input: _input, follows: _follows, ...rest } = suspended
    const at = yield* Clock.currentTimeMillis
    const record: Record = { ...rest, at, status: "interrupted", continues: false, messages: Prompt.empty }
    yield* store.append(id, { expectedSeq: stored!.seq, records: [record] })
  })

/**
 * Copies a session to a new one, which then goes its own way. `before` is the number of a turn, from 1: only the turns
 * before it are copied. A suspended turn is not copied, because it can go on only once. Files of a workspace stay as they are: to put
 * them back with the conversation, use `Session.rewind`. Fails with `SessionConflict` when `to` exists already or `from` does not.
 *
 * @example
 * import { SessionStore } from "troupe"
 *
 * // As user-42 was after two turns.
 * const fork = SessionStore.fork("user-42", "user-43", { before: 3 })
 */
export const fork = (
  from: string,
  to: string,
  options: { readonly before?: number | undefined } = {}
): Effect.Effect<void, StoreError | SessionConflict, SessionStore> => {
  assertOptions("SessionStore.fork", options, knownOfFork)
  return Effect.flatMap(SessionStore, (store) => store.fork(from, to, options.before))
}

const knownOfFork: ReadonlySet<string> = new Set(["before"])
const knownOfList: ReadonlySet<string> = new Set(["limit", "after"])
const knownOfPrune: ReadonlySet<string> = new Set(["idle"])

/**
 * Gives a session another id. Fails with `SessionConflict` when `to` exists already, `from` does not, or a turn of it is
 * under way.
 */
export const rename = (from: string, to: string): Effect.Effect<void, StoreError | SessionConflict, SessionStore> =>
  Effect.flatMap(SessionStore, (store) => store.rename(from, to))

/** The most sessions of one page. */
const maxLimit = 1000

/**
 * Sessions in the order of their ids, at most `limit` of them (default 100, at most 1000). For the next page, give the id of
 * the last one as `after`.
 *
 * @example
 * import { Effect } from "effect"
 * import { SessionStore } from "troupe"
 *
 * const firstTwoPages = Effect.gen(function* () {
 *   const first = yield* SessionStore.list({ limit: 50 })
 *   const second = yield* SessionStore.list({ limit: 50, after: first.at(-1)?.id })
 *   return [...first, ...second]
 * })
 */
export const list = (
  options: { readonly limit?: number | undefined; readonly after?: string | undefined } = {}
): Effect.Effect<ReadonlyArray<Info>, StoreError, SessionStore> => {
  assertOptions("SessionStore.list", options, knownOfList)
  const limit = Math.trunc(options.limit ?? 100)
  return Effect.flatMap(SessionStore, (store) => store.list(Math.min(Math.max(limit || 0, 0), maxLimit), options.after))
}

/**
 * Removes a session with all that it holds; there need not be one. A turn that is under way fails with `SessionConflict` when
 * it ends.
 */
export const remove = (id: string): Effect.Effect<void, StoreError, SessionStore> =>
  Effect.flatMap(SessionStore, (store) => store.remove(id))

/**
 * Removes the sessions that had no turn for `idle`, except those with a turn under way, and returns how many.
 *
 * @example
 * import { SessionStore } from "troupe"
 *
 * const removed = SessionStore.prune({ idle: "30 days" })
 */
export const prune = (options: { readonly idle: Duration.Input }): Effect.Effect<number, StoreError, SessionStore> => {
  assertOptions("SessionStore.prune", options, knownOfPrune)
  const idle = durationOf("SessionStore.prune", "idle", options.idle)
  return Effect.flatMap(SessionStore, (store) => store.prune(idle))
}
