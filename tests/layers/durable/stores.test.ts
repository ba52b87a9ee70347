/** Durable runs in a SQLite file that the stores use as well. */
import * as path from "node:path"
import { Layer } from "effect"
import * as Sqlite from "troupe/Sqlite"
import { engine } from "../../support/durable.ts"
import { durableStores } from "../../support/durableStores.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const filename = () => path.join(folder(), "shared.db")

durableStores(
  Layer.suspend(() => Sqlite.layer({ filename: filename(), synchronous: "normal" })),
  Layer.suspend(() => engine(filename()))
)
