/** Laws of workflows, on thousands of random trees of them. A failure is printed with the smallest tree that shows it. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import { cases } from "../support/cases.ts"
import { Case, drive, outcome, tagOf } from "../support/treeRuns.ts"
import { type Node, Tree } from "../support/trees.ts"
import type { Leaf } from "../support/treeWorld.ts"

const options = (runs: number) => ({ timeout: 120_000, arbitrary: { runs: cases(runs), size: 20 } })

const main = fileURLToPath(new URL("../support/randomTrees.ts", import.meta.url))

/** Runs cases in a child, and kills it when one takes too long: what blocks its thread would never say so itself. */
const onSyncEdge = (seed: number, count: number): Promise<string> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, ["--conditions=troupe-source", main, String(seed), String(count)])
    let [last, said] = ["", ""]
    const watch = () =>
      setTimeout(() => {
        said = `hangs: ${last}`
        child.kill("SIGKILL")
      }, 45_000)
    let watchdog = watch()
    child.stdout.on("data", (chunk: Buffer) => {
      last = chunk.toString().trim().split("\n").at(-1) ?? last
      clearTimeout(watchdog)
      watchdog = watch()
    })
    child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()))
    child.on("close", (code) => {
      clearTimeout(watchdog)
      resolve(code === 0 ? "" : said || `ended with ${code}: ${last}`)
    })
  })

describe("a random tree of workflows", () => {
  it.effect.prop(
    "leaves nothing behind, tells everything once, and loses no failure",
    [Case],
    ([given]) =>
      Effect.map(drive(given), ({ problems }) => {
        assert.strictEqual(problems.join("\n"), "")
      }),
    options(1_200)
  )

  it.effect("leaves nothing behind when a budget is used up while workers begin others", () =>
    Effect.gen(function* () {
      const tree = (kind: Node["kind"], of: Node["of"], n: number, m: number, flag = false) => ({
        kind,
        of,
        n,
        m,
        flag
      })
      const leaf = (does: Leaf["does"]): Leaf => ({ does, release: "at once", instant: false })
      const twice = leaf("succeeds the second time")
      const spawner = tree("spawner", [tree("handoffs", [leaf("succeeds")], 3, 0), leaf("never ends")], 2, 1)
      const inner = tree("orchestrator", [twice, tree("modelRouter", [twice], 0, 0, true), spawner], 3, 2)
      const outer = tree("orchestrator", [{ ...twice, release: "failing" }, leaf("succeeds"), inner], 3, 0, true)
      const given = { tree: outer, salt: 427237, way: "run", count: 12, stop: "at the end", instants: false } as const
      assert.strictEqual((yield* drive(given)).problems.join("\n"), "")
    })
  )

  it.effect.prop(
    "ends the same way by run, by result and by stream",
    [Tree, Case.fields.salt, Schema.Literals(["at the end", "at a time"])],
    ([tree, salt, stop]) =>
      Effect.gen(function* () {
        const ends: Array<unknown> = []
        for (const way of ["run", "result", "stream"] as const) {
          const { events, exit, problems } = yield* drive({ tree, salt, way, count: 0, stop, instants: false })
          assert.strictEqual(problems.join("\n"), "")
          const last = events.at(-1)!
          // An interrupted reader of a stream does not receive the failures of finalizers; the events have them.
          if (way !== "stream" || !Exit.hasInterrupts(exit)) assert.strictEqual(last._tag, tagOf(exit))
          ends.push([
            last._tag,
            last._tag === "RunCompleted" ? last.output : last._tag === "RunFailed" ? last.message : "",
            Exit.hasInterrupts(exit) ? "interrupted" : outcome(exit)
          ])
        }
        const encoded = ends.map((end) => JSON.stringify(end))
        assert.isTrue(
          encoded.every((end) => end === encoded[0]),
          encoded.join("\n")
        )
      }),
    options(500)
  )

  it("does all that under runSync, and never hangs", async () => {
    assert.deepStrictEqual(await Promise.all([onSyncEdge(1, 200), onSyncEdge(2, 200)]), ["", ""])
  }, 120_000)
})
