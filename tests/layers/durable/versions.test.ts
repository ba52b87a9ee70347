/** Versions of the tables of durable runs in a SQLite file. */
import * as path from "node:path"
import { Layer } from "effect"
import * as Sqlite from "troupe/Sqlite"
import { engine } from "../../support/durable.ts"
import { durableVersions } from "../../support/durableVersions.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const filename = () => path.join(folder(), "shared.db")

durableVersions(
  Layer.suspend(() => Sqlite.layer({ filename: filename(), synchronous: "normal" })),
  Layer.suspend(() => engine(filename()))
)
