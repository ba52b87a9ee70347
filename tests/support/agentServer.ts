/** Servers for tests: one on a port of this machine, one as a function, and clients of them. */
import { request, type RequestOptions } from "node:http"
import { Context, Effect, Layer, type Scope } from "effect"
import { AgentServer } from "troupe"

/** Listens on a free port of this machine until the scope closes. */
export const listen = <const Rs extends AgentServer.Runners, E>(
  options: AgentServer.Options<Rs> & { readonly host?: string },
  live: Layer.Layer<NoInfer<AgentServer.Needs<Rs>>, E>
): Effect.Effect<URL, E | AgentServer.ServeError, Scope.Scope> =>
  Effect.map(
    // A Layer that covers what a server needs leaves nothing to provide.
    Layer.build(
      Layer.provide(AgentServer.serve({ ...options, port: 0 }), live) as Layer.Layer<
        AgentServer.Listening,
        E | AgentServer.ServeError
      >
    ),
    (context) => new URL(Context.get(context, AgentServer.Listening).url)
  )

/** A server as a function, until the scope closes. */
export const handling = <const Rs extends AgentServer.Runners, E>(
  options: AgentServer.Options<Rs>,
  live: Layer.Layer<NoInfer<AgentServer.Needs<Rs>>, E>
): Effect.Effect<(request: Request) => Promise<Response>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => AgentServer.toWebHandler(options, live)),
      ({ dispose }) => Effect.promise(dispose)
    ),
    ({ handler }) => handler
  )

/** A request with a body of JSON. */
export const post = (
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
  init: RequestInit = {}
): Request =>
  new Request(`http://localhost${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init
  })

/** A request without a body. */
export const get = (path: string, headers: Record<string, string> = {}, method = "GET"): Request =>
  new Request(`http://localhost${path}`, { method, headers })

/** An answer, read. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into it
  readonly body: any
}

const read = async (response: Response): Promise<Answer> => {
  const text = await response.text()
  const isJson = /[/+]json$/.test(response.headers.get("content-type") ?? "")
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined }
}

/** Asks a function, and reads the answer. */
export const ask = (handler: (request: Request) => Promise<Response>, request: Request): Effect.Effect<Answer> =>
  Effect.promise(() => handler(request).then(read))

/** One server-sent event. */
export interface Sent {
  readonly id: string | undefined
  readonly event: string | undefined
  readonly data: string
}

/** The events of a whole SSE body. */
export const sentIn = (text: string): ReadonlyArray<Sent> =>
  text
    .split("\n\n")
    .filter((block) => /^(data|event|id):/m.test(block))
    .map((block) => {
      const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, "m").exec(block)?.[1]
      return { id: field("id"), event: field("event"), data: field("data") ?? "" }
    })

/** A request over a socket of its own, as far as it has come. */
export interface Raw {
  readonly status: () => number | undefined
  readonly headers: () => Readonly<Record<string, unknown>>
  readonly text: () => string
  readonly isEnded: () => boolean
  /** True where the connection broke in the middle of an answer. */
  readonly isBroken: () => boolean
  readonly hangUp: () => void
  /** Stops and goes on with reading. */
  readonly pause: () => void
  readonly resume: () => void
}

/** Sends a request whose answer is looked at while it comes. */
export const raw = (url: URL, path: string, body: unknown, options: RequestOptions = {}): Raw => {
  let text = ""
  let ended = false
  let broken = false
  let paused = false
  let incoming: import("node:http").IncomingMessage | undefined
  const headers = { "content-type": "application/json", ...options.headers }
  const outgoing = request(new URL(path, url), { method: "POST", agent: false, ...options, headers }, (message) => {
    incoming = message
    message.setEncoding("utf8")
    message.on("data", (chunk: string) => {
      text += chunk
    })
    message.on("end", () => {
      ended = true
    })
    message.on("error", () => {
      broken = true
    })
    if (paused) message.pause()
  })
  outgoing.on("error", () => {
    broken = true
  })
  outgoing.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body))
  return {
    status: () => incoming?.statusCode,
    headers: () => incoming?.headers ?? {},
    text: () => text,
    isEnded: () => ended,
    isBroken: () => broken,
    hangUp: () => outgoing.destroy(),
    pause: () => {
      paused = true
      incoming?.pause()
    },
    resume: () => {
      paused = false
      incoming?.resume()
    }
  }
}

/** Waits until something holds, for ten seconds at most unless more is given. */
export const until = (holds: () => boolean, what = "it", ms = 10_000): Effect.Effect<void> =>
  Effect.promise(async () => {
    const deadline = Date.now() + ms
    while (!holds()) {
      if (Date.now() > deadline) throw new Error(`${what} did not happen`)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  })
