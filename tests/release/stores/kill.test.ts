/**
 * Sessions of which two processes take turns at once while both are killed at random. `SESSIONS=10000` runs it in full, which
 * takes minutes.
 */
import * as path from "node:path"
import { assert, it } from "@effect/vitest"
import { Layer } from "effect"
import * as SessionStore from "troupe/SessionStore"
import * as Sqlite from "troupe/Sqlite"
import { type Plan, type Report, killing } from "../../support/sessionKill.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const sessions = Number(process.env["SESSIONS"] ?? 120)
const isWhole = sessions >= 1000

const expectWhole = ({ doubled, lost, mixed, tools, ...report }: Report, { processes, sessions }: Plan) => {
  console.log(report)
  assert.deepStrictEqual({ lost, doubled, mixed, tools }, { lost: [], doubled: [], mixed: [], tools: [] })
  assert.isAbove(report.kills, 1)
  assert.strictEqual(report.sessions, sessions)
  assert.strictEqual(report.reported, sessions * processes)
  // A turn can be kept and its process killed before it says so; it can call its tool and be killed before it is kept.
  assert.isAtLeast(report.kept, report.reported)
  assert.isAtLeast(report.calls, report.kept)
}

it("no turn is lost, doubled or mixed when its processes are killed at random", async () => {
  const database = path.join(folder(), "sessions.db")
  const plan = {
    database,
    folder: folder(),
    sessions,
    processes: 2,
    concurrency: 32,
    killAfter: isWhole ? 400 : 30
  }
  const store = SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: database })))
  expectWhole(await killing(plan, store), plan)
}, 1_800_000)
