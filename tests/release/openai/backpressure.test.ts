/** Nothing piles up between a server and the reader of its stream. */
import { execFile } from "node:child_process"
import { once } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import * as OpenAi from "troupe/OpenAi"

const piece = "0123456789abcdef".repeat(4096)
const events = {
  chat: {
    delta: { id: "c", choices: [{ index: 0, delta: { content: piece }, finish_reason: null }] },
    end: { id: "c", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }
  },
  responses: {
    delta: { type: "response.output_text.delta", item_id: "m", output_index: 0, content_index: 0, delta: piece },
    end: { type: "response.completed", response: { id: "r", status: "completed", output: [] } }
  }
}
const sse = (event: unknown) => `data: ${JSON.stringify(event)}\n\n`

/** Streams so many pieces of 64 KiB, as fast as they are taken; counts those that it could get rid of. */
const source = (count: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly sent: () => number; readonly close: () => void }>((resume) => {
      let sent = 0
      const write = async (res: ServerResponse, api: "chat" | "responses") => {
        res.writeHead(200, { "content-type": "text/event-stream" })
        const event = sse(events[api].delta)
        for (let n = 0; n < count && !res.destroyed; n++) {
          sent++
          if (!res.write(event)) {
            const gone = new AbortController()
            const stop = () => gone.abort()
            res.once("close", stop)
            await once(res, "drain", { signal: gone.signal }).catch(() => undefined)
            res.off("close", stop)
          }
        }
        res.end(`${sse(events[api].end)}data: [DONE]\n\n`)
      }
      const server = createServer((req, res) => {
        req.resume()
        req.on("end", () => void write(res, req.url?.endsWith("/responses") === true ? "responses" : "chat"))
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as { readonly port: number }
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}/v1`, sent: () => sent, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const main = fileURLToPath(new URL("../../support/streamMain.ts", import.meta.url))
const node = promisify(execFile)

describe("OpenAi", () => {
  for (const [edge, api] of [
    ["async", "chat"],
    ["async", "responses"],
    ["sync", "chat"]
  ] as const) {
    it.live(
      `${edge} ${api}: reads 192 MiB with a heap of 128`,
      () =>
        Effect.gen(function* () {
          const { url } = yield* source(3072)
          const { stdout } = yield* Effect.promise(() =>
            node(process.execPath, ["--max-old-space-size=128", "--conditions=troupe-source", main, url, api, edge])
          )
          assert.strictEqual(stdout, String(192 * 1024 * 1024))
        }),
      60_000
    )
  }

  for (const api of ["chat", "responses"] as const) {
    it.live(`${api}: a slow reader slows the server down`, () =>
      Effect.gen(function* () {
        const { sent, url } = yield* source(1536)
        const model = OpenAi.layer({ model: "m", baseUrl: url, api, apiKey: Redacted.make("k"), retry: "none" })
        let read = 0
        yield* LanguageModel.streamText({ prompt: "go" }).pipe(
          Stream.filter((part) => part.type === "text-delta"),
          Stream.take(20),
          Stream.runForEach(() =>
            Effect.andThen(
              Effect.sync(() => read++),
              Effect.sleep("20 millis")
            )
          ),
          Effect.provide(model)
        )
        assert.strictEqual(read, 20)
        // What is on its way is in the buffers of two sockets; all of it would be 96 MiB.
        assert.isBelow(sent(), 500)
      })
    )
  }
})
