/** The sandboxes that need nothing but this machine, by the laws of all. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Exit, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { assert, describe, it } from "vitest"
import {
  Agent,
  AgentTool,
  CodeMode,
  FileTools,
  Parallel,
  Runner,
  RunError,
  Sandbox,
  ShellTools,
  TestModel,
  Workspace
} from "troupe"
import * as Copies from "../../../src/layers/sandbox/internal/copies.ts"
import * as MemoryFiles from "../../../src/layers/sandbox/internal/memoryFiles.ts"
import { Engine } from "../../support/codeEngine.ts"
import { commandLaws, filesLaws, groupLaws, linkLaws, output, raceLaws, within } from "../../support/sandboxLaws.ts"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"
import { edges } from "../../support/toolCalls.ts"

let base: string
let root: string
folderOfEachTest((folder) => {
  base = folder
  root = path.join(base, "root")
  fs.mkdirSync(root)
})

const git = (...args: ReadonlyArray<string>) =>
  execFileSync("git", ["-c", "user.name=x", "-c", "user.email=x@x.x", ...args], { cwd: root, encoding: "utf8" })

for (const edge of Object.keys(edges)) {
  describe(`in memory, by ${edge}`, () => {
    filesLaws({ edge, layer: () => Sandbox.layerMemory() })

    it("commands are functions: they see the files, and their failure is an exit code", async () => {
      const layer = () =>
        Sandbox.layerMemory({
          files: { "/a.txt": "one" },
          commands: {
            size: ([file = ""], { files }) => Effect.map(files.readFile(file), ({ length }) => `${length}\n`),
            shout: (_args, { stdin }) => Effect.map(stdin, (text) => ({ stdout: `${text.trim()}!`, exitCode: 4 }))
          }
        })
      const seen = await within({ edge, layer }, ({ processes }) =>
        Effect.all([
          output(processes, ChildProcess.make("size", ["/a.txt"])),
          output(processes, ChildProcess.make("size", ["/none"])),
          output(
            processes,
            ChildProcess.make("size", ["/a.txt"]).pipe(ChildProcess.pipeTo(ChildProcess.make("shout")))
          ),
          Effect.flip(output(processes, ChildProcess.make("rm"))).pipe(Effect.map(({ reason }) => reason._tag))
        ])
      )
      assert.deepStrictEqual(seen, [
        { stdout: "3\n", exitCode: 0 },
        { stdout: "", exitCode: 1 },
        { stdout: "3!", exitCode: 4 },
        "NotFound"
      ])
    })
  })

  describe(`on this machine, by ${edge}`, () => {
    const subject = { edge, layer: () => Sandbox.layerLocal({ root }), root: () => root }
    filesLaws(subject)
    linkLaws(subject)
    commandLaws(subject)
    groupLaws(subject)
    raceLaws(subject)

    it("a snapshot of a repository leaves its index, branch and stash as they are, and has patches", async () => {
      git("init", "-q")
      fs.writeFileSync(path.join(root, "a.txt"), "one\n")
      git("add", "a.txt")
      git("commit", "-qm", "first")
      fs.writeFileSync(path.join(root, "staged.txt"), "staged\n")
      git("add", "staged.txt")
      const before = git("status", "--porcelain")
      const [id, changes] = await within(subject, ({ files, snapshots }) =>
        Effect.gen(function* () {
          const taken = yield* snapshots.take
          yield* files.writeFileString("/a.txt", "two\n")
          const changes = yield* snapshots.diff(taken)
          yield* snapshots.restore(taken, yield* snapshots.take)
          return [taken.id, changes] as const
        })
      )
      assert.match(id, /^git:[0-9a-f]{40}$/)
      assert.deepStrictEqual(
        changes.map(({ change, path }) => `${change} ${path}`),
        ["modified a.txt"]
      )
      assert.include(changes[0]!.patch, "-one\n+two")
      assert.strictEqual(git("status", "--porcelain"), before)
      assert.strictEqual(git("stash", "list"), "")
    })
  })
}

describe("the tools on a sandbox", () => {
  const coder = Agent.make("coder", {
    use: [FileTools.feature({ write: true, deny: ["secret*"] }), ShellTools.feature({ allow: ["count"] })]
  })
  const model = TestModel.layer([
    TestModel.toolCalls(
      { name: "read_file", params: { path: "a.txt" } },
      { name: "read_file", params: { path: "secret.txt" } }
    ),
    TestModel.toolCall("edit_file", { path: "a.txt", find: "one", replace: "two" }),
    TestModel.toolCall("write_file", { path: "../out.txt", content: "x" }),
    TestModel.toolCalls(
      { name: "search_files", params: { query: "two" } },
      { name: "list_files", params: { recursive: true } }
    ),
    TestModel.toolCalls(
      { name: "run_command", params: { command: "count" } },
      { name: "run_command", params: { command: "rm" } }
    ),
    "done"
  ])

  for (const edge of Object.keys(edges)) {
    it(`an agent works in the sandbox that its program provides, by ${edge}`, async () => {
      const memory = Sandbox.layerMemory({
        files: { "/a.txt": "one", "/secret.txt": "hidden" },
        commands: {
          count: (_args, { files }) => Effect.map(files.readDirectory("/"), (names) => `${names.length} files`)
        }
      })
      const run = Effect.gen(function* () {
        const { transcript } = yield* coder.result("Work")
        const { files } = yield* Sandbox.Sandbox
        return { said: JSON.stringify(transcript.content), text: yield* files.readFileString("/a.txt") }
      })
      const exit = await edges[edge]!(run.pipe(Effect.provide([model, memory])))
      if (Exit.isFailure(exit)) assert.fail(String(exit.cause))
      const { said, text } = exit.value
      assert.strictEqual(text, "two")
      assert.notInclude(said, "hidden")
      for (const part of ["the tools may not use it", "outside of the directory", "2 files", "it is not allowed"]) {
        assert.include(said, part)
      }
    })
  }

  it("the event of a call says where its tool works and what that keeps apart, in programs and nested runs too", async () => {
    const says = AgentTool.fromFunction("says", { description: "Says", execute: () => "said" })
    const turn = (name: string, params: object) => TestModel.layer([TestModel.toolCall(name, params), "done"])
    const reader = Agent.make("reader", { description: "Reads", use: [FileTools.feature()] }).pipe(
      Runner.provide(Sandbox.layerMemory()),
      Runner.provide(turn("list_files", {}))
    )
    const coder = Agent.make("coder", { use: [CodeMode.feature([says, reader, FileTools.feature()])] })
    const program = `await tools.says(); await tools.reader({ input: "" }); await tools.list_files({})`
    const events = await Effect.runPromise(
      Stream.runCollect(coder.stream("go")).pipe(
        Effect.provide([turn("run_program", { program }), Engine, Sandbox.layerLocal({ root })])
      )
    )
    const called = events.flatMap((event) => (event._tag === "ToolCalled" ? [[event.tool, event.sandbox]] : []))
    const isolates = (files: boolean) => ({ files, network: files, processes: files })
    assert.deepStrictEqual(called, [
      ["run_program", undefined],
      ["says", undefined],
      ["reader", undefined],
      ["list_files", { name: "memory", isolates: isolates(true) }],
      ["list_files", { name: "local", isolates: isolates(false) }]
    ])
  })

  it("a feature with a pattern that cannot be used, and a workspace that is not there, are refused", () => {
    assert.throws(() => FileTools.feature({ deny: [`{${"a,".repeat(70)}b}`] }), RunError.InvalidDefinition)
    const exit = Effect.runSyncExit(
      Effect.provide(Sandbox.Sandbox, Sandbox.layerLocal({ root: path.join(base, "none") }))
    )
    assert.isTrue(Exit.isFailure(exit))
  })
})

it("snapshots that do not fit are not kept in part", async () => {
  const take = (text: string) =>
    Effect.andThen(files.writeFileString("/a.txt", text), Effect.exit(Effect.suspend(() => snapshots.take)))
  const files = MemoryFiles.make({})
  const snapshots = Copies.make(files, 10)
  const taken = await Effect.runPromise(Effect.forEach(["four", "too much", "five!"], take))
  assert.deepStrictEqual(taken.map(Exit.isSuccess), [true, false, true])
})

it("a directory is not copied to where nothing may be written", async () => {
  const exists = await within({ edge: "runPromise", layer: () => Sandbox.layerMemory() }, ({ files }) =>
    Effect.gen(function* () {
      yield* files.makeDirectory("/hooks")
      yield* Effect.exit(files.copy("/hooks", "/.git/hooks"))
      return yield* files.exists("/.git")
    })
  )
  assert.isFalse(exists)
})

it("each change of a repository has its own patch, and none where not all of it was read", async () => {
  git("init", "-q")
  for (const name of ["a.txt", "b.txt", "z.txt"]) fs.writeFileSync(path.join(root, name), "one\n")
  const diffAfter = (work: () => void) =>
    within({ edge: "runPromise", layer: () => Sandbox.layerLocal({ root }) }, ({ snapshots }) =>
      Effect.gen(function* () {
        const taken = yield* snapshots.take
        work()
        return yield* snapshots.diff(taken)
      })
    )
  const linked = await diffAfter(() => {
    fs.rmSync(path.join(root, "a.txt"))
    fs.symlinkSync("z.txt", path.join(root, "a.txt"))
    fs.writeFileSync(path.join(root, "b.txt"), "two\n")
  })
  assert.deepStrictEqual(
    linked.map((one) => [one.path, one.patch?.match(/^diff --git .*$/gm)]),
    [
      ["a.txt", ["diff --git a/a.txt b/a.txt", "diff --git a/a.txt b/a.txt"]],
      ["b.txt", ["diff --git a/b.txt b/b.txt"]]
    ]
  )
  const large = await diffAfter(() => {
    fs.writeFileSync(path.join(root, "b.txt"), "three\n")
    fs.writeFileSync(path.join(root, "c.txt"), "line\n".repeat(1_000_000))
    fs.writeFileSync(path.join(root, "z.txt"), "two\n")
  })
  assert.deepStrictEqual(
    large.map((one) => [one.path, one.patch === undefined]),
    [
      ["b.txt", false],
      ["c.txt", true],
      ["z.txt", true]
    ]
  )
})

it("two agents at once have each a tree of their own, and a snapshot of one can be restored in another", async () => {
  git("init", "-q")
  fs.writeFileSync(path.join(root, "a.txt"), "one\n")
  git("add", "-A")
  git("commit", "-qm", "first")
  const noted: Array<Workspace.Snapshot> = []
  const coder = (name: string) =>
    Runner.make(name, {
      run: () =>
        Effect.gen(function* () {
          const { files, info } = yield* Sandbox.Sandbox
          yield* files.writeFileString("/a.txt", `${name}\n`)
          yield* Effect.sleep(20)
          noted.push(yield* Workspace.snapshot)
          return { text: yield* files.readFileString("/a.txt"), cwd: info.cwd }
        })
    }).pipe(Runner.provide(Sandbox.worktree({ repository: root })))
  const seen = await Effect.runPromise(
    Parallel.make("both", { left: coder("left"), right: coder("right") }).run(undefined)
  )
  assert.deepStrictEqual([seen.left.text, seen.right.text], ["left\n", "right\n"])
  assert.notStrictEqual(seen.left.cwd, seen.right.cwd)
  assert.deepStrictEqual([fs.existsSync(seen.left.cwd), git("worktree", "list").trim().split("\n").length], [false, 1])
  assert.strictEqual(git("status", "--porcelain"), "")
  const restored = Workspace.restore(noted[0]!, { approved: true }).pipe(Effect.provide(Sandbox.layerLocal({ root })))
  await Effect.runPromise(restored)
  assert.match(fs.readFileSync(path.join(root, "a.txt"), "utf8"), /^(left|right)\n$/)
})
