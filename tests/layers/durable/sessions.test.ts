import { it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as SessionStore from "troupe/SessionStore"
import * as Sqlite from "troupe/Sqlite"
import { engine, temporaryFile } from "../../support/durable.ts"
import { oneNodeAtATime } from "../../support/durableSessions.ts"

it.live("a session is never run by two nodes, and each turn is in its history once", () =>
  Effect.flatMap(temporaryFile, (file) =>
    oneNodeAtATime(
      () => engine(file),
      () => SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: `${file}.sessions` })))
    )
  )
)
