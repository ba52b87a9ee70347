/** The offline model as a Layer: streams, notice, no network, hostile input. */
import { describe, expect, it } from "@effect/vitest"
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import * as diagnostics from "node:diagnostics_channel"
import * as net from "node:net"
import { vi } from "vitest"
import * as Offline from "../../src/layers/Offline.ts"
import * as ModelInfo from "../../src/services/ModelInfo.ts"
import { quiet, tools, ask, say, withSystem, story, N } from "../support/offline.ts"

describe("the model", () => {
  it.effect("streams the same text in words, with usage and a finish reason", () =>
    Effect.gen(function* () {
      const prompt = `Summarise in two sentences:\n\n${story}`
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt }))
      const deltas = parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : []))
      expect(deltas.length).toBeGreaterThan(10)
      expect(deltas.join("")).toBe(yield* say(prompt))
      const finish = parts.find((part) => part.type === "finish")
      expect(finish?.type === "finish" && finish.reason).toBe("stop")
      expect(finish?.type === "finish" && (finish.usage.inputTokens.total ?? 0)).toBe(
        Math.ceil(Buffer.byteLength(prompt) / 4)
      )
      const called = yield* Stream.runCollect(
        LanguageModel.streamText({ prompt: "What is 2 + 40?", toolkit: tools, disableToolCallResolution: true })
      )
      expect(called.some((part) => part.type === "tool-call")).toBe(true)
      expect(called.some((part) => part.type === "finish" && part.reason === "tool-calls")).toBe(true)
    }).pipe(Effect.provide(quiet))
  )

  it.effect("gives the same answer and the same ids for the same prompt", () =>
    Effect.gen(function* () {
      const once = JSON.stringify((yield* ask("What's the weather in Oslo and Paris?")).content)
      expect(JSON.stringify((yield* ask("What's the weather in Oslo and Paris?")).content)).toBe(once)
      expect(once).toContain("offline_")
    }).pipe(Effect.provide(quiet))
  )

  it.effect("says on standard error, once, that it is no LLM", () =>
    Effect.gen(function* () {
      const error = vi.fn()
      const log = vi.fn()
      const capture = { ...globalThis.console, error, log } as unknown as Console.Console
      const build = Layer.build(Layer.fresh(Offline.layer)).pipe(
        Effect.scoped,
        Effect.provideService(Console.Console, capture)
      )
      yield* build
      yield* build
      expect(error.mock.calls).toEqual([[Offline.notice]])
      expect(log).not.toHaveBeenCalled()
      expect(Offline.notice).toMatch(/troupe-offline.*not an LLM/)
    })
  )

  it.effect("says who it is, and is built without a promise", () =>
    Effect.gen(function* () {
      const info = ModelInfo.get(yield* LanguageModel.LanguageModel)
      expect(info).toMatchObject({ provider: "troupe-offline", model: "offline", structuredOutput: true })
      expect(Effect.runSync(say("What is 2 + 2?").pipe(Effect.provide(quiet)))).toBe("2 + 2 = 4")
    }).pipe(Effect.provide(quiet))
  )

  it.effect("opens no socket", () =>
    Effect.gen(function* () {
      const connect = vi.spyOn(net.Socket.prototype, "connect")
      const opened: Array<unknown> = []
      const listen = (message: unknown) => opened.push(message)
      for (const name of ["undici:request:create", "http.client.request.start", "net.client.socket"])
        diagnostics.subscribe(name, listen)
      yield* ask("Search for https://example.com/ and read http://127.0.0.1:9/x")
      yield* say([
        {
          role: "user",
          content: [
            { type: "text", text: "Summarise it" },
            { type: "file", mediaType: "text/html", data: new URL("http://127.0.0.1:9/page") }
          ]
        }
      ])
      for (const name of ["undici:request:create", "http.client.request.start", "net.client.socket"])
        diagnostics.unsubscribe(name, listen)
      expect(connect).not.toHaveBeenCalled()
      expect(opened).toEqual([])
      connect.mockRestore()
    }).pipe(Effect.provide(quiet))
  )
})

describe("hostile input", () => {
  const kinds: ReadonlyArray<readonly [string, string]> = [
    ["prose", `${story} `],
    ["one word", "a"],
    ["white space", " "],
    ["line breaks", "\n"],
    ["initials", "A. B. "],
    ["quotes", "\"a' "],
    ["backticks", "`"],
    ["tags", "<a><b> "],
    ["brackets", "[](("],
    ["acronyms", "ABC DEFG "],
    ["pairs", "a: b\n"],
    ["fences", "```\n{\n"],
    ["at signs", "a@"],
    ["ideographs", "北京是首都。"],
    ["question marks", "? \n"]
  ]
  const tasks = [
    "",
    "Review for style, clarity, structure, correctness, security and spelling.",
    "Merge the reports into one."
  ]

  it.live.each(kinds)("takes time in proportion to the length of %s", ([, unit]) =>
    Effect.gen(function* () {
      const time = (size: number) =>
        Effect.gen(function* () {
          const text = unit.repeat(Math.ceil(size / unit.length)).slice(0, size)
          let best = Infinity
          for (let i = 0; i < 2; i++) {
            // The thread's own time: what else the machine does must not count.
            const start = process.threadCpuUsage()
            for (const system of tasks) yield* say(withSystem(system === "" ? "You help." : system, text))
            const { system: kernel, user } = process.threadCpuUsage(start)
            best = Math.min(best, (user + kernel) / 1000)
          }
          return best
        })
      yield* time(2_000)
      // Eight times the text: about 8 in proportion, 64 when quadratic. The floor keeps short times from deciding.
      const ratio = (yield* time(200_000)) / Math.max(10, yield* time(25_000))
      expect(ratio).toBeLessThan(30)
    }).pipe(Effect.provide(quiet))
  )

  it.effect("answers a text beyond its limit and says how much it left out", () =>
    Effect.gen(function* () {
      const text = yield* say("The tide rises twice a day in most places. ".repeat(30_000))
      expect(text).toMatch(/last [\d,]+ characters were not read/)
    }).pipe(Effect.provide(quiet))
  )

  it.effect.each([
    "__proto__",
    "constructor",
    '{"__proto__": {"polluted": true}}',
    "\u0000\u0007\ud800\udc00\udfff",
    "```",
    "<a>",
    "((((",
    "[".repeat(500),
    "💥".repeat(200),
    "ﷺ\u202e\u200b"
  ])("survives %j in every mode", (text) =>
    Effect.gen(function* () {
      yield* ask(text)
      yield* ask(text, "required")
      for (const system of tasks) yield* say(withSystem(system, text))
      yield* LanguageModel.generateObject({
        prompt: text,
        objectName: "out",
        schema: Schema.Struct({ name: Schema.String, list: Schema.Array(Schema.String), n: N })
      })
      expect(({} as { readonly polluted?: boolean }).polluted).toBeUndefined()
    }).pipe(Effect.provide(quiet))
  )
})
