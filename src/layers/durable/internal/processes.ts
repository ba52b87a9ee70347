/**
 * Which process a node belongs to. A process of this machine that is gone is known to be gone, so that its runs are taken
 * over at once; those of other machines have to wait for the end of its lease.
 */
import { readFileSync, readlinkSync } from "node:fs"
import { hostname } from "node:os"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { hash } from "../../../internal/fingerprint.ts"

const attempt = (read: () => string): string => {
  try {
    return read()
  } catch {
    return ""
  }
}

/** Names this machine since its start, and within it the processes that see each other's ids. */
const machine = hash([
  hostname(),
  attempt(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8")),
  attempt(() => readlinkSync("/proc/self/ns/pid"))
]).slice(0, 16)

let nodes = 0

/** A new name for a node of this process. */
export const nodeName = (): string => `${machine}-${process.pid}-${Date.now().toString(36)}${++nodes}`

/** This process, for people. */
export const processName = `${hostname()} ${process.pid}`

const isGone = (address: string): boolean => {
  const [host, pid] = address.split("-")
  if (host !== machine || pid === undefined) return false
  if (Number(pid) === process.pid) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === "ESRCH"
  }
}

/** Removes the nodes of processes of this machine that are gone, and their leases. */
export const removeGone = (sql: SqlClient.SqlClient, prefix: string): Effect.Effect<void, SqlError> => {
  const runners = sql(`${prefix}_runners`)
  const locks = sql(`${prefix}_locks`)
  return Effect.gen(function* () {
    const found = yield* sql<{ readonly address: string }>`SELECT address FROM ${runners}`
    for (const { address } of found) {
      if (!isGone(address)) continue
      yield* sql`DELETE FROM ${locks} WHERE address = ${address}`
      yield* sql`DELETE FROM ${runners} WHERE address = ${address}`
    }
  })
}
