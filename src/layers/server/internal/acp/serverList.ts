/** The sessions of editors that the store keeps, a page at a time. */
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import { cut } from "../../../../internal/text.ts"
import * as Store from "../../../../services/SessionStore.ts"
import { codes, refuse, type RpcFailure } from "./rpc.ts"
import type { ListSessions } from "./schema.ts"
import { folderOf, idPrefix, withStore } from "./serverSessions.ts"

/** How many sessions a page has, and how many are looked through for one. */
const pageSize = 50
const mostSeen = 1000

const maxTitle = 80

interface Found {
  readonly info: Store.Info
  readonly cwd: string
}

/** Lists sessions with their folders and titles. The cursor is the id of the last one that was looked at. */
export const listed = (given: typeof ListSessions.Type): Effect.Effect<object, RpcFailure> =>
  Effect.gen(function* () {
    const cursor = given.cursor ?? idPrefix
    if (!cursor.startsWith(idPrefix)) return yield* refuse(codes.invalidParams, "The cursor is not one of this list.")
    const { found, next } = yield* page(given.cwd ?? undefined, cursor)
    const sessions = yield* Effect.forEach(found, shown, { concurrency: 4 })
    return { sessions, ...(next === undefined ? {} : { nextCursor: next }) }
  }).pipe(Effect.catchTag("StoreError", () => refuse(codes.internal, "The sessions cannot be read now.")))

const page = (cwd: string | undefined, cursor: string) =>
  Effect.gen(function* () {
    const found: Array<Found> = []
    let after = cursor
    for (let seen = 0; seen < mostSeen; seen += pageSize) {
      const infos = yield* withStore(Store.list({ limit: pageSize, after }))
      for (const info of infos) {
        // Ids are in order: what does not begin so is not followed by one that does.
        if (!info.id.startsWith(idPrefix)) return { found, next: undefined }
        after = info.id
        const folder = folderOf(info.id)
        if (folder === undefined || (cwd !== undefined && folder !== cwd)) continue
        found.push({ info, cwd: folder })
        if (found.length === pageSize) return { found, next: after }
      }
      if (infos.length < pageSize) return { found, next: undefined }
    }
    return { found, next: after }
  })

const shown = ({ cwd, info }: Found) =>
  Effect.map(withStore(Store.history(info.id)), (history) => {
    const title = titleOf(history)
    return {
      sessionId: info.id,
      cwd,
      updatedAt: new Date(info.updatedAt).toISOString(),
      ...(title === "" ? {} : { title })
    }
  })

/** The beginning of what the user said first. */
const titleOf = ({ content }: Prompt.Prompt): string => {
  const first = content.find(({ role }) => role === "user")
  const parts: ReadonlyArray<Prompt.Part> = first === undefined || first.role === "system" ? [] : first.content
  const text = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join(" ")
  return cut(text.replaceAll(/\s+/g, " ").trim(), maxTitle)
}
