/** A server on Node: it listens, and ends without an answer that is half written. */
import { createServer, type Server } from "node:http"
import type { Duplex } from "node:stream"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { errorCodeOf } from "../../internal/http/errorCode.ts"
import { type Edge, make } from "./edge.ts"
import { answered, know, ownRouter } from "./ownRouter.ts"
import { protocols } from "./protocols.ts"
import { routesOf, traceRoutesOf } from "./routes.ts"
import type { ServedRunner } from "./served.ts"
import { pruneIdle } from "./sessions.ts"
import type { Settings } from "./settings.ts"

/** Where it cannot listen. */
export interface ListenFailure {
  readonly code: string
}

/** Listens until the scope closes. Returns the address. Without runners it serves traces. */
export const serve = (
  settings: Settings,
  runners: ReadonlyMap<string, ServedRunner>,
  { host, port }: { readonly host: string; readonly port: number }
): Effect.Effect<string, ListenFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const edge = yield* make(settings, runners)
    yield* pruneIdle(edge)
    // Clients that offer another protocol, such as those of Java do HTTP/2, are answered as all others. Node knows the option from 24.9 on.
    const node = createServer({
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === "websocket"
    })
    const upgraded = new Set<Duplex>()
    node.on("upgrade", (_, socket: Duplex) => {
      upgraded.add(socket)
      socket.once("close", () => upgraded.delete(socket))
    })
    // A scope of its own: with the first WebSocket the server adds that it waits for all of them, which must not come before our end.
    const scope = yield* Effect.flatMap(Effect.scope, Scope.fork)
    const server = yield* NodeHttpServer.make(() => node, {
      host,
      port,
      gracefulShutdownTimeout: settings.drainMs + 3000,
      // A longer message is refused before it is held in memory. One character may take some bytes.
      websocket: { maxPayload: 4 * settings.body }
    }).pipe(
      Scope.provide(scope),
      Effect.mapError(({ cause }) => ({ code: errorCodeOf(cause) }))
    )
    const router = Context.get(yield* Layer.build(ownRouter), HttpRouter.HttpRouter)
    const routes = runners.size === 0 ? traceRoutesOf(edge) : routesOf(edge, protocols)
    yield* router.addAll(routes)
    know(router, routes)
    yield* Scope.provide(server.serve(answered(router)), scope)
    // Registered last, so it runs first: what is under way is answered before the sockets close.
    yield* Effect.addFinalizer(() => end(edge, node, upgraded))
    return addressOf(node, host, port)
  })

const end = (edge: Edge, node: Server, upgraded: ReadonlySet<Duplex>): Effect.Effect<void> =>
  Effect.andThen(
    Effect.sync(() => {
      node.close()
      node.closeIdleConnections()
    }),
    Effect.andThen(
      edge.end,
      Effect.sync(() => {
        node.closeAllConnections()
        // The server does not count a WebSocket among its connections, and the client may never close it.
        for (const socket of upgraded) socket.destroy()
      })
    )
  )

const addressOf = (node: Server, host: string, port: number): string => {
  const address = node.address()
  const bound = typeof address === "object" && address !== null ? address.port : port
  const name = host === "0.0.0.0" || host === "::" ? "localhost" : host
  return `http://${name.includes(":") ? `[${name}]` : name}:${bound}`
}
