/** Schedules of durable runs in a SQLite file. */
import * as path from "node:path"
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Sqlite from "troupe/Sqlite"
import { engine } from "../../support/durable.ts"
import { durableSchedules } from "../../support/durableSchedules.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const filename = () => path.join(folder(), "schedules.db")

durableSchedules(
  Layer.suspend(() => Sqlite.layer({ filename: filename() })),
  () => Layer.suspend(() => Layer.fresh(engine(filename())))
)

it("a schedule whose time never comes is refused as it is defined", () => {
  const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
  const echoes = Durable.make(echo, { name: "echoes", version: "1", key: (text) => text })
  expect(() => Durable.schedule(echoes, { cron: "0 0 30 2 *", input: "x" })).toThrow(/names a time that never comes/)
  expect(() => Durable.schedule(echoes, { cron: "often", input: "x" })).toThrow(/"often" is not a cron expression/)
})
