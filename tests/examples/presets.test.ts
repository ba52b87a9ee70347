/** The presets in examples/presets: what they ask of a model. What they say without one is checked with the other examples. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { LanguageModel } from "effect/ai"
import { OpenAi, type Runner } from "troupe"
import crew from "../../examples/presets/code-review-crew.ts"
import pipeline from "../../examples/presets/content-pipeline.ts"
import debate from "../../examples/presets/debate.ts"
import digest from "../../examples/presets/map-reduce.ts"
import report from "../../examples/presets/research-report.ts"
import desk from "../../examples/presets/support-desk.ts"
import * as Server from "../support/openAiServer.ts"

type Body = Readonly<Record<string, any>>
const textOf = (body: Body): string => JSON.stringify(body["messages"] ?? body["input"])
const systemOf = (body: Body): string => String((body["messages"] ?? [])[0]?.content ?? "")

/** Runs it on a server that answers by the instructions; returns the requests too. */
const served = <I, A, E>(
  runner: Runner.Runner<I, A, E, LanguageModel.LanguageModel>,
  input: I,
  answer: (system: string, body: Body) => Server.Reply
) =>
  Effect.gen(function* () {
    const asked: Array<Body> = []
    const server = yield* Server.make((seen) => {
      asked.push(seen.body)
      return answer(systemOf(seen.body), seen.body)
    })
    const model = OpenAi.layer({
      model: "m",
      baseUrl: server.url,
      api: "chat",
      apiKey: Redacted.make("k"),
      retry: "none"
    })
    const result = yield* runner.result(input).pipe(Effect.provide(model), Effect.result)
    return { asked, result }
  }).pipe(Effect.scoped)
const outputOf = <A, E>({ result }: { result: { _tag: string; success?: { output: A }; failure?: E } }): A =>
  result._tag === "Success" ? result.success!.output : assert.fail(String(result.failure))
const failureOf = <A, E>({ result }: { result: { _tag: string; success?: A; failure?: E } }): string =>
  result._tag === "Failure" ? (result.failure as Error).message : assert.fail("it did not fail")
const down: Server.Reply = { status: 400, body: { error: { message: "no such luck", type: "invalid_request_error" } } }

describe("the code review crew", () => {
  const code = 'const apiKey = "sk-live-51f0c9a7d2e84b6f"\ntry { go() } catch (e) {}\n'
  it.live("has three reviewers read at once, and an editor merge what they say", () =>
    Effect.gen(function* () {
      const run = yield* served(crew, code, (system) =>
        system.includes("merge the reviews")
          ? { text: "merged" }
          : { text: `found: ${/only at (\w+)/.exec(system)?.[1]}` }
      )
      assert.strictEqual(outputOf(run), "merged")
      assert.strictEqual(run.asked.length, 4)
      for (const part of ["## correctness", "found: security", "## style"]) assert.include(textOf(run.asked[3]!), part)
    })
  )
  it.live("names the reviewer that failed", () =>
    Effect.gen(function* () {
      const run = yield* served(crew, code, (system) =>
        system.includes("security") ? down : { text: "fine", delayMs: 50 }
      )
      assert.match(failureOf(run), /"security".*no such luck/)
    })
  )
})

describe("the research report", () => {
  it.live("has the model search for each part, and write one report", () =>
    Effect.gen(function* () {
      const run = yield* served(
        report,
        "How do honey bees find food, and how do bees keep warm in winter?",
        (system, body) => {
          if (system.includes("combine findings")) return { text: "report" }
          const found = textOf(body).includes('"tool"')
          return found
            ? { text: "finding" }
            : { calls: [{ name: "search", args: '{"query":"honey bees find food"}', id: "c" }] }
        }
      )
      assert.strictEqual(outputOf(run), "report")
      assert.strictEqual(run.asked.length, 5)
      assert.include(textOf(run.asked[4]!), "## Finding 2")
      assert.isTrue(run.asked.some((body) => textOf(body).includes("remembers the way by the sun")))
    })
  )
  it.live("names the part that failed", () =>
    Effect.gen(function* () {
      const run = yield* served(report, "One thing? Another thing?", (_system, body) =>
        textOf(body).includes("Another") ? down : { text: "finding", delayMs: 50 }
      )
      assert.match(failureOf(run), /"research".*"1".*no such luck/)
    })
  )
})

describe("the content pipeline", () => {
  it.live("sends back notes that are too short, without a call of a model", () =>
    Effect.gen(function* () {
      const { asked, result } = yield* served(pipeline, "too short", () => down)
      assert.strictEqual(asked.length, 0)
      const short = result._tag === "Success" ? result.success : assert.fail("it failed")
      assert.include(short.output, "too short")
      assert.deepStrictEqual(short.decisions, [{ _tag: "StoppedEarly", gate: "enough to say", path: ["pipeline"] }])
    })
  )
  it.live("has a model write again until it is short enough", () =>
    Effect.gen(function* () {
      let drafts = 0
      const run = yield* served(pipeline, "word ".repeat(30), (system) =>
        system.includes("keywords")
          ? { text: '{"title":"T","keywords":["a","b"]}' }
          : { text: ++drafts === 1 ? "long ".repeat(100) : "short" }
      )
      assert.strictEqual(outputOf(run), "# T\n\nshort\n\nKeywords: a, b")
      assert.strictEqual(drafts, 2)
      assert.isTrue(run.asked.some((body) => textOf(body).includes("it has 101 words of 90")))
    })
  )
  it.live("fails with the part that failed", () =>
    Effect.gen(function* () {
      const run = yield* served(pipeline, "word ".repeat(30), (system) =>
        system.includes("keywords") ? down : { text: "a" }
      )
      assert.match(failureOf(run), /"labels".*no such luck/)
    })
  )
})

describe("the support desk", () => {
  it.live("has a model choose, and gives a person what it is not sure of", () =>
    Effect.gen(function* () {
      const choose = (route: string, confidence: number) => (system: string) =>
        system.includes("Choose the route") ? { text: JSON.stringify({ route, confidence }) } : { text: "answered" }
      assert.strictEqual(outputOf(yield* served(desk, "hm", choose("technical", 0.9))), "answered")
      assert.include(outputOf(yield* served(desk, "hm", choose("technical", 0.2))), "A colleague will answer")
    })
  )
  it.live("fails with what the route failed with", () =>
    Effect.gen(function* () {
      const run = yield* served(desk, "hm", (system) =>
        system.includes("Choose the route") ? { text: '{"route":"billing","confidence":1}' } : down
      )
      assert.match(failureOf(run), /desk > billing.*no such luck/)
    })
  )
})

describe("the debate", () => {
  const motion =
    "Should we adopt it? A benefit was that sick days fell by a third. A problem was that customers waited longer. The cost rose by 2,000 euros."
  it.live("has a model argue both sides and judge them", () =>
    Effect.gen(function* () {
      const run = yield* served(debate, motion, (system, body) =>
        system.includes("You judge")
          ? { text: '{"winner":"critic","summary":"costs count"}' }
          : { text: textOf(body).includes("benefits") ? "for it" : "against it" }
      )
      assert.deepStrictEqual(outputOf(run), {
        advocate: "for it",
        critic: "against it",
        verdict: { winner: "critic", summary: "costs count" }
      })
      assert.include(textOf(run.asked[2]!), "The critic says: against it")
    })
  )
  it.live("names the side that failed", () =>
    Effect.gen(function* () {
      const run = yield* served(debate, motion, (_system, body) =>
        textOf(body).includes("benefits") ? down : { text: "against", delayMs: 50 }
      )
      assert.match(failureOf(run), /"advocate".*no such luck/)
    })
  )
})

describe("map and reduce over a folder", () => {
  const folders: Array<string> = []
  afterAll(() => {
    for (const dir of folders) rmSync(dir, { recursive: true })
  })
  const folder = (files: Readonly<Record<string, string>>) => {
    // Inside of the project and by a relative path: the path is part of what is summarized, and should be short.
    const dir = mkdtempSync("tests/.preset-")
    folders.push(dir)
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text)
    return dir
  }
  it.live("reads texts only, and says so when there are none", () =>
    Effect.gen(function* () {
      const dir = folder({ "ice.md": "Ice melts.", "bees.txt": "Bees dance.", "image.png": "no text" })
      const run = yield* served(digest, dir, (_system, body) => ({
        text: textOf(body).includes("Combine") ? "digest" : "a summary"
      }))
      assert.strictEqual(run.asked.length, 3)
      assert.notInclude(JSON.stringify(run.asked), "no text")
      assert.strictEqual(outputOf(yield* served(digest, folder({}), () => down)), "There is no text in this folder.")
      assert.match(failureOf(yield* served(digest, join(dir, "nowhere"), () => down)), /nowhere cannot be read/)
    })
  )
  it.live("keeps the other files when one fails, and names it", () =>
    Effect.gen(function* () {
      const dir = folder({ "a.md": "first text", "b.md": "second text" })
      const run = yield* served(digest, dir, (system, body) =>
        system.includes("combine summaries")
          ? { text: "digest" }
          : textOf(body).includes("second")
            ? down
            : { text: "a summary" }
      )
      assert.strictEqual(outputOf(run), "digest")
      const asked = textOf(run.asked.at(-1)!)
      for (const part of ["a.md", "a summary", "Not read", "no such luck"]) assert.include(asked, part)
    })
  )
})
