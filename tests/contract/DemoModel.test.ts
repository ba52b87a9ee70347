import { Effect } from "effect"
import { DemoModel } from "troupe"
import { suite } from "./model.ts"

suite("DemoModel", () => Effect.succeed(DemoModel.layer), { readsTheRequest: true, readsNoFiles: true })
