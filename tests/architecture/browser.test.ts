/** A program on `OpenAi.layer` can be bundled for browsers, and asks by `fetch` where there is nothing of Node. */
import * as path from "node:path"
import * as vm from "node:vm"
import { build } from "esbuild"
import { expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")

const program = `
  import * as Effect from "effect/Effect"
  import * as Redacted from "effect/Redacted"
  import * as Stream from "effect/Stream"
  import * as Agent from "troupe/Agent"
  import * as OpenAi from "troupe/OpenAi"
  const model = OpenAi.layer({ model: "m", api: "chat", baseUrl: "https://models.example/v1", apiKey: Redacted.make("k") })
  const agent = Agent.make("agent", {})
  const events = Stream.runCollect(agent.stream("Hi"))
  globalThis.outcome = Effect.runPromise(Effect.all([agent.run("Hi"), events]).pipe(Effect.provide(model)))
`

it("bundles for browsers, without a module of Node or the SDK, and runs without a process", async () => {
  const { metafile, outputFiles } = await build({
    stdin: { contents: program, resolveDir: root, loader: "ts" },
    bundle: true,
    platform: "browser",
    format: "iife",
    conditions: ["troupe-source"],
    metafile: true,
    write: false,
    logLevel: "silent"
  })
  const inputs = Object.keys(metafile.inputs)
  expect(inputs).toContain("src/layers/openai/OpenAi.ts")
  expect(inputs.filter((file) => /node_modules\/(openai|undici)\//.test(file))).toEqual([])

  const asked: Array<unknown> = []
  const fetch = async (url: string, init: { readonly body: string }) => {
    asked.push(url)
    const choice = { index: 0, finish_reason: "stop" }
    const isStreamed = (JSON.parse(init.body) as { readonly stream?: boolean }).stream === true
    return isStreamed
      ? new Response(`data: ${JSON.stringify({ choices: [{ ...choice, delta: { content: "streamed" } }] })}\n\n`)
      : new Response(JSON.stringify({ choices: [{ ...choice, message: { role: "assistant", content: "whole" } }] }))
  }
  const web = { AbortController, Headers, Response, TextDecoder, TextEncoder, URL, clearTimeout, fetch, setTimeout }
  const page: Record<string, unknown> = { ...web, btoa, console, crypto, performance, queueMicrotask }
  vm.runInNewContext(outputFiles[0]!.text, page)
  const [whole, events] = (await page["outcome"]) as [string, ReadonlyArray<{ readonly _tag: string }>]
  expect(whole).toBe("whole")
  expect(events.map(({ _tag }) => _tag)).toContain("TextDelta")
  expect(asked).toEqual(Array(2).fill("https://models.example/v1/chat/completions"))
}, 30_000)
