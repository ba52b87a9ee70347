/**
 * Refuses a program that uses another copy of effect than troupe does. Two copies share names but no classes: schemas,
 * services and fibers of one are strangers to the other, and fail with errors that mislead.
 */
import * as Version from "effect/Version"
import { InvalidDefinition } from "../RunError.ts"

interface Require {
  (id: string): unknown
  readonly resolve: (id: string) => string
}
/** The available part of Node: nothing in a browser or a worker of an edge network, where a bundle has one copy. */
interface Platform {
  readonly argv?: ReadonlyArray<string>
  readonly getBuiltinModule?: (id: string) => unknown
}

/** Where effect is found from `file`, and its version. */
const found = (
  createRequire: (from: string) => Require,
  realpath: (path: string) => string,
  file: string
): { readonly path: string; readonly version: string } | undefined => {
  try {
    const require = createRequire(file)
    const path = realpath(require.resolve("effect/package.json"))
    const { version } = require(path) as { readonly version: string }
    return { path, version }
  } catch {
    // Not installed there, or not a place where packages are looked for.
    return undefined
  }
}

/**
 * Throws `InvalidDefinition` when the program that was started finds another copy of effect than `from`, a module of ours,
 * does. It says nothing where neither can be known.
 */
export const assertOneEffect = (from: string | undefined): void => {
  const { argv, getBuiltinModule } = (globalThis as { readonly process?: Platform }).process ?? {}
  const main = argv?.[1]
  if (from === undefined || main === undefined || getBuiltinModule === undefined) return
  const module = getBuiltinModule("node:module") as { readonly createRequire: (from: string) => Require } | undefined
  const fs = getBuiltinModule("node:fs") as { readonly realpathSync: (path: string) => string } | undefined
  if (module === undefined || fs === undefined) return
  const { createRequire } = module
  const realpath = (path: string) => fs.realpathSync(path)
  const own = found(createRequire, realpath, from)
  const programs = found(createRequire, realpath, realMain(realpath, main))
  if (own === undefined || programs === undefined || own.path === programs.path) return
  throw new InvalidDefinition({
    subject: "effect",
    problem: `there are two copies of it: ${programs.version}, which the program uses, and ${own.version}, which troupe uses`,
    remedy: `Have one: npm install effect@${Version.getCurrentVersion()}, then npm dedupe; "npm ls effect" shows who brings which`
  })
}

/** A command is started through a link in a folder of its own. */
const realMain = (realpath: (path: string) => string, main: string): string => {
  try {
    return realpath(main)
  } catch {
    return main
  }
}
