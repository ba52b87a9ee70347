/** What is true of every sandbox, at every edge that it has. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Exit, Fiber, type Layer, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { assert, it } from "vitest"
import { Agent, type RunError, Sandbox, ShellTools, TestModel } from "troupe"
import { edges } from "./toolCalls.ts"

/** A sandbox under test. */
export interface Subject {
  readonly layer: () => Layer.Layer<Sandbox.Sandbox, RunError.InvalidDefinition>
  readonly edge: keyof typeof edges
  /** The workspace, where it is a directory of this machine. */
  readonly root?: () => string
}

/** Uses the sandbox at its edge; gives what it succeeds with. */
export const within = async <A, E>(
  { edge, layer }: Subject,
  use: (sandbox: Sandbox.Service) => Effect.Effect<A, E>
): Promise<A> => {
  const exit = await edges[edge]!(Effect.flatMap(Sandbox.Sandbox, use).pipe(Effect.provide(layer())))
  return Exit.isSuccess(exit) ? exit.value : assert.fail(String(exit.cause))
}

const refused = <A>(effect: Effect.Effect<A, { readonly reason: { readonly _tag: string } }>) =>
  Effect.match(effect, { onFailure: ({ reason }) => reason._tag, onSuccess: () => "allowed" })

/** What a command wrote, and how it ended. */
export const output = (processes: Sandbox.Service["processes"], command: ChildProcess.Command) =>
  Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* processes.spawn(command)
      const stdout = yield* Stream.mkString(Stream.decodeText(handle.stdout))
      return { stdout, exitCode: Number(yield* handle.exitCode) }
    })
  )

/** Laws of files. */
export const filesLaws = (subject: Subject): void => {
  it("what is written is read, listed, renamed, copied and removed", async () => {
    const seen = await within(subject, ({ files }) =>
      Effect.gen(function* () {
        yield* files.writeFileString("/sub/a.txt", "one")
        yield* files.writeFileString("sub/a.txt", " two", { flag: "a" })
        yield* files.copy("/sub", "/copy")
        yield* files.rename("/sub/a.txt", "/b.txt")
        const names = (yield* files.readDirectoryEntries("/")).map(({ name, type }) => `${type} ${name}`).sort()
        const text = yield* files.readFileString("/b.txt")
        const { size, type } = yield* files.stat("/b.txt")
        yield* files.remove("/copy", { recursive: true })
        const left = [yield* files.exists("/copy/a.txt"), yield* files.exists("/sub/a.txt")]
        return { names, text, size: Number(size), type, left }
      })
    )
    assert.deepStrictEqual(seen, {
      names: ["Directory copy", "Directory sub", "File b.txt"],
      text: "one two",
      size: 7,
      type: "File",
      left: [false, false]
    })
  })

  it("a new file is refused where one is, and one that is not there is said to be missing", async () => {
    const answers = await within(subject, ({ files }) =>
      Effect.gen(function* () {
        yield* files.writeFileString("/a.txt", "one")
        return [
          yield* refused(files.writeFileString("/a.txt", "two", { flag: "wx" })),
          yield* refused(files.readFile("/none.txt")),
          yield* refused(files.remove("/none.txt")),
          yield* refused(files.rename("/none.txt", "/b.txt")),
          yield* files.readFileString("/a.txt")
        ]
      })
    )
    assert.deepStrictEqual(answers, ["AlreadyExists", "NotFound", "NotFound", "NotFound", "one"])
  })

  it("no path leads out of the workspace", async () => {
    const answers = await within(subject, ({ files }) =>
      Effect.forEach(["/../outside.txt", "../../etc/passwd", "/a/../../x", "/a\0b"], (path) =>
        Effect.all([
          refused(files.readFile(path)),
          refused(files.writeFileString(path, "x")),
          refused(files.remove(path))
        ])
      )
    )
    assert.deepStrictEqual([...new Set(answers.flat())], ["PermissionDenied"])
  })

  it("nothing is written below a .git, by any of the ways to write", async () => {
    const answers = await within(subject, ({ files }) =>
      Effect.gen(function* () {
        yield* files.writeFileString("/a.txt", "one")
        return yield* Effect.all([
          refused(files.writeFileString("/.git/config", "x")),
          refused(files.writeFileString("/sub/.GIT/hooks/pre-commit", "x", { flag: "a" })),
          refused(files.makeDirectory("/.git", { recursive: true })),
          refused(files.rename("/a.txt", "/.git/config")),
          refused(files.copyFile("/a.txt", "/.git/config")),
          refused(files.remove("/.git", { recursive: true })),
          refused(files.chmod("/.git/config", 0o777))
        ])
      })
    )
    assert.deepStrictEqual([...new Set(answers)], ["PermissionDenied"])
  })

  it("a snapshot is compared and restored, and refused when the files were changed meanwhile", async () => {
    const seen = await within(subject, ({ files, snapshots }) =>
      Effect.gen(function* () {
        yield* files.writeFileString("/keep.txt", "one\n")
        yield* files.writeFileString("/gone.txt", "here\n")
        const before = yield* snapshots.take
        yield* files.writeFileString("/keep.txt", "two\n")
        yield* files.writeFileString("/new/file.txt", "new\n")
        yield* files.remove("/gone.txt")
        const after = yield* snapshots.take
        const changes = (yield* snapshots.diff(before)).map(({ change, path }) => `${change} ${path}`)
        yield* files.writeFileString("/person.txt", "mine\n")
        const refusal = yield* Effect.flip(snapshots.restore(before, after))
        const kept = yield* files.readFileString("/keep.txt")
        yield* files.remove("/person.txt")
        yield* snapshots.restore(before, after)
        const restored = [yield* files.readFileString("/keep.txt"), yield* files.readFileString("/gone.txt")]
        const unknown = yield* Effect.flip(snapshots.restore({ id: "none" }, before))
        return {
          changes,
          refusal: [refusal.reason, ...(refusal.paths ?? [])],
          kept,
          restored,
          left: yield* files.exists("/new/file.txt"),
          again: (yield* snapshots.take).id === before.id,
          unknown: unknown.reason
        }
      })
    )
    assert.deepStrictEqual(seen, {
      changes: ["removed gone.txt", "modified keep.txt", "added new/file.txt"],
      refusal: ["Changed", "person.txt"],
      kept: "two\n",
      restored: ["one\n", "here\n"],
      left: false,
      again: true,
      unknown: "Unknown"
    })
  })
}

/** Laws of files that are on a disk where links are. */
export const linkLaws = (subject: Subject & { readonly root: () => string }): void => {
  it("a link out of the workspace is neither read, nor written through, nor followed when it is removed", async () => {
    const outside = path.join(path.dirname(subject.root()), "outside")
    fs.mkdirSync(outside)
    fs.writeFileSync(path.join(outside, "secret.txt"), "the secret")
    fs.symlinkSync(outside, path.join(subject.root(), "way"))
    fs.symlinkSync(path.join(outside, "secret.txt"), path.join(subject.root(), "file.txt"))
    fs.linkSync(path.join(outside, "secret.txt"), path.join(subject.root(), "hard.txt"))
    const answers = await within(subject, ({ files }) =>
      Effect.gen(function* () {
        const denied = yield* Effect.all([
          refused(files.readFile("/way/secret.txt")),
          refused(files.readFile("/file.txt")),
          refused(files.writeFileString("/way/new.txt", "x")),
          refused(files.writeFileString("/file.txt", "x")),
          refused(files.writeFileString("/hard.txt", "x", { flag: "a" })),
          refused(files.readDirectoryEntries("/way")),
          refused(files.rename("/hard.txt", "/way/hard.txt")),
          refused(Effect.scoped(files.open("/way/secret.txt", { noFollow: true })))
        ])
        yield* files.writeFileString("/hard.txt", "replaced")
        yield* files.remove("/way")
        return denied
      })
    )
    assert.deepStrictEqual([...new Set(answers)], ["PermissionDenied"])
    assert.deepStrictEqual(fs.readdirSync(outside), ["secret.txt"])
    assert.strictEqual(fs.readFileSync(path.join(outside, "secret.txt"), "utf8"), "the secret")
  })
}

/** Laws of commands, for a sandbox that has `cat` and `sh`. */
export const commandLaws = (subject: Subject): void => {
  it("a command sees the files that tools write, and tools see those of commands", async () => {
    const seen = await within(subject, ({ files, processes }) =>
      Effect.gen(function* () {
        yield* files.writeFileString("/sub/in.txt", "from tools\n")
        const read = yield* output(processes, ChildProcess.make("cat", ["in.txt"], { cwd: "/sub" }))
        yield* output(processes, ChildProcess.make("sh", ["-c", "echo from commands > out.txt; exit 3"]))
        return [read.stdout, yield* files.readFileString("/out.txt")]
      })
    )
    assert.deepStrictEqual(seen, ["from tools\n", "from commands\n"])
  })

  it("it reads its input, its output comes as it is written, and its exit code is that of the command", async () => {
    const seen = await within(subject, ({ processes }) =>
      Effect.gen(function* () {
        const input = Stream.make(new TextEncoder().encode("hello"))
        const cat = yield* output(processes, ChildProcess.make("cat", [], { stdin: input }))
        const code = yield* output(processes, ChildProcess.make("sh", ["-c", "exit 7"]))
        const piped = ChildProcess.make("sh", ["-c", "echo abc"]).pipe(ChildProcess.pipeTo(ChildProcess.make("cat")))
        return [cat, code.exitCode, (yield* output(processes, piped)).stdout]
      })
    )
    assert.deepStrictEqual(seen, [{ stdout: "hello", exitCode: 0 }, 7, "abc\n"])
  })

  it("it gets none of this process's variables", async () => {
    process.env["TROUPE_TEST_KEY"] = "key-of-this-process"
    const { stdout } = await within(subject, ({ processes }) =>
      output(
        processes,
        ChildProcess.make("sh", ["-c", "env; cat /proc/self/environ; cat /proc/1/environ 2>/dev/null"], {
          env: { GIVEN: "1" }
        })
      )
    ).finally(() => delete process.env["TROUPE_TEST_KEY"])
    assert.include(stdout, "GIVEN=1")
    assert.notInclude(stdout, "key-of-this-process")
  })

  it("a program that is not there, and what would join it with this process, is refused by name", async () => {
    const answers = await within(subject, ({ processes }) =>
      Effect.all([
        Effect.match(output(processes, ChildProcess.make("no-such-program")), {
          // A sandbox with a launcher of its own says it by the exit code of a shell.
          onSuccess: ({ exitCode }) => (exitCode === 127 || exitCode === 1 ? "NotFound" : exitCode),
          onFailure: ({ reason }) => reason._tag
        }),
        refused(output(processes, ChildProcess.make("cat", [], { stdin: "inherit" })))
      ])
    )
    assert.deepStrictEqual(answers, ["NotFound", "BadArgument"])
  })

  it("a slow reader loses nothing of a long output", async () => {
    const length = await within(subject, ({ processes }) =>
      Effect.scoped(
        Effect.gen(function* () {
          const handle = yield* processes.spawn(ChildProcess.make("sh", ["-c", "head -c 1000000 /dev/zero"]))
          const taken = yield* Stream.runFold(
            handle.stdout,
            () => 0,
            (sum, chunk) => sum + chunk.length
          )
          yield* handle.exitCode
          return taken
        })
      )
    )
    assert.strictEqual(length, 1_000_000)
  })
}

/** Laws of what commands start, for a sandbox whose processes are those of this machine. */
export const groupLaws = (subject: Subject): void => {
  const isAlive = (mark: string) =>
    fs.readdirSync("/proc").some((pid) => {
      try {
        return /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes(mark)
      } catch {
        return false
      }
    })
  const unique = () => `1000.${process.pid}${Math.trunc(performance.now() * 1000)}`

  it("what a command leaves running is ended when it ends", async () => {
    const mark = unique()
    const script = `sleep ${mark} > /dev/null 2>&1 < /dev/null & echo left`
    const { stdout } = await within(subject, ({ processes }) =>
      output(processes, ChildProcess.make("sh", ["-c", script]))
    )
    assert.deepStrictEqual([stdout, isAlive(mark)], ["left\n", false])
  })

  it("interruption ends a command that is deaf to signals, with all of its group", async () => {
    const mark = unique()
    const script = `trap '' TERM; sleep ${mark} & echo on; wait`
    await within(subject, ({ processes }) =>
      Effect.gen(function* () {
        const command = ChildProcess.make("sh", ["-c", script], { forceKillAfter: "200 millis" })
        const run = Effect.scoped(
          Effect.gen(function* () {
            const handle = yield* processes.spawn(command)
            yield* Stream.runHead(handle.stdout)
            return yield* handle.exitCode
          })
        )
        const fiber = yield* Effect.forkChild(run)
        while (!isAlive(mark)) yield* Effect.sleep(5)
        yield* Fiber.interrupt(fiber)
      })
    )
    assert.isFalse(isAlive(mark))
  })

  it("the tool keeps a part of an output that has no end, and ends the command", async () => {
    const agent = Agent.make("agent", { use: [ShellTools.feature({ allow: ["yes"], maxOutputBytes: 1000 })] })
    const model = TestModel.layer([TestModel.toolCall("run_command", { command: "yes" }), "done"])
    const exit = await edges[subject.edge]!(
      agent.result("go").pipe(Effect.provide(model), Effect.provide(subject.layer()))
    )
    if (Exit.isFailure(exit)) assert.fail(String(exit.cause))
    const said = JSON.stringify(exit.value.transcript.content)
    assert.include(said, '"truncated":true')
    assert.isBelow(said.length, 5000)
  })
}

/** A law of files that commands change meanwhile. */
export const raceLaws = (subject: Subject & { readonly root: () => string }): void => {
  it("a command that exchanges a directory for a link leads no tool out of the workspace", async () => {
    const outside = path.join(path.dirname(subject.root()), "outside")
    fs.mkdirSync(outside)
    fs.writeFileSync(path.join(outside, "x"), "the secret")
    const script = `while :; do mkdir d; echo inside > d/x; mv d e; ln -s ${outside} d; rm d; rm -r e; done 2>/dev/null`
    const read = await within(subject, ({ files, processes }) =>
      Effect.scoped(
        Effect.gen(function* () {
          yield* processes.spawn(ChildProcess.make("sh", ["-c", script]))
          const seen = new Set<string>()
          for (let n = 0; n < 300; n++) {
            seen.add(
              yield* Effect.match(files.readFileString("/d/x"), { onFailure: () => "", onSuccess: (text) => text })
            )
            yield* Effect.ignore(files.writeFileString("/d/x", "by a tool"))
            yield* Effect.ignore(files.remove("/d/x"))
            yield* Effect.yieldNow
          }
          return [...seen]
        })
      )
    )
    assert.notInclude(read, "the secret")
    assert.deepStrictEqual(fs.readdirSync(outside), ["x"])
    assert.strictEqual(fs.readFileSync(path.join(outside, "x"), "utf8"), "the secret")
  })
}
