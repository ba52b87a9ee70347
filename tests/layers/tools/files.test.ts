/** The file tools, mostly against those who want out of the directory. */
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import nodeFs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import * as net from "node:net"
import * as path from "node:path"
import { Effect, Exit } from "effect"
import type { Tool } from "effect/ai"
import { assert, describe, it } from "vitest"
import { Agent, FileTools, Parallel, Runner, RunError, SyncEdge, TestModel } from "troupe"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"
import { call, caller, edges } from "../../support/toolCalls.ts"

let base: string
let root: string
let secret: string
folderOfEachTest((folder) => {
  base = folder
  root = path.join(base, "root")
  fs.mkdirSync(path.join(root, "src/deep"), { recursive: true })
  secret = path.join(base, "secret.txt")
  fs.writeFileSync(secret, "the secret")
  fs.writeFileSync(path.join(root, "a.txt"), "one\ntwo\nthree")
  fs.writeFileSync(path.join(root, "src/b.ts"), "const Llama = 1\nconst b = 2\n")
  fs.writeFileSync(path.join(root, "src/deep/c.ts"), "// llama\n")
  fs.mkdirSync(path.join(root, "node_modules"))
  fs.writeFileSync(path.join(root, "node_modules/x.ts"), "llama")
})
const put = (file: string, content: string | Uint8Array) => fs.writeFileSync(path.join(root, file), content)
const get = (file: string) => fs.readFileSync(path.join(root, file), "utf8")

for (const edge of Object.keys(edges)) {
  const tools = (options: Partial<FileTools.Options> = {}) =>
    caller(FileTools.writableToolkit, FileTools.layer({ root, ...options }), edge)

  describe(`by ${edge}`, () => {
    it("lists a directory, or everything below it, links listed and not followed", async () => {
      fs.symlinkSync(base, path.join(root, "src/up"))
      assert.deepStrictEqual(await tools().ok("list_files", {}), {
        entries: [
          { path: "a.txt", type: "file" },
          { path: "src", type: "directory" }
        ],
        truncated: false
      })
      const { entries } = await tools().ok("list_files", { path: "src", recursive: true })
      assert.deepStrictEqual(entries, [
        { path: "src/b.ts", type: "file" },
        { path: "src/deep", type: "directory" },
        { path: "src/up", type: "link" },
        { path: "src/deep/c.ts", type: "file" }
      ])
      const matched = await tools().ok("list_files", { recursive: true, pattern: "*.ts" })
      assert.deepStrictEqual(
        (matched["entries"] as ReadonlyArray<{ readonly path: string }>).map((entry) => entry.path),
        ["src/b.ts", "src/deep/c.ts"]
      )
      const below = await tools().ok("list_files", { recursive: true, pattern: "src/**/c.*" })
      assert.deepStrictEqual(below["entries"], [{ path: "src/deep/c.ts", type: "file" }])
    })

    it.skipIf(process.platform === "win32")("keeps who may read and write a file", async () => {
      fs.chmodSync(path.join(root, "a.txt"), 0o666)
      await tools().ok("edit_file", { path: "a.txt", find: "two", replace: "2" })
      assert.strictEqual(fs.statSync(path.join(root, "a.txt")).mode & 0o777, 0o666)
    })

    it("reads a file, or some lines, and says what is left", async () => {
      assert.deepStrictEqual(await tools().ok("read_file", { path: "./src/../a.txt" }), {
        content: "one\ntwo\nthree",
        from: 1,
        to: 3,
        totalLines: 3,
        truncated: false
      })
      const part = { content: "two", from: 2, to: 2, totalLines: 3, truncated: true }
      assert.deepStrictEqual(await tools().ok("read_file", { path: "a.txt", from: 2, lines: 1 }), part)
      const short = await tools({ maxReadChars: 8 }).ok("read_file", { path: "a.txt" })
      assert.deepStrictEqual([short["content"], short["to"], short["truncated"]], ["one\ntwo", 2, true])
      put("long.txt", "x".repeat(100))
      const cut = await tools({ maxReadChars: 8 }).ok("read_file", { path: "long.txt" })
      assert.deepStrictEqual([cut["content"], cut["truncated"]], ["xxxxxxxx", true])
    })

    it("shows lines of Windows as lines, finds them, and keeps their ends when it edits", async () => {
      put("win.txt", "one\r\ntwo\r\nthree\r\n")
      assert.include(await tools().ok("read_file", { path: "win.txt", from: 2, lines: 1 }), { content: "two" })
      assert.include(await tools().ok("read_file", { path: "win.txt" }), {
        content: "one\ntwo\nthree\n",
        totalLines: 4
      })
      const found = await tools().ok("search_files", { query: "o$", regex: true, path: "win.txt" })
      assert.deepStrictEqual(found["matches"], [{ path: "win.txt", line: 2, text: "two" }])
      const { ok } = tools()
      assert.deepStrictEqual(await ok("edit_file", { path: "win.txt", find: "one\ntwo", replace: "1\n2" }), {
        replaced: 1
      })
      assert.deepStrictEqual(await ok("edit_file", { path: "win.txt", find: "three", replace: "3\n4" }), {
        replaced: 1
      })
      assert.strictEqual(get("win.txt"), "1\r\n2\r\n3\r\n4\r\n")
      put("mixed.txt", "one\r\ntwo\nthree\n")
      await ok("edit_file", { path: "mixed.txt", find: "one\ntwo", replace: "1" })
      assert.strictEqual(get("mixed.txt"), "one\r\ntwo\nthree\n".replace("one\r\ntwo", "1"))
    })

    it("shows no character that cannot be seen, and edits what it has shown", async () => {
      put("odd.txt", "\u001b[31mkeep\u001b[0m\u2060\na\u202eb\u{e0041}c\ntail\u200b\nodd a\u2060bc tail\n")
      assert.include(await tools().ok("read_file", { path: "odd.txt" }), { content: "keep\nabc\ntail\nodd abc tail\n" })
      const found = await tools().ok("search_files", { query: "c", path: "odd.txt" })
      assert.deepStrictEqual(found["matches"], [
        { path: "odd.txt", line: 2, text: "abc" },
        { path: "odd.txt", line: 4, text: "odd abc tail" }
      ])
      assert.deepStrictEqual(await tools().ok("edit_file", { path: "odd.txt", find: "bc\nt", replace: "x" }), {
        replaced: 1
      })
      assert.strictEqual(get("odd.txt"), "\u001b[31mkeep\u001b[0m\u2060\naxail\nodd a\u2060bc tail\n")
      const twice = { path: "odd.txt", find: "a", replace: "A", all: true }
      assert.deepStrictEqual(await tools().ok("edit_file", twice), { replaced: 4 })
      assert.strictEqual(get("odd.txt"), "\u001b[31mkeep\u001b[0m\u2060\nAxAil\nodd A\u2060bc tAil\n")
    })

    it("finds lines by text and by expression", async () => {
      const found = await tools().ok("search_files", { query: "llama", ignoreCase: true })
      assert.deepStrictEqual(found, {
        matches: [
          { path: "src/b.ts", line: 1, text: "const Llama = 1" },
          { path: "src/deep/c.ts", line: 1, text: "// llama" }
        ],
        truncated: false
      })
      const byRegex = await tools().ok("search_files", { query: "^const \\w+ = [2-9]", regex: true, pattern: "*.ts" })
      assert.deepStrictEqual(byRegex["matches"], [{ path: "src/b.ts", line: 2, text: "const b = 2" }])
      assert.deepStrictEqual((await tools().ok("search_files", { query: "llama", path: "src/deep" }))["matches"], [
        { path: "src/deep/c.ts", line: 1, text: "// llama" }
      ])
    })

    it("finds lines in one file", async () => {
      const found = await tools().ok("search_files", { query: "t", path: "a.txt" })
      assert.deepStrictEqual(found["matches"], [
        { path: "a.txt", line: 2, text: "two" },
        { path: "a.txt", line: 3, text: "three" }
      ])
      assert.strictEqual((await tools().fails("search_files", { query: "t", path: "absent" }))["reason"], "NotFound")
    })

    it("a file that was asked for by name and cannot be searched is not reported as a file without matches", async () => {
      put("binary.bin", Buffer.from([1, 0, 2]))
      put("large.txt", "llama\n".repeat(100))
      const search = (path: string) => tools({ maxFileBytes: 100 }).fails("search_files", { query: "llama", path })
      assert.strictEqual((await search("binary.bin"))["reason"], "Binary")
      assert.strictEqual((await search("large.txt"))["reason"], "TooLarge")
      assert.strictEqual((await search("no.txt"))["reason"], "NotFound")
      execFileSync("mkfifo", [path.join(root, "queue")])
      assert.strictEqual((await search("queue"))["reason"], "WrongKind")
    })

    it("an expression that explodes elsewhere, and one that cannot be used", async () => {
      put("evil.txt", `${"a".repeat(50_000)}!`)
      const none = await tools().ok("search_files", { query: "(a+)+$", regex: true, pattern: "evil.txt" })
      assert.deepStrictEqual(none["matches"], [])
      const refused = await tools().fails("search_files", { query: "a(?=b)", regex: true })
      assert.strictEqual(refused["reason"], "Pattern")
      assert.strictEqual((await tools().fails("search_files", { query: "(", regex: true }))["reason"], "Pattern")
    }, 60_000)

    it("an expression or a glob that costs too much is refused, and a long line is searched in part", async () => {
      put("line.txt", `${"a".repeat(1_000_000)}!`)
      for (const query of ["(a?){900}[b-c]", "(a{0,30}){0,30}[b-c]"]) {
        const refused = await tools().fails("search_files", { query, regex: true })
        assert.strictEqual(refused["reason"], "Pattern")
      }
      const found = await tools().ok("search_files", { query: "(a?){20}[!b]", regex: true, pattern: "line.txt" })
      assert.deepStrictEqual(found, { matches: [], truncated: true })
      const plain = await tools().ok("search_files", { query: "!", pattern: "line.txt" })
      assert.strictEqual((plain["matches"] as ReadonlyArray<unknown>).length, 1)
      for (const name of ["list_files", "search_files"] as const) {
        const refused = await tools().fails(name, { query: "llama", pattern: "{*a*,*b*}".repeat(13) })
        assert.strictEqual(refused["reason"], "Pattern")
      }
      const nested = await tools().ok("list_files", { pattern: "{a,b{c,\\{},{d.{txt,md}}}.t{x,\\,{s,}}t" })
      assert.deepStrictEqual(nested["entries"], [{ path: "a.txt", type: "file" }])
    })

    it("stops at its limits and says so", async () => {
      put("many.txt", "hit\n".repeat(1000))
      const found = await tools().ok("search_files", { query: "hit" })
      assert.strictEqual((found["matches"] as ReadonlyArray<unknown>).length, 200)
      assert.isTrue(found["truncated"])
      fs.mkdirSync(path.join(root, "many"))
      for (let n = 0; n < 1001; n++) put(`many/${n}`, "")
      const listed = await tools().ok("list_files", { path: "many" })
      assert.strictEqual((listed["entries"] as ReadonlyArray<unknown>).length, 1000)
      assert.isTrue(listed["truncated"])
      put("wide.txt", `${"x".repeat(10_000)}needle${"y".repeat(10_000)}`)
      const wide = await tools().ok("search_files", { query: "needle" })
      const [match] = wide["matches"] as ReadonlyArray<{ readonly text: string }>
      assert.include(match!.text, "needle")
      assert.isBelow(match!.text.length, 400)
    })

    it("writes a file with its directories, replaces one in a step, and keeps its mode", async () => {
      assert.deepStrictEqual(await tools().ok("write_file", { path: "new/dir/x.txt", content: "hello" }), {
        created: true
      })
      assert.strictEqual(get("new/dir/x.txt"), "hello")
      fs.chmodSync(path.join(root, "a.txt"), 0o600)
      assert.deepStrictEqual(await tools().ok("write_file", { path: "a.txt", content: "" }), { created: false })
      assert.strictEqual(get("a.txt"), "")
      assert.strictEqual(fs.statSync(path.join(root, "a.txt")).mode & 0o777, 0o600)
      // Nothing is left of the way it was written.
      assert.deepStrictEqual(fs.readdirSync(path.join(root, "new/dir")), ["x.txt"])
    })

    it("edits what is there once, or all of it when asked", async () => {
      assert.deepStrictEqual(await tools().ok("edit_file", { path: "a.txt", find: "two", replace: "$& 2" }), {
        replaced: 1
      })
      assert.strictEqual(get("a.txt"), "one\n$& 2\nthree")
      const twice = await tools().fails("edit_file", { path: "a.txt", find: "e", replace: "E" })
      assert.deepStrictEqual([twice["_tag"], twice["reason"]], ["FileToolError", "Ambiguous"])
      assert.deepStrictEqual(await tools().ok("edit_file", { path: "a.txt", find: "e", replace: "E", all: true }), {
        replaced: 3
      })
      const absent = await tools().fails("edit_file", { path: "a.txt", find: "absent", replace: "" })
      assert.strictEqual(absent["reason"], "NotFound")
    })

    it("an edit whose result no text could hold is refused", async () => {
      put("big.txt", "a".repeat(1_000_000))
      const refused = await tools().fails("edit_file", {
        path: "big.txt",
        find: "a",
        replace: "b".repeat(1000),
        all: true
      })
      assert.strictEqual(refused["reason"], "TooLarge")
      assert.include(String(refused["detail"]), "1000000000 bytes")
      assert.strictEqual(get("big.txt").length, 1_000_000)
    })

    it("refuses every way out by name, for every tool", async () => {
      const ways = [
        "../secret.txt",
        "src/../../secret.txt",
        "..",
        "src/deep/../../../secret.txt",
        secret,
        "/etc/passwd",
        "C:\\Windows\\win.ini",
        "\\\\server\\share",
        "c:x",
        "a.txt\0.png",
        "\0"
      ]
      for (const way of ways) {
        const calls = {
          list_files: { path: way },
          read_file: { path: way },
          search_files: { path: way, query: "e" },
          write_file: { path: way, content: "owned" },
          edit_file: { path: way, find: "secret", replace: "owned" }
        }
        for (const [name, params] of Object.entries(calls)) {
          const refused = await tools().fails(name as keyof typeof calls, params)
          assert.strictEqual(refused["reason"], "Outside", `${name} ${JSON.stringify(way)}`)
        }
      }
      assert.strictEqual(fs.readFileSync(secret, "utf8"), "the secret")
      assert.deepStrictEqual(fs.readdirSync(base).toSorted(), ["root", "secret.txt"])
    })

    it("refuses links that lead out, and reads through those that do not", async () => {
      fs.symlinkSync(secret, path.join(root, "link.txt"))
      fs.symlinkSync(base, path.join(root, "up"))
      fs.symlinkSync("..", path.join(root, "src/parent"))
      fs.symlinkSync(path.join(base, "not-yet.txt"), path.join(root, "dangling"))
      fs.symlinkSync(path.join(base, "nowhere"), path.join(root, "gone"))
      for (const out of ["link.txt", "up/secret.txt", "src/parent/link.txt"]) {
        assert.strictEqual((await tools().fails("read_file", { path: out }))["reason"], "Outside", out)
        const write = await tools().fails("write_file", { path: out, content: "owned" })
        assert.strictEqual(write["reason"], "Outside", out)
      }
      assert.strictEqual((await tools().fails("list_files", { path: "up" }))["reason"], "Outside")
      for (const out of ["dangling", "gone/x.txt"]) {
        const refused = await tools().fails("write_file", { path: out, content: "owned" })
        assert.include(["Outside", "WrongKind"], refused["reason"], out)
      }
      assert.strictEqual(fs.readFileSync(secret, "utf8"), "the secret")
      assert.deepStrictEqual(fs.readdirSync(base).toSorted(), ["root", "secret.txt"])
      const found = await tools().ok("search_files", { query: "secret" })
      assert.deepStrictEqual(found["matches"], [])
      assert.include(await tools().ok("read_file", { path: "src/parent/a.txt" }), { content: "one\ntwo\nthree" })
      const circle = path.join(root, "circle")
      fs.symlinkSync(circle, circle)
      assert.strictEqual((await tools().fails("read_file", { path: "circle" }))["reason"], "Outside")
    })

    it("a file outside that is hard-linked inside is not written", async () => {
      fs.linkSync(secret, path.join(root, "hard.txt"))
      await tools().ok("write_file", { path: "hard.txt", content: "owned" })
      assert.strictEqual(fs.readFileSync(secret, "utf8"), "the secret")
    })

    it("never waits for a pipe, and takes no device, socket, directory, binary or huge file", async () => {
      execFileSync("mkfifo", [path.join(root, "pipe")])
      // By a short name: the path of a socket may have 107 bytes, and that of a temporary directory may have more.
      const cwd = process.cwd()
      process.chdir(root)
      const server = net.createServer().listen("socket")
      try {
        await once(server, "listening")
        assert.strictEqual((await tools().fails("read_file", { path: "pipe" }))["reason"], "WrongKind")
        // A server in the process would be blocked, which the sync edge refuses; these tools wait for nothing.
        assert.isString((await tools().fails("read_file", { path: "socket" }))["reason"])
      } finally {
        server.close()
        process.chdir(cwd)
      }
      assert.strictEqual((await tools().fails("write_file", { path: "pipe", content: "x" }))["reason"], "WrongKind")
      assert.strictEqual((await tools().fails("read_file", { path: "src" }))["reason"], "WrongKind")
      assert.strictEqual((await tools().fails("read_file", { path: "." }))["reason"], "WrongKind")
      assert.strictEqual((await tools().fails("write_file", { path: "src", content: "x" }))["reason"], "WrongKind")
      assert.strictEqual((await tools().fails("read_file", { path: "a.txt/b" }))["reason"], "WrongKind")
      assert.strictEqual((await tools().fails("list_files", { path: "a.txt" }))["reason"], "WrongKind")
      assert.strictEqual((await tools().fails("read_file", { path: "absent" }))["reason"], "NotFound")
      put("zero.bin", new Uint8Array([65, 0, 66]))
      put("latin.txt", new Uint8Array([65, 0xe9, 66]))
      assert.strictEqual((await tools().fails("read_file", { path: "zero.bin" }))["reason"], "Binary")
      assert.strictEqual((await tools().fails("read_file", { path: "latin.txt" }))["reason"], "Binary")
      fs.truncateSync(path.join(root, "a.txt"), 2 ** 33)
      assert.strictEqual((await tools().fails("read_file", { path: "a.txt" }))["reason"], "TooLarge")
      const big = await tools({ maxFileBytes: 10 }).fails("write_file", { path: "b.txt", content: "é".repeat(6) })
      assert.strictEqual(big["reason"], "TooLarge")
      assert.strictEqual((await tools().fails("read_file", { path: "x".repeat(4000) }))["reason"], "System")
      // Searching goes past all of them.
      assert.deepStrictEqual((await tools().ok("search_files", { query: "B", pattern: "*.bin" }))["matches"], [])
    })

    it("shows no path of the machine", async () => {
      fs.symlinkSync(secret, path.join(root, "link.txt"))
      for (const file of ["link.txt", "absent", "src", "../x", "a.txt/b"]) {
        assert.notInclude(JSON.stringify(await tools().fails("read_file", { path: file })), base)
      }
    })

    it("a directory that is exchanged for a link at any moment leads nowhere", async () => {
      let moments = 0
      for (const name of ["read_file", "write_file", "list_files", "search_files"] as const) {
        for (let moment = 0, exchanged = true; exchanged; moment++) {
          fs.rmSync(path.join(root, "swap"), { recursive: true, force: true })
          fs.rmSync(path.join(root, "aside"), { recursive: true, force: true })
          fs.mkdirSync(path.join(root, "swap"))
          put("swap/secret.txt", "harmless")
          const hooked = hook(moment, () => {
            fs.renameSync(path.join(root, "swap"), path.join(root, "aside"))
            fs.symlinkSync(base, path.join(root, "swap"))
          })
          const params = {
            read_file: { path: "swap/secret.txt" },
            write_file: { path: "swap/written.txt", content: "x" },
            list_files: { path: "swap", recursive: true },
            search_files: { path: "swap", query: "the secret" }
          }
          const exit = await edges[edge]!(
            Effect.provide(call(FileTools.writableToolkit, name, params[name]), FileTools.layer({ root }))
          )
          exchanged = hooked()
          assert.isTrue(Exit.isSuccess(exit))
          const answer = Exit.isSuccess(exit) ? JSON.stringify(exit.value) : ""
          assert.notMatch(answer, /"the secret|the secret"|root\/src/, `${name}, exchanged after call ${moment}`)
          assert.isFalse(fs.existsSync(path.join(base, "written.txt")), `exchanged after call ${moment}`)
          moments++
        }
      }
      assert.isAbove(moments, 20)
    })
  })
}

/** Does something after the nth call into `node:fs`. What it gives puts everything back, and says whether it was done. */
const hook = (moment: number, act: () => void): (() => boolean) => {
  const names = [
    "realpathSync",
    "openSync",
    "fstatSync",
    "lstatSync",
    "opendirSync",
    "mkdirSync",
    "renameSync"
  ] as const
  const all = nodeFs as unknown as Record<string, unknown>
  const before = Object.fromEntries(names.map((name) => [name, all[name]]))
  let calls = 0
  let done = false
  const restore = () => {
    Object.assign(all, before)
    syncBuiltinESMExports()
    return done
  }
  for (const name of names) {
    all[name] = (...args: ReadonlyArray<unknown>) => {
      try {
        return (before[name] as (...args: ReadonlyArray<unknown>) => unknown)(...args)
      } finally {
        if (calls++ === moment) {
          restore()
          done = true
          act()
        }
      }
    }
  }
  syncBuiltinESMExports()
  return restore
}

it("two agents with Layers of their own have each their root", async () => {
  const reader = (name: string, at: string) =>
    Runner.provide(Agent.make(name, { toolkit: FileTools.toolkit }), FileTools.layer({ root: at }))
  const both = Parallel.make("both", { one: reader("one", path.join(root, "src")), two: reader("two", root) })
  const asked = new Set<string>()
  const Model = TestModel.layer(({ prompt }) => {
    const answer = JSON.stringify(prompt.content.at(-1))
    if (!answer.includes("tool-result")) return TestModel.toolCall("list_files", {})
    asked.add(answer)
    return answer.includes("a.txt") ? "the root" : "its src"
  })
  const output = await Effect.runPromise(both.run("list").pipe(Effect.provide(Model)))
  assert.deepStrictEqual(output, { one: "its src", two: "the root" })
  assert.strictEqual(asked.size, 2)
})

describe("the Layer", () => {
  it("fails for a root that is not a directory", () => {
    for (const bad of [path.join(base, "absent"), secret]) {
      const exit = Effect.runSyncExit(
        Effect.provide(call(FileTools.toolkit, "list_files", {}), FileTools.layer({ root: bad }))
      )
      const error = Exit.findError(exit)
      assert.instanceOf(error._tag === "Success" ? error.success : undefined, RunError.InvalidDefinition)
    }
  })

  it("does not give a model tools that its toolkit does not have", () => {
    assert.deepStrictEqual(Object.keys(FileTools.toolkit.tools), ["list_files", "read_file", "search_files"])
    const offered: Array<string> = []
    const model = TestModel.layer(({ tools }) => {
      offered.push(...tools)
      return "done"
    })
    const agent = Agent.make("agent", { toolkit: FileTools.toolkit })
    const program = agent.run("What is there?").pipe(Effect.provide([model, FileTools.layer({ root })]))
    assert.strictEqual(Effect.runSync(program), "done")
    assert.deepStrictEqual(offered, ["list_files", "read_file", "search_files"])
  })

  it("lets others have their turn while it goes past files that are not text", async () => {
    fs.mkdirSync(path.join(root, "many"))
    for (let n = 0; n < 640; n++) put(`many/${n}.bin`, new Uint8Array([0]))
    let turns = 0
    const others = Effect.forever(Effect.andThen(Effect.yieldNow, () => Effect.sync(() => turns++)))
    const walked = call(FileTools.toolkit, "list_files", { path: "many", recursive: true })
    const searched = call(FileTools.toolkit, "search_files", { path: "many", query: "x" })
    const count = async (work: Effect.Effect<unknown, unknown, Tool.HandlersFor<typeof FileTools.toolkit.tools>>) => {
      turns = 0
      await Effect.runPromise(Effect.raceFirst(work, others).pipe(Effect.provide(FileTools.layer({ root }))))
      return turns
    }
    assert.isAtLeast(await count(searched), (await count(walked)) + 10)
  })

  it("leaves no file open", () => {
    const open = () => fs.readdirSync("/dev/fd").length
    const before = open()
    const program = Effect.gen(function* () {
      yield* call(FileTools.writableToolkit, "search_files", { query: "llama" })
      for (const bad of ["absent", "src/absent/x", "../x", "a.txt/b", "src"]) {
        yield* call(FileTools.writableToolkit, "read_file", { path: bad })
        yield* call(FileTools.writableToolkit, "write_file", { path: bad === "absent" ? "ok" : bad, content: "" })
      }
    })
    Effect.runSync(program.pipe(Effect.provide(FileTools.layer({ root })), Effect.provide(SyncEdge.layer)))
    assert.strictEqual(open(), before)
  })
})
