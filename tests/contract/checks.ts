/** What the contract checks of parts and requests. Throws assertion errors. */
import { assert } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Prompt, type Response } from "effect/ai"

export type AnyPart = Response.AnyPart

/** Each delta inside of its block, each block ended, one finish at most, last. */
export const assertBlocks = (parts: ReadonlyArray<AnyPart>): void => {
  const open = new Set<string>()
  parts.forEach((part, index) => {
    if (part.type.endsWith("-start")) open.add(`${part.type.slice(0, -6)} ${(part as { readonly id: string }).id}`)
    if (part.type.endsWith("-delta"))
      assert.isTrue(open.has(`${part.type.slice(0, -6)} ${(part as { readonly id: string }).id}`))
    if (part.type.endsWith("-end"))
      assert.isTrue(open.delete(`${part.type.slice(0, -4)} ${(part as { readonly id: string }).id}`))
    if (part.type === "finish") assert.strictEqual(index, parts.length - 1)
  })
  assert.deepStrictEqual([...open], [])
}

/** Well-formed: each delta inside of its block, one finish, last, with whole numbers. */
export const assertStream = (parts: ReadonlyArray<AnyPart>): void => {
  assertBlocks(parts)
  assertFinish(parts)
}

export const assertFinish = (parts: ReadonlyArray<AnyPart>): Response.FinishPart => {
  const finishes = parts.filter((part) => part.type === "finish")
  assert.strictEqual(finishes.length, 1)
  assert.strictEqual(parts.at(-1)?.type, "finish")
  for (const tokens of [finishes[0]!.usage.inputTokens.total, finishes[0]!.usage.outputTokens.total]) {
    assert.isTrue(Number.isInteger(tokens))
    assert.isAtLeast(tokens!, 0)
  }
  return finishes[0]!
}

export const textOf = (parts: ReadonlyArray<AnyPart>): string =>
  parts.map((part) => (part.type === "text" ? part.text : part.type === "text-delta" ? part.delta : "")).join("")

/** What a conversation keeps of an answer, without ids and what providers add; it must survive a way through JSON. */
export const kept = (parts: ReadonlyArray<AnyPart>) =>
  Effect.gen(function* () {
    const prompt = Prompt.fromResponseParts(parts)
    const encoded = yield* Schema.encodeEffect(Prompt.Prompt)(prompt)
    const back = yield* Schema.decodeEffect(Prompt.Prompt)(JSON.parse(JSON.stringify(encoded)))
    assert.deepStrictEqual(yield* Schema.encodeEffect(Prompt.Prompt)(back), encoded)
    assert.deepStrictEqual(
      back.content.map((message) => message.role),
      ["assistant"]
    )
    return back.content.flatMap((message) =>
      message.role !== "assistant"
        ? []
        : message.content.map((part) =>
            part.type === "text"
              ? { text: part.text }
              : part.type === "tool-call"
                ? { name: part.name, params: part.params }
                : { other: part.type }
          )
    )
  })

/** Waits until `count` requests are open, and fails when that does not come about soon. */
export const until = (running: Effect.Effect<number>, count: number) =>
  running.pipe(
    Effect.tap(() => Effect.sleep("1 millis")),
    Effect.repeat({ until: (now) => now === count }),
    Effect.timeout("20 seconds")
  )
