/** A router of the server's own, where no program has one: which addresses it takes, and what it says to all others. */
import * as Effect from "effect/Effect"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { problem, type Problem } from "./problem.ts"
import { respond } from "./respond.ts"

/** The ids of sessions have up to 200 characters, each of which may be written as several. */
const config = HttpRouter.RouterConfig.of({ maxParamLength: 2000 })

/** The router. */
export const ownRouter: Layer.Layer<HttpRouter.HttpRouter> = Layer.provide(
  HttpRouter.layer,
  Layer.succeed(HttpRouter.RouterConfig, config)
)

/** A route, as far as it is known by. */
export interface Known {
  readonly method: string
  readonly path: string
}

/** The routes of routers. */
const known = new WeakMap<HttpRouter.HttpRouter, ReadonlyArray<Known>>()

/** Has a router know what it serves, to say it where a request does not fit. */
export const know = (router: HttpRouter.HttpRouter, routes: ReadonlyArray<Known>): void => {
  known.set(router, [...(known.get(router) ?? []), ...routes])
}

/** Answers requests by the routes of a router, and all others by what it serves. */
export const answered = (
  router: HttpRouter.HttpRouter
): Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  Effect.Services<ReturnType<HttpRouter.HttpRouter["asHttpEffect"]>>
> =>
  Effect.catch(router.asHttpEffect(), (error) =>
    isUnserved(error)
      ? Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
          respond(unserved(known.get(router) ?? [], request))
        )
      : Effect.as(Effect.logError("A request of AgentServer failed unexpectedly", error), respond(unexpected))
  )

const unexpected = problem(500, "Something went wrong. The server's log says why.")

const isUnserved = (error: unknown): boolean =>
  (error as HttpServerError.HttpServerError).reason?._tag === "RouteNotFound"

const unserved = (
  routes: ReadonlyArray<Known>,
  { method, originalUrl }: HttpServerRequest.HttpServerRequest
): Problem => {
  const segments = segmentsOf(originalUrl)
  const methods = new Set(routes.flatMap(({ method, path }) => (fits(path.split("/"), segments) ? [method] : [])))
  // The router itself did not take it: a part of it is too long, or does not stand for a text.
  if (methods.has(method)) return problem(400, "The address cannot be read.")
  if (methods.size > 0) {
    const allow = [...methods].join(", ")
    return problem(405, `This address takes ${allow}.`, {}, { allow })
  }
  const list = routes.find(({ method, path }) => method === "GET" && /\/(?:runners|traces)$/.test(path))
  return problem(404, `Nothing is served here.${list === undefined ? "" : ` GET ${list.path} lists what is.`}`)
}

const segmentsOf = (url: string): ReadonlyArray<string> =>
  (URL.canParse(url, "http://localhost") ? new URL(url, "http://localhost").pathname : url).split("/")

const fits = (pattern: ReadonlyArray<string>, segments: ReadonlyArray<string>): boolean =>
  pattern.length === segments.length &&
  pattern.every((part, index) => part === segments[index] || (part.startsWith(":") && segments[index] !== ""))
