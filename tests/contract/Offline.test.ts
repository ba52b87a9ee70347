import { Effect } from "effect"
import { Offline } from "troupe"
import { suite } from "./model.ts"

suite("Offline", () => Effect.succeed(Offline.layerWith({ announce: false })), { readsTheRequest: true })
