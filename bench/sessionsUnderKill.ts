/**
 * 10,000 sessions of which two processes take turns at once while both are killed at random, and what is left of them:
 * `npm run kill`, with another number of sessions as its argument, and in PostgreSQL with its address in PGURL.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Layer, Redacted } from "effect"
import { SessionStore, Sqlite } from "../src/index.ts"
import { killing } from "../tests/support/sessionKill.ts"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-kill-"))
const url = process.env["PGURL"]
const database = url ?? path.join(folder, "sessions.db")
const client =
  url === undefined
    ? Sqlite.layer({ filename: database })
    : (await import("@effect/sql-pg")).PgClient.layer({ url: Redacted.make(url) })
const sessions = Number(process.argv[2] ?? 10_000)
const plan = { database, folder, sessions, processes: 2, concurrency: 32, killAfter: 400 }
const { doubled, lost, mixed, tools, ...report } = await killing(
  plan,
  SessionStore.layerSql.pipe(Layer.provide(client))
)
console.log({ ...report, lost: lost.length, doubled: doubled.length, mixed: mixed.length, tools: tools.length })
fs.rmSync(folder, { recursive: true })
