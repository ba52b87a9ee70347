/**
 * The package as it is published, built and packed once for all the release tests of a run: a build costs twenty seconds.
 * `scripts/test.ts` gives them a folder that it removes; without it, a file builds one of its own.
 */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { afterAll } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")

/** Where the package is. `stage` holds what is packed, built, with a link to node_modules. */
export interface Packed {
  readonly stage: string
  readonly tarball: string
}

/** The environment of a command that does not know that npm or vitest started it. Where npm gets packages from holds. */
export const plainEnv = (): NodeJS.ProcessEnv => {
  const env: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: "1" }
  env["PATH"] = `${path.join(root, "node_modules/.bin")}${path.delimiter}${process.env["PATH"]}`
  const ofNpm =
    /^(npm_(?!config_(cache|registry|userconfig|globalconfig|cafile|.*proxy)$)|INIT_CWD$|NODE_OPTIONS$|NODE_PATH$|VITEST)/
  for (const name of Object.keys(env)) if (ofNpm.test(name)) delete env[name]
  return env
}

/** Built in a copy, so that a dist/ in the project is neither used nor touched. */
const build = async (folder: string): Promise<void> => {
  const stage = path.join(folder, "stage")
  fs.mkdirSync(stage)
  const { files } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
    readonly files: ReadonlyArray<string>
  }
  const shipped = files.filter((file) => file !== "dist")
  const others = ["package.json", "README.md", "LICENSE", "scripts", "tsconfig.json", "tsconfig.build.json"]
  for (const file of [...others, ...shipped])
    fs.cpSync(path.join(root, file), path.join(stage, file), { recursive: true })
  fs.symlinkSync(path.join(root, "node_modules"), path.join(stage, "node_modules"))
  // Its `prepack` builds.
  await promisify(execFile)("npm", ["pack", "--silent", "--pack-destination", folder], {
    cwd: stage,
    env: plainEnv(),
    maxBuffer: 16_000_000
  })
}

/** The folder that all files of this run share, or one of this file's own. */
const place = (): string => {
  const shared = process.env["TROUPE_TEST_FOLDER"]
  if (shared !== undefined) return path.join(shared, "packed")
  const own = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-packed-"))
  afterAll(() => fs.rmSync(own, { recursive: true, force: true }))
  return path.join(own, "packed")
}
const folder = place()

/** The package, built and packed by the first that asks. */
export const packed = async (): Promise<Packed> => {
  const failed = path.join(folder, "failed")
  const tarball = () => {
    const name =
      fs.existsSync(path.join(folder, "done")) && fs.readdirSync(folder).find((file) => file.endsWith(".tgz"))
    return name === false || name === undefined ? undefined : path.join(folder, name)
  }
  let first = true
  try {
    fs.mkdirSync(folder)
  } catch {
    first = false
  }
  if (first) {
    try {
      await build(folder)
      fs.writeFileSync(path.join(folder, "done"), "")
    } catch (error) {
      fs.writeFileSync(failed, String(error))
      throw error
    }
  }
  for (;;) {
    const found = tarball()
    if (found !== undefined) return { stage: path.join(folder, "stage"), tarball: found }
    if (fs.existsSync(failed)) throw new Error(fs.readFileSync(failed, "utf8"))
    await sleep(100)
  }
}
