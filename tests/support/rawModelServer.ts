/**
 * A model server that answers as real ones do, odd or not: cases of `modelCases.ts`, served in a process of its own, so
 * that both edges can ask it. Unlike `openAiServer.ts` it has no opinion on what it is asked.
 */
import { fork } from "node:child_process"
import { createServer, type IncomingHttpHeaders } from "node:http"
import { fileURLToPath } from "node:url"
import { Context, Effect, Layer } from "effect"
import { type Answer, type CaseName, cases } from "./modelCases.ts"

/** A request as it came. */
export interface Asked {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Record<string, any>
}

interface Played {
  readonly url: string
  readonly requests: ReadonlyArray<Asked>
  readonly close: () => void
}

/** A text with a line end is sent as it is; any other event gets the form of one. */
const eventText = (event: unknown): string =>
  typeof event === "string" && event.includes("\n")
    ? event
    : `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`

/** The n-th request gets the n-th answer, and the last one from then on. */
const serve = (answers: ReadonlyArray<Answer>) =>
  new Promise<Played>((resolve) => {
    const requests: Array<Asked> = []
    const server = createServer((req, res) => {
      const chunks: Array<Buffer> = []
      req.on("data", (chunk: Buffer) => chunks.push(chunk))
      req.on("end", () => {
        const body = JSON.parse(Buffer.concat(chunks).toString() || "{}") as Record<string, any>
        const index = requests.push({ path: req.url ?? "", headers: req.headers, body }) - 1
        const next = answers[Math.min(index, answers.length - 1)]!
        const reply = typeof next === "function" ? next(body) : next
        const { events, headers, status = 200, ending = "end", whole } = reply
        const streams = events !== undefined && (body["stream"] === true || whole === undefined)
        res.writeHead(status, { "content-type": streams ? "text/event-stream" : "application/json", ...headers })
        res.write(
          streams ? events.map(eventText).join("") : typeof whole === "string" ? whole : JSON.stringify(whole ?? null)
        )
        if (ending === "end") res.end()
        if (ending === "reset") setTimeout(() => res.destroy(), 20)
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      const close = () => {
        server.closeAllConnections()
        server.close()
      }
      resolve({ url: `http://127.0.0.1:${port}/v1`, requests, close })
    })
  })

/** Plays a case and gives its address; `requests` are those that have come since. */
export class RawModelServer extends Context.Service<
  RawModelServer,
  {
    readonly play: (name: CaseName) => Effect.Effect<string>
    readonly requests: Effect.Effect<ReadonlyArray<Asked>>
  }
>()("test/RawModelServer") {}

const start = Effect.acquireRelease(
  Effect.sync(() =>
    fork(fileURLToPath(import.meta.url), { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] })
  ),
  (child) =>
    Effect.sync(() => {
      child.kill("SIGKILL")
    })
).pipe(
  Effect.map((child) => {
    const ask = <A>(message: object) =>
      Effect.callback<A>((resume) => {
        const hear = (answer: unknown) => resume(Effect.succeed(answer as A))
        child.once("message", hear)
        child.send(message)
        return Effect.sync(() => child.off("message", hear))
      })
    return RawModelServer.of({
      play: (play) => Effect.map(ask<{ readonly url: string }>({ play }), ({ url }) => url),
      requests: Effect.map(ask<{ readonly requests: ReadonlyArray<Asked> }>({}), ({ requests }) => requests)
    })
  })
)

export const layer = Layer.effect(RawModelServer, start)

if (process.send !== undefined && process.argv[1]?.endsWith("rawModelServer.ts") === true) {
  let played: Played | undefined
  process.on("message", async (message: { readonly play?: CaseName }) => {
    if (message.play === undefined) {
      process.send!({ requests: played?.requests ?? [] })
      return
    }
    played?.close()
    const answers: ReadonlyArray<Answer> = cases[message.play]
    played = await serve(answers)
    process.send!({ url: played.url })
  })
}
