/** The key of effect/sql's client: the same key by its name, so that importing a store does not load effect/sql. */
import * as Context from "effect/Context"
import type * as Client from "effect/sql/SqlClient"

/** The `SqlClient` of the program. */
export const SqlClientTag: Context.Service<Client.SqlClient, Client.SqlClient> =
  Context.Service<Client.SqlClient>("effect/sql/SqlClient")
