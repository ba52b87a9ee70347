/** The sessions of an editor: conversations, of which each has one turn at a time. */
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Prompt from "effect/ai/Prompt"
import * as Result from "effect/Result"
import { SessionStore } from "../../../../services/SessionStore.ts"
import { codes, refuse, type RpcFailure } from "./rpc.ts"

/** A session. */
export interface Session {
  readonly id: string
  readonly cwd: string
  /** The conversation so far, where no store keeps it. */
  history: Prompt.Prompt
  /** The turn under way. */
  turn: Fiber.Fiber<unknown, unknown> | undefined
  /** Tools that are allowed from now on, without asking. */
  readonly allowed: Set<string>
}

/** Asks the store of sessions. Fails in a server without one. */
export const withStore = <A, E>(effect: Effect.Effect<A, E, SessionStore>) =>
  Effect.flatMap(Effect.serviceOption(SessionStore), (store): Effect.Effect<A, E | RpcFailure> =>
    Option.isNone(store)
      ? refuse(codes.unknownMethod, "No store keeps sessions here.")
      : Effect.provideService(effect, SessionStore, store.value)
  )

/** Sessions by their ids. */
export interface Sessions {
  /** Makes one, or one with the id of a conversation that is kept. */
  readonly open: (cwd: string, id?: string) => Effect.Effect<Session, RpcFailure>
  readonly get: (id: string) => Effect.Effect<Session, RpcFailure>
  readonly close: (id: string) => Session | undefined
  readonly all: () => ReadonlyArray<Session>
}

/** What the ids of sessions of editors begin with in a store, which holds other ones too. */
export const idPrefix = "acp-"

/** After the part that is unique comes the folder of the editor, by which it finds its sessions again. */
const idPattern = /^acp-[0-9a-f-]{36}(?:\.([A-Za-z0-9_-]{1,400}))?$/

/** Whether a session of an editor can have this id. */
export const isSessionId = (id: string): boolean => idPattern.test(id)

export const unknownSession = refuse(codes.notFound, "The session does not exist.")

/** The id of a new session. One in a folder with a very long name is not found again by it. */
const newId = (cwd: string): string => {
  const folder = Base64Url.encode(cwd)
  return `${idPrefix}${globalThis.crypto.randomUUID()}${folder !== "" && folder.length <= 400 ? `.${folder}` : ""}`
}

/** The folder of a session; `undefined` where its id does not have it. */
export const folderOf = (id: string): string | undefined => {
  const folder = idPattern.exec(id)?.[1]
  return folder === undefined ? undefined : Result.getOrUndefined(Base64Url.decodeString(folder))
}

/** Keeps at most so many sessions; the one that was used the longest time ago makes room, unless it has a turn. */
export const make = (most: number): Sessions => {
  const known = new Map<string, Session>()
  const makeRoom = (): boolean => {
    if (known.size < most) return true
    const idle = [...known.values()].find(({ turn }) => turn === undefined)
    return idle !== undefined && known.delete(idle.id)
  }
  return {
    open: (cwd, id = newId(cwd)) =>
      Effect.suspend(() => {
        const before = known.get(id)
        if (before === undefined && !makeRoom()) {
          return refuse(codes.internal, `There are ${most} sessions at work. End one of them.`)
        }
        const session: Session = before ?? { id, cwd, history: Prompt.empty, turn: undefined, allowed: new Set() }
        known.delete(id)
        known.set(id, session)
        return Effect.succeed(session)
      }),
    get: (id) =>
      Effect.suspend(() => {
        const session = known.get(id)
        if (session === undefined) return unknownSession
        // The order is that of use.
        known.delete(id)
        known.set(id, session)
        return Effect.succeed(session)
      }),
    close: (id) => {
      const session = known.get(id)
      known.delete(id)
      return session
    },
    all: () => [...known.values()]
  }
}
