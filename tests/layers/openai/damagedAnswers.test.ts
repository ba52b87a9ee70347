/** Answers with random damage: a typed error or a well-formed answer, and never a defect. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted, Schema, Stream } from "effect"
import { AiError, LanguageModel, Tool, Toolkit } from "effect/ai"
import { OpenAi } from "troupe"
import { type AnyPart, assertBlocks } from "../../contract/checks.ts"
import { cases } from "../../support/cases.ts"
import * as Server from "../../support/openAiServer.ts"

const Add = Tool.make("add", { parameters: Schema.Struct({ a: Schema.Finite }), success: Schema.Finite })
const toolkit = {
  tools: Toolkit.make(Add).tools,
  handle: () => Effect.die("the model must not run tools")
} as unknown as Toolkit.WithHandler<{ readonly add: typeof Add }>
const options = { prompt: "go", toolkit, disableToolCallResolution: true, toolCallValidation: "deferred" } as const

const reply: Server.Reply = {
  text: "Hello, you.",
  reasoning: "hm, well",
  calls: [
    { name: "add", args: '{"a":1}', id: "x" },
    { name: "add", args: '{"a":20}', id: "y" }
  ],
  usage: {
    prompt_tokens: 3,
    completion_tokens: 4,
    prompt_tokens_details: { cached_tokens: 1 },
    input_tokens: 3,
    output_tokens: 4,
    output_tokens_details: { reasoning_tokens: 1 }
  }
}

const values = [null, true, 0, -1.5, 1e300, "", "text", "{", [], [null], [3], {}, { type: "text" }]

/** Where and how to damage: `at` numbers the values of a document, deep down. */
const Damage = Schema.Struct({
  at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4000 })),
  how: Schema.Literals(["remove", "replace", "replace", "replace", "double", "swap"]),
  by: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
})
type Damage = typeof Damage.Type

type Place = readonly [holder: Record<string, unknown> | Array<unknown>, key: string | number]

const placesIn = (value: unknown): ReadonlyArray<Place> => {
  if (typeof value !== "object" || value === null) return []
  const keys: ReadonlyArray<string | number> = Array.isArray(value) ? [...value.keys()] : Object.keys(value)
  const holder = value as Record<string, unknown>
  return keys.flatMap((key) => [[holder, key] as const, ...placesIn(holder[key as string])])
}

const damaged = (document: unknown, damages: ReadonlyArray<Damage>): unknown => {
  const root = { root: structuredClone(document) }
  for (const { at, by, how } of damages) {
    const places = placesIn(root).slice(1)
    if (places.length === 0) break
    const [holder, key] = places[at % places.length]!
    const fields = holder as Record<string | number, unknown>
    if (how === "replace") fields[key] = structuredClone(values[by])
    else if (!Array.isArray(holder)) delete fields[key]
    else if (how === "remove") holder.splice(key as number, 1)
    else if (how === "double") holder.splice(key as number, 0, structuredClone(holder[key as number]))
    else holder.push(...holder.splice(key as number, 1))
  }
  return root.root
}

describe("OpenAi", () => {
  for (const api of ["chat", "responses"] as const) {
    it.effect.prop(
      `${api}: takes no damaged answer for a defect of the program`,
      { damages: Schema.Array(Damage).check(Schema.isMinLength(1), Schema.isMaxLength(4)) },
      ({ damages }) =>
        Effect.gen(function* () {
          const isChat = api === "chat"
          const body = damaged(isChat ? Server.chatAnswer(reply) : Server.response(reply), damages)
          const events = damaged(isChat ? Server.chatEvents(reply) : Server.responseEvents(reply), damages)
          const server = yield* Server.make([
            { body: body ?? null },
            { events: Array.isArray(events) ? events : [events] }
          ])
          const model = OpenAi.layer({
            model: "m",
            baseUrl: server.url,
            api,
            apiKey: Redacted.make("k"),
            retry: "none"
          })
          const whole = yield* LanguageModel.generateText(options).pipe(Effect.provide(model), Effect.exit)
          const streamed = yield* LanguageModel.streamText(options).pipe(
            Stream.runCollect,
            Effect.provide(model),
            Effect.exit
          )
          for (const exit of [Exit.map(whole, ({ content }): ReadonlyArray<AnyPart> => content), streamed]) {
            if (Exit.isSuccess(exit)) {
              const parts: ReadonlyArray<AnyPart> = exit.value
              assertBlocks(parts)
              const finish = parts.at(-1)
              if (finish?.type !== "finish") return assert.fail(JSON.stringify(parts))
              const { inputTokens, outputTokens } = finish.usage
              for (const count of [...Object.values(inputTokens), ...Object.values(outputTokens)]) {
                assert.isTrue(count === undefined || (Number.isInteger(count) && count >= 0), JSON.stringify(finish))
              }
              continue
            }
            const error = Cause.squash(exit.cause)
            const said = `${Cause.pretty(exit.cause)}\n${JSON.stringify(exit === streamed ? events : body)}`
            if (!AiError.isAiError(error)) return assert.fail(said)
            // These two would mean that what we made of the answer was not what effect/ai takes.
            assert.notInclude(["InvalidOutputError", "UnknownError"], error.reason._tag, said)
          }
        }),
      { arbitrary: { runs: cases(250) } }
    )
  }
})
