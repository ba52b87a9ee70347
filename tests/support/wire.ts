/** A server on loopback that answers as a test says, and remembers what it was asked. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, type Scope } from "effect"

export interface Wire {
  readonly url: string
  /** The bodies that were sent. */
  readonly bodies: Array<any>
  readonly headers: Array<IncomingMessage["headers"]>
  /** How many requests were given up before they were answered. */
  readonly aborted: () => number
}

export type Answer = (response: ServerResponse, body: any, count: number, request: IncomingMessage) => void

/** Answers with JSON. */
export const json =
  (body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Answer =>
  (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers })
    response.end(typeof body === "string" ? body : JSON.stringify(body))
  }

/** Answers with server-sent events, and then ends, resets the connection, or says nothing more. */
export const sse =
  (events: ReadonlyArray<object | string>, ending: "end" | "reset" | "silence" = "end"): Answer =>
  (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" })
    const text = events
      .map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`)
      .join("")
    response.write(text, () => {
      if (ending === "reset") response.socket?.resetAndDestroy()
    })
    if (ending === "end") response.end()
  }

/** Each request is answered by the next of `answers`; further ones by the last. */
export const serve = (...answers: ReadonlyArray<Answer>): Effect.Effect<Wire, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const bodies: Array<any> = []
        const headers: Array<IncomingMessage["headers"]> = []
        let aborted = 0
        const server = createServer((request, response) => {
          let text = ""
          request.on("data", (chunk) => (text += chunk))
          request.on("end", () => {
            const body = text === "" ? undefined : JSON.parse(text)
            bodies.push(body)
            headers.push(request.headers)
            response.on("close", () => {
              if (!response.writableFinished) aborted++
            })
            const count = bodies.length
            answers[Math.min(count, answers.length) - 1]?.(response, body, count, request)
          })
        })
        await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
        const { port } = server.address() as AddressInfo
        return { server, wire: { url: `http://127.0.0.1:${port}`, bodies, headers, aborted: () => aborted } }
      }),
      ({ server }) =>
        Effect.promise(() => {
          server.closeAllConnections()
          return new Promise<void>((done) => server.close(() => done()))
        })
    ),
    ({ wire }) => wire
  )
