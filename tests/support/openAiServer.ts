/**
 * A local server that speaks Chat Completions and Responses, scripted by data or by a function of the request, strict
 * about what it is sent. It also runs in a process of its own (see `childServer.ts`), because `Effect.runSync` blocks
 * the test's.
 */
import { EventEmitter } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { gzipSync } from "node:zlib"
import { Effect, type Scope } from "effect"
import { chatAnswer, chatEvents, type Reply, response, responseEvents } from "./openAiAnswers.ts"
import { problemWith } from "./openAiRules.ts"

export * from "./openAiAnswers.ts"
export { problemWith } from "./openAiRules.ts"

/** What the server has seen. */
export interface Seen {
  readonly path: string
  readonly headers: Record<string, string | undefined>
  readonly body: Record<string, any>
  /** True when the connection was closed before the answer was. */
  aborted: boolean
  /** When the answer was written whole, or the connection closed before; milliseconds since the epoch. */
  endedAt: number | undefined
}

/** Replies in order, of which the last is repeated, or a function of the request. */
export type Script = ReadonlyArray<Reply> | ((request: Seen, index: number) => Reply | Promise<Reply>)

const send = async (res: ServerResponse, text: string, reply: Reply): Promise<void> => {
  const bytes = reply.gzip === true ? gzipSync(text) : Buffer.from(text)
  const size = reply.split ?? bytes.length
  let sent = 0
  for (let at = 0; at < bytes.length; at += Math.max(1, size)) {
    const piece = bytes.subarray(at, at + Math.max(1, size))
    if (reply.resetAfter !== undefined && sent + piece.length > reply.resetAfter) {
      res.write(piece.subarray(0, reply.resetAfter - sent))
      await new Promise((resolve) => setTimeout(resolve, 10))
      res.destroy()
      return
    }
    res.write(piece)
    sent += piece.length
    if (reply.split !== undefined) await new Promise((resolve) => setImmediate(resolve))
  }
}

/** An event as OpenAI writes it: those of Responses are named. */
const sse = (event: unknown): string => {
  const type = (event as { readonly type?: unknown } | null)?.type
  const name = typeof type === "string" && type.startsWith("response.") ? `event: ${type}\n` : ""
  return `${name}data: ${JSON.stringify(event)}\n\n`
}

const done = "data: [DONE]\n\n"

const stream = async (res: ServerResponse, events: ReadonlyArray<unknown>, isChat: boolean, reply: Reply) => {
  const { paceMs, hangAfter } = reply
  // Only Chat Completions ends its streams so.
  const last = isChat ? done : ""
  if (paceMs === undefined && hangAfter === undefined) return send(res, `${events.map(sse).join("")}${last}`, reply)
  for (const [index, event] of events.entries()) {
    if (index === events.length - 1) await reply.beforeLast?.()
    if (res.destroyed || index === hangAfter) return undefined
    res.write(sse(event))
    if (paceMs !== undefined) await new Promise((resolve) => setTimeout(resolve, paceMs))
  }
  res.write(last)
  return undefined
}

const respond = async (seen: Seen, reply: Reply, res: ServerResponse): Promise<void> => {
  if (reply.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, reply.delayMs))
  if (reply.hang === true) return
  if (reply.resetAfter === 0) {
    res.destroy()
    return
  }
  const streams = seen.body["stream"] === true
  const isChat = !/\/responses(\?|$)/.test(seen.path)
  if (reply.status !== undefined) {
    res.writeHead(reply.status, { "content-type": "application/json", ...reply.headers })
    res.end(
      typeof reply.body === "string"
        ? reply.body
        : JSON.stringify(reply.body ?? { error: { message: `status ${reply.status}` } })
    )
    return
  }
  const type = streams ? "text/event-stream" : "application/json"
  const encoding = reply.gzip === true ? { "content-encoding": "gzip" } : {}
  res.writeHead(200, { "content-type": type, ...encoding, ...reply.headers })
  if (reply.raw !== undefined) await send(res, reply.raw, reply)
  else if (reply.body !== undefined) await send(res, JSON.stringify(reply.body), reply)
  else if (streams) {
    await stream(res, reply.events ?? (isChat ? chatEvents(reply) : responseEvents(reply)), isChat, reply)
    if (reply.hangAfter !== undefined) return
  } else await send(res, JSON.stringify(isChat ? chatAnswer(reply) : response(reply)), reply)
  if (!res.destroyed && reply.keepOpen !== true) res.end()
}

interface Served {
  readonly url: string
  readonly seen: Array<Seen>
  /** Tells of each request, and of each that has ended. */
  readonly changes: EventEmitter
  /** How many sockets are open that a request has come on. */
  readonly connections: () => number
  readonly close: () => void
}

/** Starts the server. `script` answers requests in order; the last reply is repeated. */
export const serve = (script: Script) =>
  new Promise<Served>((resolve) => {
    const seen: Array<Seen> = []
    const changes = new EventEmitter()
    const sockets = new Set<Socket>()
    const server = createServer((req: IncomingMessage, res) => {
      if (!sockets.has(req.socket)) req.socket.once("close", () => sockets.delete(req.socket))
      sockets.add(req.socket)
      const chunks: Array<Buffer> = []
      req.on("data", (chunk: Buffer) => chunks.push(chunk))
      req.on("end", async () => {
        const one: Seen = {
          path: req.url ?? "",
          headers: req.headers as Seen["headers"],
          body: JSON.parse(Buffer.concat(chunks).toString("utf8") || "{}") as Record<string, any>,
          aborted: false,
          endedAt: undefined
        }
        const index = seen.push(one) - 1
        res.on("close", () => {
          one.endedAt = Date.now()
          one.aborted = !res.writableEnded
          changes.emit("change")
        })
        changes.emit("change")
        const problem = problemWith(one.path, one.body)
        if (problem !== undefined) {
          const body = { error: { message: `STRICT: ${problem}`, type: "invalid_request_error", code: null } }
          await respond(one, { status: 400, body }, res)
        } else {
          const reply = typeof script === "function" ? script(one, index) : script[Math.min(index, script.length - 1)]!
          const { barrier = 0, ...answer } = await reply
          while (seen.length < barrier && one.endedAt === undefined) await new Promise((go) => setTimeout(go, 5))
          await respond(one, answer, res)
        }
      })
    })
    // No client gets a connection that is being closed, and a client that would wait for its end would wait for long.
    server.keepAliveTimeout = 65_000
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      resolve({
        url: `http://127.0.0.1:${port}/v1`,
        seen,
        changes,
        connections: () => sockets.size,
        close: () => {
          server.closeAllConnections()
          server.close()
        }
      })
    })
  })

/** The server, for as long as its scope. */
export interface OpenAiServer {
  /** Its address, `/v1` included. */
  readonly url: string
  /** The requests so far. */
  readonly requests: ReadonlyArray<Seen>
  /** How many connections were closed by the other side before their answer was complete. */
  readonly aborted: () => number
  /** Waits until that many requests have come. */
  readonly untilSeen: (count: number) => Effect.Effect<void>
  /** Waits until that many connections have been aborted. */
  readonly untilAborted: (count: number) => Effect.Effect<void>
}

/** Starts the server in this process; it ends with the scope. */
export const make = (script: Script): Effect.Effect<OpenAiServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => serve(script)),
    (server) => Effect.sync(server.close)
  ).pipe(
    Effect.map(({ url, seen, changes }): OpenAiServer => {
      const aborted = () => seen.filter((one) => one.aborted).length
      const until = (isSo: () => boolean) =>
        Effect.callback<void>((resume) => {
          const look = () => {
            if (!isSo()) return
            changes.off("change", look)
            resume(Effect.void)
          }
          changes.on("change", look)
          look()
          return Effect.sync(() => changes.off("change", look))
        })
      return {
        url,
        requests: seen,
        aborted,
        untilSeen: (count) => until(() => seen.length >= count),
        untilAborted: (count) => until(() => aborted() >= count)
      }
    })
  )

// In a process of its own: the script comes as a message, and what was seen is sent on request.
if (process.send !== undefined && process.argv[1]?.endsWith("openAiServer.ts") === true) {
  let server: Served | undefined
  process.on("message", async (message: { readonly script?: ReadonlyArray<Reply>; readonly ask?: true }) => {
    if (message.script === undefined) {
      process.send!({ seen: server?.seen ?? [] })
      return
    }
    server?.close()
    server = await serve(message.script)
    process.send!({ url: server.url })
  })
}
