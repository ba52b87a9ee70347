/** A process that executes a scenario, and kills itself before or after one of its durable writes. */
import { DatabaseSync, type StatementSync } from "node:sqlite"
import { Effect, Logger } from "effect"
import { failpointOf } from "./failpoint.ts"
import { finish, type Name } from "./scenarios.ts"

const [name, file, ledger, at, when] = process.argv.slice(2)
const writes: Array<string> = []

const { prepare } = DatabaseSync.prototype
DatabaseSync.prototype.prepare = function (this: DatabaseSync, sql: string): StatementSync {
  const statement = prepare.call(this, sql)
  const named = failpointOf(sql)
  if (named === undefined) return statement
  for (const method of ["run", "all"] as const) {
    const own = statement[method].bind(statement) as (...args: ReadonlyArray<never>) => unknown
    const trapped = (...args: ReadonlyArray<never>): unknown => {
      writes.push(named(args))
      const isHere = writes.length === Number(at)
      if (isHere && when === "before") process.kill(process.pid, "SIGKILL")
      const result = own(...args)
      if (isHere && when === "after") process.kill(process.pid, "SIGKILL")
      return result
    }
    Object.assign(statement, { [method]: trapped })
  }
  return statement
}

// Standard output is for the outcome.
const quiet = Logger.layer([])
const output = await Effect.runPromise(Effect.provide(finish(name as Name, file!, ledger!, {}), quiet))
process.stdout.write(JSON.stringify({ output, writes }))
process.exit(0)
