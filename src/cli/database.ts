/** The database that `--db` names: a SQLite file, or PostgreSQL by its address. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as Redacted from "effect/Redacted"
import { oneLine } from "../internal/text.ts"
import * as Sqlite from "../layers/state/Sqlite.ts"
import { badInput, type CliFailure } from "./failure.ts"

/** Without a flag it is a file. */
const nameOf = Option.getOrElse(() => "troupe.db")

/** Whether a database is one of PostgreSQL, and not a file. */
export const isAddress = (name: string): boolean => /^postgres(?:ql)?:\/\//.test(name)

/** The database of the flag as it may be shown: an address without the user, the password and settings. */
export const shownName = (flag: Option.Option<string>): string => {
  const name = nameOf(flag)
  return oneLine(isAddress(name) ? name.replace(/^(\w+:\/\/)(?:.*@)?([^?]*).*$/s, "$1$2") : name)
}

/** The database of the flag; with `mustExist`, a file that is not there is refused and not made. */
export const databaseOf = (
  flag: Option.Option<string>,
  mustExist = false
): Effect.Effect<Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>, CliFailure> =>
  Effect.gen(function* () {
    const name = nameOf(flag)
    if (isAddress(name)) {
      const { PgClient } = yield* Effect.tryPromise({
        try: () => import("@effect/sql-pg"),
        catch: () => badInput("PostgreSQL needs the package @effect/sql-pg: npm install @effect/sql-pg")
      })
      return PgClient.layer({ url: Redacted.make(name) })
    }
    if (mustExist && !fs.existsSync(name)) {
      return yield* badInput(`there is no database ${name}. Name one with --db: a SQLite file, or postgres://...`)
    }
    return Sqlite.layer({ filename: name })
  })
