/** The servers that load.ts compares: `node loadServer.ts troupe|vercel|openai PORT_OF_THE_MODEL`, forked. */
import { existsSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Readable } from "node:stream"
import type { ReadableStream } from "node:stream/web"

// Of the build, as users have it; of the sources where there is no build.
const library = (existsSync("../dist/index.js") ? "../dist/index.js" : "../src/index.ts") as "../src/index.ts"

const [peer, model] = process.argv.slice(2)
const baseURL = `http://127.0.0.1:${model}/v1`

const inputOf = async (request: IncomingMessage): Promise<string> => {
  let text = ""
  for await (const piece of request) text += String(piece)
  return (JSON.parse(text) as { readonly input: string }).input
}

const sse = (response: ServerResponse) => response.writeHead(200, { "content-type": "text/event-stream" })

/** A handler of node:http for each. */
const handlers: Readonly<
  Record<string, () => Promise<(request: IncomingMessage, response: ServerResponse) => Promise<void>>>
> = {
  openai: async () => {
    const { default: OpenAI } = await import("openai")
    const client = new OpenAI({ apiKey: "none", baseURL, maxRetries: 0 })
    return async (request, response) => {
      const messages = [{ role: "user" as const, content: await inputOf(request) }]
      const stop = new AbortController()
      response.on("close", () => stop.abort())
      const stream = await client.chat.completions.create(
        { model: "m", messages, stream: true },
        { signal: stop.signal }
      )
      sse(response)
      for await (const part of stream) {
        const delta = part.choices[0]?.delta.content
        if (delta && !response.write(`data: ${JSON.stringify({ delta })}\n\n`)) {
          await new Promise((resolve) => response.once("drain", resolve))
        }
      }
      response.end()
    }
  },
  vercel: async () => {
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible")
    const { streamText } = await import("ai")
    const provider = createOpenAICompatible({ name: "model", baseURL })
    return async (request, response) => {
      const stop = new AbortController()
      response.on("close", () => stop.abort())
      const result = streamText({
        model: provider("m"),
        prompt: await inputOf(request),
        maxRetries: 0,
        abortSignal: stop.signal
      })
      sse(response)
      for await (const delta of result.textStream) {
        if (!response.write(`data: ${JSON.stringify({ delta })}\n\n`)) {
          await new Promise((resolve) => response.once("drain", resolve))
        }
      }
      response.end()
    }
  },
  "troupe-sse": async () => {
    const { ManagedRuntime, Redacted, Stream } = await import("effect")
    const { Agent, OpenAi, RunEvent, Serve } = await import(library)
    const desk = Agent.make("desk", {})
    const runtime = ManagedRuntime.make(OpenAi.layer({ model: "m", baseUrl: baseURL, apiKey: Redacted.make("none") }))
    return async (request, response) => {
      const stop = new AbortController()
      response.on("close", () => stop.abort())
      const events = RunEvent.text(desk.stream(await inputOf(request)))
      const answer = await runtime.runPromise(
        Serve.sse(
          Stream.map(events, (delta) => ({ delta })),
          { signal: stop.signal }
        )
      )
      sse(response)
      Readable.fromWeb(answer.body as ReadableStream).pipe(response)
    }
  }
}

/** `AgentServer.serve` itself, behind the path that the others have. */
const troupe = async (): Promise<number> => {
  const { Effect, Layer, Redacted, Context, Scope } = await import("effect")
  const { Agent, AgentServer, OpenAi } = await import(library)
  const desk = Agent.make("desk", {})
  const limits = { runs: 10_000, waiting: 10_000 } as const
  const live = OpenAi.layer({ model: "m", baseUrl: baseURL, apiKey: Redacted.make("none") })
  const server = Layer.provide(AgentServer.serve({ runners: { desk }, port: 0, limits }), live)
  const scope = await Effect.runPromise(Scope.make())
  const context = await Effect.runPromise(Scope.provide(Layer.build(server), scope))
  return Number(new URL(Context.get(context, AgentServer.Listening).url).port)
}

const listen = async (): Promise<number> => {
  if (peer === "troupe") return await troupe()
  const handle = await handlers[peer!]!()
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, resolve))
  return (server.address() as AddressInfo).port
}

const delay = monitorEventLoopDelay({ resolution: 5 })
let rss = 0
let cpu = process.cpuUsage()
process.on("message", (message) => {
  if (message === "begin") {
    cpu = process.cpuUsage()
    delay.enable()
    setInterval(() => {
      rss = Math.max(rss, process.memoryUsage.rss())
    }, 20).unref()
    return
  }
  const { system, user } = process.cpuUsage(cpu)
  process.send!({ rssMb: rss / 1e6, delayP99Ms: delay.percentile(99) / 1e6, cpuMs: (system + user) / 1000 })
})
process.send!(await listen())
