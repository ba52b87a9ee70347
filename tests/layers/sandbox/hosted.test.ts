/** A hosted sandbox, by a session that has the shape of the AI SDK's: here over a directory. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Readable, Writable } from "node:stream"
import type { Experimental_SandboxSession } from "@ai-sdk/provider-utils"
import { Effect, Fiber } from "effect"
import { ChildProcess } from "effect/process"
import { assert, describe, it } from "vitest"
import { Sandbox, Skills } from "troupe"
import { commandLaws, filesLaws, within } from "../../support/sandboxLaws.ts"
import { folder, skill } from "../../support/skillFolders.ts"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"

let base: string
let root: string
folderOfEachTest((folder) => {
  base = folder
  root = path.join(base, "root")
  fs.mkdirSync(root)
})

const orNull = <A>(work: () => A): A | null => {
  try {
    return work()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null
    throw error
  }
}
const kindOf = (entry: fs.Stats | fs.Dirent) => (entry.isFile() ? "file" : entry.isDirectory() ? "directory" : "other")

const start: Sandbox.Session["spawn"] = async ({ command, env = {}, stdin, workingDirectory = "." }) => {
  const child = spawn("sh", ["-c", command], {
    cwd: path.resolve(root, workingDirectory),
    env: { PATH: process.env["PATH"], ...env },
    stdio: [stdin === true ? "pipe" : "ignore", "pipe", "pipe"]
  })
  child.stdin?.on("error", () => {})
  return {
    stdout: Readable.toWeb(child.stdout!) as ReadableStream<Uint8Array>,
    stderr: Readable.toWeb(child.stderr!) as ReadableStream<Uint8Array>,
    ...(child.stdin === null ? {} : { stdin: Writable.toWeb(child.stdin) as WritableStream<Uint8Array> }),
    wait: () => new Promise((resolve) => child.once("exit", (exitCode) => resolve({ exitCode: exitCode ?? 137 }))),
    kill: async () => void child.kill("SIGKILL")
  }
}
const text = async (stream: ReadableStream<Uint8Array>) => new Response(stream).text()
const session = (): Sandbox.Session => ({
  description: "A directory that stands for a sandbox elsewhere.",
  readBinaryFile: async ({ path: at }) => orNull(() => new Uint8Array(fs.readFileSync(path.resolve(root, at)))),
  writeBinaryFile: async ({ content, path: at }) => {
    fs.mkdirSync(path.dirname(path.resolve(root, at)), { recursive: true })
    fs.writeFileSync(path.resolve(root, at), content)
  },
  stat: async ({ path: at }) =>
    orNull(() => {
      const stat = fs.statSync(path.resolve(root, at))
      return { type: kindOf(stat), size: stat.size }
    }),
  listDirectory: async ({ path: at }) =>
    orNull(() =>
      fs
        .readdirSync(path.resolve(root, at), { withFileTypes: true })
        .map((entry) => ({ name: entry.name, type: entry.isSymbolicLink() ? "symlink" : kindOf(entry) }))
    ),
  spawn: start,
  run: async (options) => {
    const child = await start(options)
    const [stdout, stderr, { exitCode }] = await Promise.all([text(child.stdout), text(child.stderr), child.wait()])
    return { exitCode, stdout, stderr }
  }
})
const subject = { edge: "runPromise", layer: () => Sandbox.layerAiSdk(session()) }

describe("a hosted sandbox", () => {
  filesLaws(subject)
  commandLaws(subject)

  it("a link out of the workspace is not followed, and what it isolates is not claimed", async () => {
    fs.mkdirSync(path.join(base, "outside"))
    fs.writeFileSync(path.join(base, "outside/secret.txt"), "the secret")
    fs.symlinkSync(path.join(base, "outside"), path.join(root, "way"))
    const [answers, info] = await within(subject, ({ files, info }) =>
      Effect.gen(function* () {
        const attempts = [
          files.readFile("/way/secret.txt"),
          files.writeFileString("/way/new.txt", "x"),
          files.readDirectoryEntries("/way"),
          files.remove("/way/secret.txt"),
          files.makeDirectory("/way/new", { recursive: true })
        ]
        const refused = yield* Effect.forEach(attempts, (attempt) =>
          Effect.flip(Effect.asVoid(attempt as Effect.Effect<unknown, { readonly reason: { readonly _tag: string } }>))
        )
        yield* files.remove("/way")
        return [refused.map(({ reason }) => reason._tag), info] as const
      })
    )
    assert.deepStrictEqual([...new Set(answers)], ["PermissionDenied"])
    assert.deepStrictEqual(fs.readdirSync(path.join(base, "outside")), ["secret.txt"])
    assert.strictEqual(fs.readFileSync(path.join(base, "outside/secret.txt"), "utf8"), "the secret")
    assert.deepStrictEqual([info.edges, info.isolates.network], ["async", false])
  })

  it("a script of a skill is run from a copy of its folder, made once, whose files are not writable", async () => {
    const skills = folder({
      "note/SKILL.md": skill("note"),
      "note/lib/words.txt": "from the skill",
      "note/scripts/write.sh": 'cat "$SKILL_DIR/lib/words.txt" > note.txt; ls -l "$0"; echo "$1 $SKILL_DIR"'
    })
    const ran = await within(subject, (sandbox) =>
      Effect.gen(function* () {
        const run = (args: ReadonlyArray<string>) =>
          Effect.flatMap(Skills.Skills, (all) => all.run("note", "scripts/write.sh", { args }))
        const all = yield* Effect.all([run(["once"]), run(["twice"])], { concurrency: 2 })
        return [all.map(({ stdout }) => stdout.split("\n")), yield* sandbox.files.readFileString("/note.txt")] as const
      }).pipe(
        Effect.provide(Skills.layerSandbox({ folders: [skills] })),
        Effect.provideService(Sandbox.Sandbox, sandbox)
      )
    )
    const [[[mode = "", once = ""] = [], [, twice = ""] = []], note] = ran
    const place = once.replace("once ", "")
    fs.rmSync(path.dirname(path.dirname(place)), { recursive: true, force: true })
    assert.match(place, /^\/tmp\/troupe-skills-[\w-]+\/\w{32}\/note$/)
    assert.deepStrictEqual([mode.slice(0, 10), twice, note], ["-r--r--r--", `twice ${place}`, "from the skill"])
  })

  it("interruption ends a command that the sandbox has not started, and one that it starts all the same is killed", async () => {
    let signal: AbortSignal | undefined
    const started = Promise.withResolvers<Sandbox.SessionProcess>()
    const slow: Sandbox.Session = {
      ...session(),
      spawn: (options) => {
        signal = options.abortSignal
        return started.promise
      }
    }
    await within({ ...subject, layer: () => Sandbox.layerAiSdk(slow) }, ({ processes }) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Effect.scoped(processes.spawn(ChildProcess.make("ls"))))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
      })
    )
    assert.isTrue(signal?.aborted)
    const running = await start({ command: "sleep 1000" })
    started.resolve(running)
    assert.strictEqual((await running.wait()).exitCode, 137)
  })

  it("a session of the AI SDK has its shape", () => {
    const shape = (given: Experimental_SandboxSession) => Sandbox.layerAiSdk(given)
    assert.isFunction(shape)
  })
})
