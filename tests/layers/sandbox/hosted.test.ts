/** A hosted sandbox, by a session that has the shape of the AI SDK's: here over a directory. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Readable, Writable } from "node:stream"
import type { Experimental_SandboxSession } from "@ai-sdk/provider-utils"
import { Effect } from "effect"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { Sandbox } from "troupe"
import { commandLaws, filesLaws, within } from "../../support/sandboxLaws.ts"

let base: string
let root: string
beforeEach(() => {
  base = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "troupe-hosted-")))
  root = path.join(base, "root")
  fs.mkdirSync(root)
})
afterEach(() => fs.rmSync(base, { recursive: true, force: true }))

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
    cwd: path.join(root, workingDirectory),
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
  readBinaryFile: async ({ path: at }) => orNull(() => new Uint8Array(fs.readFileSync(path.join(root, at)))),
  writeBinaryFile: async ({ content, path: at }) => {
    fs.mkdirSync(path.dirname(path.join(root, at)), { recursive: true })
    fs.writeFileSync(path.join(root, at), content)
  },
  stat: async ({ path: at }) =>
    orNull(() => {
      const stat = fs.statSync(path.join(root, at))
      return { type: kindOf(stat), size: stat.size }
    }),
  listDirectory: async ({ path: at }) =>
    orNull(() =>
      fs
        .readdirSync(path.join(root, at), { withFileTypes: true })
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

  it("a session of the AI SDK has its shape", () => {
    const shape = (given: Experimental_SandboxSession) => Sandbox.layerAiSdk(given)
    assert.isFunction(shape)
  })
})
