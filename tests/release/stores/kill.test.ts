/** Sessions in one SQLite file, whose turns two processes take while they are killed at random. */
import { assert, it } from "@effect/vitest"
import { killing } from "../../support/sessionKill.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()

it("no turn is lost, doubled or mixed when its processes are killed at random", async () => {
  const report = await killing({
    folder: folder(),
    sessions: 60,
    processes: 2,
    concurrency: 8,
    ms: 15_000,
    killEvery: 700
  })
  const { doubled, kept, kills, lost, mixed, reported, tools } = report
  assert.deepStrictEqual({ lost, doubled, mixed, tools }, { lost: [], doubled: [], mixed: [], tools: [] })
  assert.isAbove(kills, 1)
  assert.isAbove(reported, 20)
  // A turn can be kept and its process killed before it says so.
  assert.isAtLeast(kept, reported)
}, 120_000)
