/** A server as a function from a web `Request` to a web `Response`, and as routes of a router that a program has. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import { make } from "./edge.ts"
import { answered, know, ownRouter } from "./ownRouter.ts"
import { protocols } from "./protocols.ts"
import { routesOf } from "./routes.ts"
import type { ServedRunner } from "./served.ts"
import { pruneIdle } from "./sessions.ts"
import type { Settings } from "./settings.ts"

/** Adds the routes to a router. */
export const routes = (
  settings: Settings,
  runners: ReadonlyMap<string, ServedRunner>
): Layer.Layer<never, never, HttpRouter.HttpRouter> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const edge = yield* make(settings, runners)
      yield* pruneIdle(edge)
      const router = yield* HttpRouter.HttpRouter
      const all = routesOf(edge, protocols)
      yield* router.addAll(all)
      know(router, all)
    })
  )

/** The web handler of routes with all that they need. */
export const handler = <E>(app: Layer.Layer<never, E, HttpRouter.HttpRouter>) =>
  HttpEffect.toWebHandlerLayerWith(Layer.provideMerge(app, ownRouter), {
    toHandler: (context) => Effect.succeed(answered(Context.get(context, HttpRouter.HttpRouter)))
  })
