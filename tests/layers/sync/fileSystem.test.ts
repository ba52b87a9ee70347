import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, FileSystem, Option, Stream } from "effect"
import { SyncEdge } from "troupe"
import { it as plain } from "vitest"

for (const [name, live] of [
  ["Node's own", NodeFileSystem.layer],
  ["the sync edge's", SyncEdge.layerFileSystem]
] as const) {
  layer(live, { excludeTestServices: true })(`a file system: ${name}`, (it) => {
    const tagOf = (effect: Effect.Effect<unknown, unknown, FileSystem.FileSystem>) =>
      Effect.map(Effect.flip(effect), (error) => (error as { readonly reason: { readonly _tag: string } }).reason._tag)

    it.effect("writes, reads, lists, copies, renames and removes", () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const root = yield* fs.makeTempDirectoryScoped({ prefix: "troupe-" })
        yield* fs.makeDirectory(`${root}/a/b`, { recursive: true })
        yield* fs.writeFileString(`${root}/a/b/one.txt`, "Grüße")
        yield* fs.copyFile(`${root}/a/b/one.txt`, `${root}/two.txt`)
        yield* fs.copy(`${root}/a`, `${root}/c`)
        yield* fs.rename(`${root}/two.txt`, `${root}/three.txt`)
        yield* fs.symlink(`${root}/three.txt`, `${root}/link`)
        assert.strictEqual(yield* fs.readFileString(`${root}/link`), "Grüße")
        assert.strictEqual(yield* fs.readLink(`${root}/link`), `${root}/three.txt`)
        assert.strictEqual((yield* fs.lstat(`${root}/link`)).type, "SymbolicLink")
        assert.sameMembers(yield* fs.readDirectory(root), ["a", "c", "link", "three.txt"])
        assert.include(yield* fs.readDirectory(root, { recursive: true }), "c/b/one.txt")
        assert.deepInclude(yield* fs.readDirectoryEntries(root), { name: "a", type: "Directory" })
        const info = yield* fs.stat(`${root}/three.txt`)
        assert.deepStrictEqual([info.type, Number(info.size)], ["File", 7])
        assert.isTrue(Option.isSome(info.mtime))
        yield* fs.truncate(`${root}/three.txt`, 2)
        yield* fs.writeFileString(`${root}/three.txt`, "!", { flag: "a" })
        assert.strictEqual(yield* fs.readFileString(`${root}/three.txt`), "Gr!")
        assert.strictEqual(yield* fs.exists(`${root}/none`), false)
        yield* fs.remove(`${root}/a`, { recursive: true })
        assert.strictEqual(yield* fs.exists(`${root}/a`), false)
      })
    )

    it.effect("opens files with each flag, but no link when it must not follow", () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const root = yield* fs.makeTempDirectoryScoped()
        const path = `${root}/a.txt`
        yield* fs.symlink("a.txt", `${root}/link`)
        const flags = ["r", "r+", "w", "wx", "w+", "wx+", "a", "ax", "a+", "ax+"] as const
        const outcomes = Effect.forEach(flags, (flag) =>
          Effect.gen(function* () {
            yield* fs.writeFileString(path, "before")
            if (flag.includes("x")) yield* fs.remove(path)
            const file = yield* fs.open(path, { flag, noFollow: true })
            const written = yield* Effect.isSuccess(file.writeAll(new TextEncoder().encode("now")))
            assert.strictEqual(
              yield* tagOf(Effect.scoped(fs.open(`${root}/link`, { flag, noFollow: true }))),
              flag.includes("x") ? "AlreadyExists" : "BadResource"
            )
            return [flag, written, yield* fs.readFileString(path)]
          })
        )
        assert.deepStrictEqual(yield* Effect.scoped(outcomes), [
          ["r", false, "before"],
          ["r+", true, "nowore"],
          ["w", true, "now"],
          ["wx", true, "now"],
          ["w+", true, "now"],
          ["wx+", true, "now"],
          ["a", true, "beforenow"],
          ["ax", true, "now"],
          ["a+", true, "beforenow"],
          ["ax+", true, "now"]
        ])
      })
    )

    it.effect("opens files, seeks, streams, and closes them with the scope", () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const path = yield* fs.makeTempFileScoped({ suffix: ".txt" })
        assert.isTrue(path.endsWith(".txt"))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const file = yield* fs.open(path, { flag: "w+" })
            yield* file.writeAll(new TextEncoder().encode("0123456789"))
            yield* file.seek(3n, "start")
            assert.strictEqual(new TextDecoder().decode(Option.getOrThrow(yield* file.readAlloc(4))), "3456")
            yield* file.seek(-1n, "current")
            yield* file.write(new TextEncoder().encode("X"))
            yield* file.truncate(8)
            assert.isTrue(Option.isNone(yield* file.readAlloc(4, { position: 100n })))
            assert.strictEqual(Number((yield* file.stat).size), 8)
          })
        )
        const streamed = yield* fs.stream(path, { chunkSize: 3, offset: 2 }).pipe(Stream.decodeText, Stream.mkString)
        assert.strictEqual(streamed, "2345X7")
      })
    )

    it.effect("fails with the same typed errors", () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const root = yield* fs.makeTempDirectoryScoped()
        assert.strictEqual(yield* tagOf(fs.readFile(`${root}/none`)), "NotFound")
        assert.strictEqual(yield* tagOf(fs.makeDirectory(root)), "AlreadyExists")
        assert.strictEqual(yield* tagOf(fs.readFile(root)), "BadResource")
        assert.strictEqual(yield* tagOf(Effect.scoped(fs.open(`${root}/none`))), "NotFound")
        assert.strictEqual(yield* tagOf(fs.truncate(`${root}/none`)), "NotFound")
      })
    )
  })
}

describe("under runSync", () => {
  plain("a program reads and writes files, and cannot watch them", () => {
    const program = Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* fs.makeTempFileScoped()
      yield* fs.writeFileString(path, "in place")
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(fs.watch(path)))).reason._tag, "BadArgument")
      return yield* fs.readFileString(path)
    })
    const text = Effect.runSync(
      Effect.scoped(program).pipe(Effect.provide(SyncEdge.layerFileSystem), Effect.provide(SyncEdge.layer))
    )
    assert.strictEqual(text, "in place")
  })
})
