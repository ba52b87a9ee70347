/** Strange texts in durable runs in a SQLite file. */
import { Effect, Layer } from "effect"
import { engine, temporaryFile } from "../../support/durable.ts"
import { durableTexts } from "../../support/durableTexts.ts"

durableTexts(() => Layer.unwrap(Effect.map(temporaryFile, (file) => engine(file))))
