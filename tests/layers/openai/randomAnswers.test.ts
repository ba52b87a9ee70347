/** Random answers: a stream says what the whole answer says, however it is cut, on both edges. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Redacted, Schema, Stream } from "effect"
import { OpenAi, SyncEdge } from "troupe"
import { cases } from "../../support/cases.ts"
import { directModel } from "../../support/directModel.ts"
import { assertStream } from "../../contract/checks.ts"
import { type Part, request } from "../../support/openAiRequest.ts"
import * as ChildServer from "../../support/childServer.ts"
import type { Reply } from "../../support/openAiServer.ts"

const Word = Schema.String.check(Schema.isMaxLength(20))
const Sometimes = <S extends Schema.Top>(schema: S) => Schema.UndefinedOr(schema)
const RandomReply = Schema.Struct({
  text: Sometimes(Schema.Union([Word, Schema.Literals(["<think>", " <think>a</th</think>\n b", "<thin"])])),
  reasoning: Sometimes(Word),
  refusal: Sometimes(Schema.Literal("I must not.")),
  calls: Schema.Array(
    Schema.Struct({
      name: Schema.Literals(["a", "b"]),
      args: Schema.Literals([
        "",
        "{}",
        "null",
        '{"n":1,"s":"gr\\u00fc\u00df\u{1F3AD}"}',
        '{"n":',
        '{"__proto__":1}',
        "[1]"
      ]),
      id: Sometimes(Schema.Literals(["", "x", "y"]))
    })
  ).check(Schema.isMaxLength(4)),
  reasoningField: Schema.Literals(["reasoning", "reasoning_content"]),
  finish: Sometimes(Schema.Literals(["length", "content_filter"])),
  usage: Sometimes(
    Schema.Struct({
      prompt_tokens: Schema.Literals([0, 5]),
      completion_tokens: Schema.Literals([0, 9]),
      input_tokens: Schema.Literals([0, 5]),
      output_tokens: Schema.Literals([0, 9])
    })
  ),
  split: Sometimes(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 400 })))
})

/** What parts say, without the ids that we make up ourselves. */
const said = (parts: ReadonlyArray<Part>, given: ReadonlySet<string>) => {
  const join = (whole: "text" | "reasoning") =>
    parts
      .map((part) =>
        part.type === whole
          ? part.text
          : part.type === `${whole}-delta`
            ? (part as { readonly delta: string }).delta
            : ""
      )
      .join("")
  return {
    text: join("text"),
    reasoning: join("reasoning"),
    calls: parts.flatMap((part) =>
      part.type === "tool-call"
        ? [{ id: given.has(part.id) ? part.id : "ours", name: part.name, params: part.params }]
        : []
    ),
    finish: parts.filter((part) => part.type === "finish")
  }
}

layer(ChildServer.layer, { excludeTestServices: true })("OpenAi", (it) => {
  for (const api of ["chat", "responses"] as const) {
    describe(api, () => {
      it.effect.prop(
        "reads the same from a stream as from a whole answer, on both edges",
        { random: RandomReply },
        ({ random }) =>
          Effect.gen(function* () {
            // One id belongs to one call.
            const ids = new Set<string>()
            const calls = random.calls.map((call, n) => {
              const id = call.id === undefined || ids.has(call.id) ? `own${n}` : call.id
              if (id !== "") ids.add(id)
              return { ...call, id }
            })
            const reply: Reply = { ...random, calls: calls.length === 0 ? undefined : calls }
            const server = yield* ChildServer.Server
            const url = yield* server.script(reply)
            const model = OpenAi.layer({ model: "m", baseUrl: url, api, apiKey: Redacted.make("k"), retry: "none" })
            const provider = directModel
            const whole = Effect.flatMap(provider, (self) => self.generateText(request)).pipe(Effect.provide(model))
            const streamed = Effect.flatMap(provider, (self) => Stream.runCollect(self.streamText(request))).pipe(
              Effect.provide(model)
            )
            const sync = SyncEdge.layerNested
            const answers: ReadonlyArray<ReadonlyArray<Part>> = [
              yield* whole,
              yield* streamed,
              Effect.runSync(Effect.provide(whole, sync)),
              Effect.runSync(Effect.provide(streamed, sync))
            ]
            assertStream(answers[1] as never)
            for (const parts of answers.slice(1)) assert.deepStrictEqual(said(parts, ids), said(answers[0]!, ids))
            for (const parts of answers) {
              const all = parts.flatMap((part) => (part.type === "tool-call" ? [part.id] : []))
              assert.strictEqual(new Set(all).size, all.length)
            }
          }),
        { arbitrary: { runs: cases(60) } }
      )
    })
  }
})
