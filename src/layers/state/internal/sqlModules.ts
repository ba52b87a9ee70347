/** The modules of effect/sql, loaded when a database is opened and not when troupe is imported. */
import * as Effect from "effect/Effect"
import { createRequire } from "node:module"
import { isSyncFiber } from "../../../services/SyncBridge.ts"

/** What a client is made of. */
export interface SqlModules {
  readonly Reactivity: typeof import("effect/reactivity/Reactivity")
  readonly SqlClient: typeof import("effect/sql/SqlClient")
  readonly SqlError: typeof import("effect/sql/SqlError")
  readonly Statement: typeof import("effect/sql/Statement")
}

let loaded: SqlModules | undefined

const imported = Effect.promise(async (): Promise<SqlModules> => {
  const [Reactivity, SqlClient, SqlError, Statement] = await Promise.all([
    import("effect/reactivity/Reactivity"),
    import("effect/sql/SqlClient"),
    import("effect/sql/SqlError"),
    import("effect/sql/Statement")
  ])
  return { Reactivity, SqlClient, SqlError, Statement }
})

/** `import()` cannot be waited for under `Effect.runSync`. Node gives the same instances of the modules either way. */
const required = Effect.sync((): SqlModules => {
  const require = createRequire(import.meta.url)
  return {
    Reactivity: require("effect/reactivity/Reactivity") as SqlModules["Reactivity"],
    SqlClient: require("effect/sql/SqlClient") as SqlModules["SqlClient"],
    SqlError: require("effect/sql/SqlError") as SqlModules["SqlError"],
    Statement: require("effect/sql/Statement") as SqlModules["Statement"]
  }
})

/** The modules, at both edges. */
export const load: Effect.Effect<SqlModules> = Effect.withFiber((fiber) => {
  if (loaded !== undefined) return Effect.succeed(loaded)
  return Effect.tap(isSyncFiber(fiber) ? required : imported, (modules) =>
    Effect.sync(() => {
      loaded = modules
    })
  )
})
