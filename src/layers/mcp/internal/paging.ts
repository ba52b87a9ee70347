/** Lists that servers give in pages, within limits on their sum. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Fields } from "./fields.ts"
import * as Limits from "./limits.ts"
import type { CallFailed, CallOptions } from "./pendingCalls.ts"
import type { Problem } from "./protocol.ts"
import type { Session } from "./session.ts"

/** How lists are asked for. */
export interface Paging {
  /** Of each page; `maxDuration` is for all of them too. */
  readonly times: Pick<CallOptions, "timeout" | "maxDuration">
  /** Logs what of an answer could not be used. */
  readonly warn: (problems: ReadonlyArray<string>) => Effect.Effect<void>
}

const fail = (message: string, kind: "invalid" | "other", timedOut = false) =>
  Effect.fail<CallFailed>({ problem: { message, code: undefined, kind, executed: "unknown" } as Problem, timedOut })

const isUnknownMethod = ({ problem }: CallFailed): boolean => problem.kind === "rejected" && problem.code === "-32601"

const pages = Effect.fnUntraced(function* (
  { times, warn }: Paging,
  session: Session,
  method: string,
  key: string
): Effect.fn.Return<ReadonlyArray<unknown>, CallFailed> {
  let found: ReadonlyArray<unknown> = []
  let chars = 0
  const seen = new Set<unknown>()
  const tooLong = (what: string) => fail(`its list has more than ${what}`, "invalid")
  let cursor: unknown
  do {
    seen.add(cursor)
    if (seen.size > Limits.maxPages) return yield* tooLong(`${Limits.maxPages} pages`)
    const page = (yield* session.request(method, cursor === undefined ? {} : { cursor }, times)) as Fields
    const entries = page[key]
    chars += JSON.stringify(page).length
    if (chars > Limits.maxListChars) return yield* tooLong(`${Limits.maxListChars} characters`)
    if (Array.isArray(entries)) {
      found = found.concat(entries)
      if (found.length > Limits.maxListEntries) return yield* tooLong(`${Limits.maxListEntries} entries`)
    } else if (entries !== undefined && entries !== null) yield* warn([`its answer to ${method} holds no list`])
    cursor = page["nextCursor"]
    // A server whose cursors repeat has sent the whole list.
  } while (cursor !== undefined && cursor !== null && cursor !== "" && !seen.has(cursor))
  return found
})

/** All pages of a list, its entries not read yet. A method that the server does not have gives an empty list. */
export const listAll = (paging: Paging, session: Session, method: string, key: string) =>
  pages(paging, session, method, key).pipe(
    Effect.timeoutOrElse({
      duration: paging.times.maxDuration,
      orElse: () => fail(`its list was not complete within ${Duration.format(paging.times.maxDuration)}`, "other", true)
    }),
    Effect.catchIf(isUnknownMethod, () => Effect.succeed<ReadonlyArray<unknown>>([]))
  )
