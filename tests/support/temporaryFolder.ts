/** A folder for the files of one test file, which is removed after its tests. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll } from "vitest"

/** Returns a function that makes the folder when it is first asked for it. */
export const temporaryFolder = (): (() => string) => {
  let folder: string | undefined
  afterAll(() => {
    if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true })
  })
  return () => (folder ??= fs.mkdtempSync(path.join(os.tmpdir(), "troupe-")))
}
