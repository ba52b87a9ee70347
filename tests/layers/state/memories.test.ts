/** Memories in memory and in SQLite, by words and by vectors, keep the laws of memories. */
import { assert, describe, it } from "@effect/vitest"
import { Layer } from "effect"
import * as sqliteVec from "sqlite-vec"
import { MemoryStore, Rag, Sqlite } from "troupe"
import { memoryLaws, vectorLaws } from "../../support/memoryLaws.ts"

const sqlite = Sqlite.layer({ filename: ":memory:" })
const withExtension = Sqlite.layer({ filename: ":memory:", extensions: [sqliteVec.getLoadablePath()] })

describe("in memory", () => memoryLaws(MemoryStore.layerMemory))
describe("in SQLite", () => memoryLaws(MemoryStore.layerSql.pipe(Layer.provide(sqlite))))
describe("in SQLite, with vectors", () => vectorLaws(MemoryStore.layerSqlVectors.pipe(Layer.provide(sqlite))))
describe("in SQLite, with sqlite-vec", () => vectorLaws(MemoryStore.layerSqlVectors.pipe(Layer.provide(withExtension))))

describe("Rag.split", () => {
  const words = ["a", "word", "sentence. ", "line\n", "paragraph\n\n", "🙂", "longerthanmostwords"]
  it("keeps every character, in pieces that are not longer than asked, and parts no character", () => {
    for (let seed = 1; seed < 100; seed++) {
      let state = seed
      const next = (n: number) => (state = (state * 48271) % 2147483647) % n
      const text = Array.from({ length: next(120) }, () => words[next(words.length)]).join(next(2) === 0 ? " " : "")
      const size = 2 + next(60)
      const overlap = next(Math.ceil(size / 2))
      const pieces = Rag.split(text, { size, overlap })
      let covered = 0
      for (const piece of pieces) {
        assert.isAtMost(piece.length, size)
        if (size > 3) assert.isTrue(piece.isWellFormed(), JSON.stringify(piece))
        const at = text.lastIndexOf(piece, covered)
        assert.isAtLeast(at, 0)
        covered = Math.max(covered, at + piece.length)
      }
      assert.strictEqual(covered, text.length)
    }
  })

  it("refuses an overlap that would never end", () => {
    assert.throws(() => Rag.split("text", { size: 10, overlap: 5 }), /less than half/)
  })

  it("has little overlap by default where pieces are small", () => {
    assert.deepStrictEqual(Rag.split("One two three. Four five.", { size: 16 }), ["One two three. ", ". Four five."])
  })
})
