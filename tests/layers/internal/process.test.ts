/** Processes, and the outputs of this one. */
import { execFileSync } from "node:child_process"
import { Deferred, Effect, Fiber } from "effect"
import { assert, it } from "vitest"
import { lineProcess } from "../../../src/layers/internal/process/lineProcess.ts"
import { keepingStdout } from "../../../src/layers/internal/process/standardOutput.ts"

it("a process that is being closed is closed when each who closes it goes on", async () => {
  let isClosed = false
  const command = { command: "sh", args: ["-c", "read line"], env: { PATH: process.env["PATH"]! }, cwd: undefined }
  const running = lineProcess(
    { ...command, mark: undefined, maxLineBytes: 1000, graceMs: 1000 },
    {
      line: () => {},
      error: () => {},
      closed: () => {
        isClosed = true
      }
    }
  )
  await running.start()
  void running.close()
  await running.close()
  assert.isTrue(isClosed)
})

it("a process that is closed leaves no timer behind, which would hold up the exit of this one", () => {
  const module = new URL("../../../src/layers/internal/process/lineProcess.ts", import.meta.url).href
  const program = `
    import { lineProcess } from ${JSON.stringify(module)}
    const what = { command: "sh", args: ["-c", "read line"], env: { PATH: process.env.PATH }, maxLineBytes: 1000, graceMs: 1000 }
    const running = lineProcess(what, { line: () => {}, error: () => {}, closed: () => {} })
    await running.start()
    await running.close()
    console.log(process.getActiveResourcesInfo().join())`
  const left = execFileSync(process.execPath, ["--input-type=module", "--eval", program], { encoding: "utf8" })
  assert.notInclude(left, "Timeout")
})

it("standard output is kept until the last one that keeps it ends, and then as it was", async () => {
  const before = process.stdout.write
  const [during, after] = await Effect.runPromise(
    Effect.gen(function* () {
      const [first, second] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const fibers = yield* Effect.forEach([first, second], (end) =>
        Effect.forkChild(keepingStdout(Deferred.await(end)), { startImmediately: true })
      )
      yield* Deferred.succeed(first, undefined)
      yield* Fiber.join(fibers[0]!)
      const during = process.stdout.write
      yield* Deferred.succeed(second, undefined)
      yield* Fiber.join(fibers[1]!)
      return [during, process.stdout.write]
    })
  )
  assert.notStrictEqual(during, before)
  assert.strictEqual(after, before)
})
