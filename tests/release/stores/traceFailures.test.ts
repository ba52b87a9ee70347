/** A disk that is full and a database that is killed fail no run whose traces they should keep, and are one warning. */
import { spawn } from "node:child_process"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Schedule } from "effect"
import * as Agent from "troupe/Agent"
import * as TestModel from "troupe/TestModel"
import * as TraceStore from "troupe/TraceStore"
import { postgres } from "../../support/postgres.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const main = path.join(import.meta.dirname, "../../support/traceDiskMain.ts")
const warning = "Traces of runs cannot be kept now"

/** Runs the program on a database, in a shell that does something before. */
const after = (shell: ReadonlyArray<string>, prepare: string, file: string) =>
  new Promise<{ readonly code: number | null; readonly output: string }>((resolve) => {
    const program = [process.execPath, "--conditions=troupe-source", main, path.join(folder(), file), "25"]
    const [command, ...args] = [...shell, "sh", "-c", `${prepare}; exec "$@"`, "sh", ...program]
    const child = spawn(command!, args)
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")))
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")))
    child.on("error", () => resolve({ code: 77, output }))
    child.on("close", (code) => resolve({ code, output }))
  })

const expectOneWarning = ({ code, output }: { readonly code: number | null; readonly output: string }) => {
  assert.strictEqual(code, 0, output)
  assert.include(output, "25 runs have succeeded")
  assert.strictEqual(output.split(warning).length - 1, 1, output)
  assert.match(output, /\d+ events of runs were not kept/)
}

describe("a disk", () => {
  it("that takes no more of the file", async () => {
    expectOneWarning(await after([], "ulimit -f 1000", "limited.db"))
  }, 60_000)

  // A disk of 600 KB, in a mount namespace of its own.
  const isRoot = process.platform === "linux" && process.getuid?.() === 0
  if (isRoot)
    it("that is full", async () => {
      const mount = `mount -t tmpfs -o size=600k tmpfs ${folder()} || exit 77`
      const ended = await after(["unshare", "-m"], mount, "full.db")
      // Some machines let not even root mount one; then the file above is the only disk that is full.
      if (ended.output.includes("unshare:") || ended.code === 77) return
      expectOneWarning(ended)
      assert.include(ended.output, "disk is full")
    }, 60_000)
})

describe("a database", () => {
  const { database, kill, restart } = postgres()
  const clerk = Agent.make("clerk", {})

  it.live(
    "that is killed, and comes back",
    () =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const logger = Logger.layer([Logger.make(({ message }) => lines.push(JSON.stringify(message)))])
        const untilKept = (count: number) =>
          Effect.retry(
            Effect.filterOrFail(TraceStore.runs(), (runs) => runs.length === count),
            Schedule.spaced("200 millis")
          )
        yield* Effect.gen(function* () {
          yield* clerk.run("before")
          yield* untilKept(1)
          yield* Effect.promise(kill)
          for (let i = 0; i < 10; i++) {
            assert.strictEqual(yield* clerk.run("while it is down"), "Yes.")
            yield* Effect.sleep(50)
          }
          assert.strictEqual(lines.filter((line) => line.includes(warning)).length, 1, lines.join("\n"))
          yield* Effect.promise(restart)
          const runs = yield* untilKept(11)
          assert.isTrue(runs.every(({ events, status }) => status === "completed" && events === 5))
        }).pipe(
          Effect.provide(
            TraceStore.record.pipe(Layer.provideMerge(TraceStore.layerSql), Layer.provide(database("traces")))
          ),
          Effect.provide([TestModel.layer(() => "Yes.", { unused: "ignore" }), logger])
        )
        assert.strictEqual(lines.filter((line) => line.includes("race")).length, 1, lines.join("\n"))
      }),
    120_000
  )
})
