/** The tools of one server, kept up to date: asked for again once the server says that they have changed. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { readTools, type ToolInfo } from "./lists.ts"
import { listAll, type Paging } from "./paging.ts"
import type { CallFailed } from "./pendingCalls.ts"
import type { Down, Session } from "./session.ts"

/** The tools of one server. */
export interface ToolList {
  /** Asks for the first list of a connection. A server that refuses to give it is asked again before the next step. */
  readonly first: (session: Session) => Effect.Effect<void, Down>
  /** The list has changed. */
  readonly changed: () => void
  /** The tools of now; the last known ones while they cannot be asked for. */
  readonly now: (session: () => Session | undefined) => Effect.Effect<ReadonlyArray<ToolInfo>>
}

/** How long a list of tools that failed is not asked for again. Milliseconds. */
const refreshPause = 30_000

export const make = (paging: Paging): ToolList => {
  const { warn } = paging
  const one = Semaphore.makeUnsafe(1)
  let tools: ReadonlyArray<ToolInfo> = []
  let isStale = false
  let refreshAgainAt = 0
  const list = (session: Session): Effect.Effect<ReadonlyArray<ToolInfo>, CallFailed> =>
    session.info.capabilities["tools"] === undefined
      ? Effect.succeed([])
      : Effect.flatMap(listAll(paging, session, "tools/list", "tools"), (entries) => {
          const { found, problems } = readTools(entries)
          return Effect.as(warn(problems), found)
        })
  const refused = ({ problem, timedOut }: CallFailed): Effect.Effect<ReadonlyArray<ToolInfo>, Down> => {
    const message = `tools/list: ${problem.message}`
    if (timedOut || problem.kind !== "rejected") {
      return Effect.fail({ problem: { ...problem, message }, end: undefined })
    }
    isStale = true
    return Effect.as(warn([`it has no tools for now: ${message}`]), [])
  }
  const refresh = Effect.fnUntraced(function* (session: Session) {
    const now = yield* Clock.currentTimeMillis
    if (now < refreshAgainAt) return tools
    isStale = false
    return yield* Effect.matchEffect(list(session), {
      onSuccess: (found) => Effect.sync(() => (tools = found)),
      onFailure: ({ problem, timedOut }) => {
        isStale = true
        // A list that is refused, or that takes long, must not be fetched again at each step.
        if (timedOut || problem.kind === "invalid") refreshAgainAt = now + refreshPause
        return Effect.as(warn([`its tools stay as they were: tools/list: ${problem.message}`]), tools)
      }
    })
  })
  return {
    first: (session) =>
      Effect.suspend(() => {
        isStale = false
        return Effect.map(Effect.catch(list(session), refused), (found) => {
          tools = found
        })
      }),
    changed: () => {
      isStale = true
    },
    now: (session) =>
      one.withPermits(1)(
        Effect.suspend(() => {
          const current = session()
          return !isStale || current === undefined ? Effect.succeed(tools) : refresh(current)
        })
      )
  }
}
