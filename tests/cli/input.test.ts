/** What the command line reads of standard input: at most so much. */
import { Readable } from "node:stream"
import { assert, it } from "@effect/vitest"
import { Effect, Stdio, Stream } from "effect"
import { maxInput, readStdin } from "../../src/cli/files.ts"
import { linesOf } from "../../src/cli/lines.ts"

const reading = (chunks: Stream.Stream<Uint8Array>) => Effect.provide(readStdin, Stdio.layerTest({ stdin: chunks }))

it.effect("standard input that does not end is refused, with the limit", () =>
  Effect.gen(function* () {
    const mebibyte = new Uint8Array(1024 * 1024).fill(120)
    const error = yield* Effect.flip(reading(Stream.forever(Stream.succeed(mebibyte))))
    assert.strictEqual(error.code, 2)
    assert.include(error.message, String(maxInput))
    const text = yield* reading(Stream.make(mebibyte, mebibyte))
    assert.strictEqual(text.length, 2 * 1024 * 1024)
  })
)

it("lines of a pipe are those that it has, and the first that is too long ends them", async () => {
  const all = async (...chunks: ReadonlyArray<string | Uint8Array>) => {
    const bytes = chunks.map((chunk) => Buffer.from(chunk))
    const lines: Array<unknown> = []
    for await (const line of linesOf(Readable.from(bytes), 10)) lines.push(line)
    return lines
  }
  assert.deepStrictEqual(await all("one\r\ntwo", "-2\n\nthr", "ee"), ["one", "two-2", "", "three"])
  const snow = Buffer.from("☃")
  assert.deepStrictEqual(await all(snow.subarray(0, 1), snow.subarray(1)), ["☃"])
  const [first, second, ...others] = await all("one\n", "x".repeat(6), "x".repeat(6), "\ntwo\n")
  assert.strictEqual(first, "one")
  assert.isNotString(second)
  assert.deepStrictEqual(others, [])
})
