/** The playground: a page for people, which asks the other routes as any client does. The page itself holds no data. */
import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Edge } from "../edge.ts"
import { json } from "../respond.ts"
import type { Add } from "../routes.ts"
import { hasStore } from "../sessions.ts"
import { storeIn } from "../traceRecording.ts"

/** What the page has to know of its server. */
export interface PlaygroundInfo {
  /** Whether there are runners to run; otherwise the server shows traces only. */
  readonly runners: boolean
  /** Whether conversations are kept. */
  readonly sessions: boolean
  /** Whether runs are kept. */
  readonly traces: boolean
  /** What clients see beyond what is meant for them. */
  readonly expose: ReadonlyArray<string>
}

/** The routes of the playground. */
export const playground = (edge: Edge, route: Add): void => {
  route("GET", "/", (request) => (isBelow(request) ? page : Effect.succeed(moved(edge))), { isOpen: true })
  route("GET", "/playground.json", () => Effect.sync(() => json(infoOf(edge))))
}

const infoOf = (edge: Edge): PlaygroundInfo => ({
  runners: edge.runners.size > 0,
  sessions: hasStore(edge),
  traces: storeIn(edge) !== undefined,
  expose: edge.settings.expose
})

/** The page asks for what is in its folder, so its address ends with a slash. */
const isBelow = ({ originalUrl }: HttpServerRequest.HttpServerRequest): boolean =>
  /^[^#?]*\/(?:[#?]|$)/.test(originalUrl)

const moved = ({ settings }: Edge) =>
  HttpServerResponse.empty({ status: 308, headers: { location: `${settings.prefix}/` } })

/** The page. Its only script and style are known by their hashes, so nothing else runs. */
const page = Effect.map(
  Effect.promise(() => import("./page.generated.ts")),
  ({ page, policy }) =>
    HttpServerResponse.text(page, {
      contentType: "text/html; charset=utf-8",
      headers: {
        "cache-control": "no-cache",
        "content-security-policy": policy,
        "cross-origin-opener-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff"
      }
    })
)
