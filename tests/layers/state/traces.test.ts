/** Traces in memory and in a SQLite file keep the laws of traces. */
import { describe } from "@effect/vitest"
import { Layer } from "effect"
import { Sqlite, TraceStore } from "troupe"
import { recorderLaws, traceLaws } from "../../support/traceLaws.ts"

describe("in memory", () => traceLaws(TraceStore.layerMemory))
describe("in SQLite", () => traceLaws(TraceStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: ":memory:" })))))
describe("the recorder", recorderLaws)
