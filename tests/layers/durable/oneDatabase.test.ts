/** Durable runs and the stores in one SQLite file. */
import * as path from "node:path"
import { Layer } from "effect"
import * as Sqlite from "troupe/Sqlite"
import { engine } from "../../support/durable.ts"
import { oneDatabase } from "../../support/oneDatabase.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const filename = () => path.join(folder(), "all.db")

oneDatabase(
  Layer.suspend(() => engine(filename())),
  Layer.suspend(() => Sqlite.layer({ filename: filename() }))
)
