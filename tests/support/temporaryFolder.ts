/** Folders for the files of tests, which are removed after them. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Effect } from "effect"
import { afterAll, afterEach, beforeEach } from "vitest"

const make = (): string => fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "troupe-")))
const remove = (folder: string): void => fs.rmSync(folder, { recursive: true, force: true })

/** One for a test file: returns a function that makes it when it is first asked for it. */
export const temporaryFolder = (): (() => string) => {
  let folder: string | undefined
  afterAll(() => {
    if (folder !== undefined) remove(folder)
  })
  return () => (folder ??= make())
}

/** One for each test, which is handed over before it. */
export const folderOfEachTest = (use: (folder: string) => void): void => {
  let folder: string
  beforeEach(() => {
    folder = make()
    use(folder)
  })
  afterEach(() => remove(folder))
}

/** One for a scope. */
export const scopedFolder = Effect.acquireRelease(Effect.sync(make), (folder) => Effect.sync(() => remove(folder)))
