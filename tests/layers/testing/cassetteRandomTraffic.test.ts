/** Random scripts: what is replayed is what was recorded, on both edges, and bodies lose nothing in the file. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Redacted, Schedule, Schema, Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, AgentTool, Cassette, OpenAi, Parallel, type RunEvent } from "troupe"
import * as Body from "../../../src/layers/testing/internal/cassette/body.ts"
import { redacted, Scrubber } from "../../../src/layers/testing/internal/cassette/scrub.ts"
import * as ChildServer from "../../support/childServer.ts"
import { exitOn } from "../../support/edges.ts"
import type { Reply } from "../../support/openAiServer.ts"
import { cases } from "../../support/cases.ts"
import { scopedFolder } from "../../support/temporaryFolder.ts"

const Sometimes = <S extends Schema.Top>(schema: S) => Schema.UndefinedOr(schema)
const secret = "sk-very-secret-0123456789"
const Word = Schema.Union([
  Schema.String.check(Schema.isMaxLength(12)),
  Schema.Literals(["Grüß 🎭 Gott", `is ${secret}, no?`, "data: [DONE]\n\n", "", "\r\n\u2028"])
])
const Answer = Schema.Struct({
  text: Sometimes(Word),
  reasoning: Sometimes(Word),
  calls: Schema.Array(
    Schema.Struct({
      name: Schema.Literals(["echo", "unknown"]),
      args: Schema.Union([
        Schema.Literals(["", "{}", `{"text":"`, `{"text":"${secret}"}`]),
        Schema.Struct({ text: Word })
      ]),
      id: Sometimes(Schema.Literals(["", "x"]))
    })
  ).check(Schema.isMaxLength(2)),
  split: Sometimes(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 300 }))),
  resetAfter: Sometimes(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 600 })))
})
const Failure = Schema.Struct({
  status: Schema.Literals([400, 401, 429, 500, 503]),
  body: Schema.Union([Schema.Struct({ error: Schema.Struct({ message: Word }) }), Word])
})
const Script = Schema.Array(Schema.Union([Answer, Answer, Failure])).check(Schema.isMinLength(1), Schema.isMaxLength(5))

const echo = AgentTool.fromFunction("echo", {
  description: "Says it again",
  parameters: Schema.Struct({ text: Schema.String }),
  execute: ({ text }) => text
})
const agent = (name: string) =>
  Agent.make(name, { instructions: name, tools: [echo], retry: Schedule.recurs(1), maxSteps: 3 })

/** What can be compared of a run; of secrets, that they are gone. */
const shown = (exit: Exit.Exit<unknown, unknown>): string => {
  const value = Exit.isSuccess(exit)
    ? exit.value
    : (({ _tag, message }: { readonly _tag?: string; readonly message?: string }) => [_tag, message])(
        Cause.squash(exit.cause) as object
      )
  return JSON.stringify(value)
    .replaceAll(secret, redacted)
    .replaceAll(/"(runId|at|durationMs|seq)":[^,}]*/g, "")
}

const programs: Record<string, Effect.Effect<unknown, unknown, LanguageModel.LanguageModel>> = {
  run: Effect.map(agent("one").result("go"), ({ output, steps, transcript, usage }) => ({
    output,
    steps,
    transcript,
    usage
  })),
  stream: Effect.map(
    Stream.runCollect(
      agent("one").stream("go") as Stream.Stream<RunEvent.RunEvent, never, LanguageModel.LanguageModel>
    ),
    // Pieces of a text from which a secret was taken are others than they were.
    (events) =>
      events.filter(({ _tag }) => _tag === "RunCompleted" || _tag === "StepRetried").map((event) => ({ ...event }))
  ),
  settle: Effect.map(
    Parallel.make("both", { a: agent("a"), b: agent("b") }, { mode: Parallel.settle }).run("go"),
    (both) => Object.entries(both).map(([name, result]) => [name, String(result)])
  )
}

layer(ChildServer.layer, { excludeTestServices: true })("Cassette", (it) => {
  for (const api of ["chat", "responses"] as const) {
    describe(api, () => {
      for (const [name, program] of Object.entries(programs)) {
        it.effect.prop(
          `${name}: the replay is the recording, on both edges`,
          { script: Script },
          ({ script }) =>
            Effect.gen(function* () {
              const server = yield* ChildServer.Server
              const replies = script.map((one): Reply => {
                if (!("calls" in one)) return one
                const calls = one.calls.map(({ args, id, name }) => ({
                  name,
                  args: typeof args === "string" ? args : JSON.stringify(args),
                  ...(id === undefined || api === "responses" ? {} : { id })
                }))
                return { ...one, calls: calls.length === 0 ? undefined : calls }
              })
              const url = yield* server.script(...replies)
              const directory = yield* scopedFolder
              const file = path.join(directory, "a.json")
              const use = (mode: "record" | "replay", edge: "async" | "sync") =>
                exitOn[edge](
                  program.pipe(
                    Effect.provide(
                      OpenAi.layer({ model: "m", baseUrl: url, api, apiKey: Redacted.make(secret) }).pipe(
                        Layer.provide(Cassette.layer({ path: file, mode, unused: "die" }))
                      )
                    )
                  )
                )
              const edge = script.length % 2 === 0 ? "sync" : "async"
              const recorded = shown(yield* use("record", edge))
              yield* server.script()
              const text = fs.readFileSync(file, "utf8")
              assert.notInclude(text, secret)
              assert.strictEqual(shown(yield* use("replay", "async")), recorded)
              assert.strictEqual(shown(yield* use("replay", "sync")), recorded)
              assert.strictEqual(fs.readFileSync(file, "utf8"), text)
            }).pipe(Effect.scoped),
          { arbitrary: { runs: cases(32) } }
        )
      }
    })
  }
})

describe("a body", () => {
  const join = (chunks: ReadonlyArray<Uint8Array>): string => Buffer.concat(chunks).toString("latin1")
  const cut = (bytes: Uint8Array, cuts: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
    const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
    return at.slice(1).map((end, index) => bytes.slice(at[index], end))
  }
  const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 500 }))).check(
    Schema.isMaxLength(6)
  )
  const Type = Schema.Literals(["text/event-stream", "text/plain", "application/json", "image/png"])

  it.effect.prop(
    "of bytes is as it was, for all types and chunks",
    { bytes: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))), cuts: Cuts, type: Type },
    ({ bytes, cuts, type }) =>
      Effect.sync(() => {
        const body = Uint8Array.from([...bytes, 0xff])
        const chunks = cut(body, cuts)
        const kept = Body.chunksOf(Body.ofResponse(chunks, type, new Scrubber([], undefined)))
        assert.strictEqual(join(kept), join(chunks))
        const filled = chunks.map((chunk) => join([chunk])).filter((chunk) => chunk !== "")
        assert.deepStrictEqual(
          kept.map((chunk) => join([chunk])),
          filled
        )
      })
  )

  it.effect.prop(
    "of text is as it was; chunks end where they ended, but for characters that they share",
    {
      lines: Schema.Array(Schema.Union([Word, Schema.Literals(["data: x", "\n", "\n\n", "é"])])),
      cuts: Cuts,
      type: Type
    },
    ({ cuts, lines, type }) =>
      Effect.sync(() => {
        const text = `: ${lines.join("").toWellFormed().replaceAll(secret, "")}`
        const chunks = cut(new TextEncoder().encode(text), cuts)
        const kept = Body.chunksOf(Body.ofResponse(chunks, type, new Scrubber([], undefined)))
        assert.strictEqual(join(kept), join(chunks))
        assert.isAtMost(kept.length, chunks.length)
      })
  )

  it.effect.prop("of JSON has the same value", { value: Schema.Json }, ({ value }) =>
    Effect.sync(() => {
      for (const text of [JSON.stringify(value), JSON.stringify(value, null, 2)]) {
        const kept = Body.chunksOf(
          Body.ofResponse([new TextEncoder().encode(text)], "application/json", new Scrubber([], undefined))
        )
        assert.deepStrictEqual(JSON.parse(Buffer.concat(kept).toString()), JSON.parse(text))
      }
    })
  )

  it("of JSON whose numbers JavaScript cannot hold stays the text that it was", () => {
    for (const text of ["12345678901234567890", `{"a":-0}`, "[1e999]"]) {
      const body = Body.ofResponse([new TextEncoder().encode(text)], "application/json", new Scrubber([], undefined))
      assert.deepStrictEqual(body, { chunks: [[text]] })
    }
    const body = Body.ofResponse(
      [Buffer.from(`{"t": 1.0, "s": "12345678901234567890"}`)],
      undefined,
      new Scrubber([], undefined)
    )
    assert.deepStrictEqual(body, { json: { t: 1, s: "12345678901234567890" } })
  })

  it.effect.prop(
    "of events holds no secret, however it is cut into events and chunks",
    {
      before: Schema.String,
      after: Schema.String,
      size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 30 })),
      cuts: Cuts
    },
    ({ after, before, cuts, size }) =>
      Effect.sync(() => {
        // One that looks like no key, so that nothing around it is taken for a part of it.
        const secret = "a key of no known shape"
        const text = `${before}${secret}${after}`.toWellFormed()
        const deltas = text.match(new RegExp(`[\\s\\S]{1,${size}}`, "gu")) ?? []
        const events = deltas.map(
          (delta, index) => `data: ${JSON.stringify({ n: index, delta: { content: delta } })}\n\n`
        )
        const scrubber = new Scrubber([], undefined)
        scrubber.learn([secret])
        const chunks = cut(new TextEncoder().encode(events.join("")), cuts)
        const kept = Body.chunksOf(Body.ofResponse(chunks, "text/event-stream", scrubber))
        const read = Buffer.concat(kept)
          .toString()
          .split("\n\n")
          .filter((event) => event !== "")
          .map(
            (event) =>
              JSON.parse(event.slice(6)) as { readonly n: number; readonly delta: { readonly content: string } }
          )
        assert.deepStrictEqual(
          read.map(({ n }) => n),
          deltas.map((_, index) => index)
        )
        assert.strictEqual(read.map(({ delta }) => delta.content).join(""), text.replaceAll(secret, redacted))
      })
  )

  it("that is lost in the middle of a secret holds no beginning of it", () => {
    const secret = "a key of no known shape"
    const scrubber = new Scrubber([], undefined)
    scrubber.learn([secret])
    const stored = (text: string, type: string) =>
      JSON.stringify(Body.ofResponse([new TextEncoder().encode(text)], type, scrubber))
    for (let length = 8; length < secret.length; length++) {
      const begun = secret.slice(0, length)
      const events = [...begun].map((delta) => `data: ${JSON.stringify({ delta })}\n\n`).join("")
      for (const kept of [
        stored(`{"text":"It is ${begun}`, "application/json"),
        stored(`data: {"delta":"It is ${begun}`, "text/event-stream")
      ]) {
        assert.include(kept, `It is ${redacted}`)
        assert.notInclude(kept, secret.slice(0, 5))
      }
      const deltas = [...stored(events, "text/event-stream").matchAll(/delta\\":\\"(.*?)\\"/g)].map((match) => match[1])
      assert.strictEqual(deltas.join(""), redacted)
    }
  })
})
