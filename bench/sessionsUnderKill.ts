/**
 * 10,000 sessions whose turns two processes take while they are killed at random, and what is left of them: `npm run kill`,
 * for a minute, or for as many seconds as are given.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { killing } from "../tests/support/sessionKill.ts"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-kill-"))
const { doubled, lost, mixed, tools, ...report } = await killing({
  folder,
  sessions: 10_000,
  processes: 2,
  concurrency: 64,
  ms: Number(process.argv[2] ?? 60) * 1000,
  killEvery: 8000
})
console.log({ ...report, lost: lost.length, doubled: doubled.length, mixed: mixed.length, tools: tools.length })
fs.rmSync(folder, { recursive: true })
