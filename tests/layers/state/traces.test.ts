/** Traces in memory and in a SQLite file keep the laws of traces; a file also refuses what it cannot read. */
import { describe } from "@effect/vitest"
import { Layer } from "effect"
import * as path from "node:path"
import { Sqlite, TraceStore } from "troupe"
import { storedVersions } from "../../support/storedVersions.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { recorderLaws, traceLaws } from "../../support/traceLaws.ts"

const folder = temporaryFolder()

describe("in memory", () => traceLaws(TraceStore.layerMemory))
describe("in SQLite", () => traceLaws(TraceStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: ":memory:" })))))
describe("the recorder", recorderLaws)
describe("in a SQLite file", () =>
  storedVersions(
    Layer.suspend(() => Sqlite.layer({ filename: path.join(folder(), "stored.db"), synchronous: "normal" }))
  ))
