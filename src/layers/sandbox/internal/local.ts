/** The user's own machine as a place to work: a fence for files, and none for commands. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { assertOptions, namesOf } from "../../../internal/definition.ts"
import type { InvalidDefinition } from "../../../RunError.ts"
import type { Service, Snapshots } from "../../../services/Sandbox.ts"
import { directoryAt } from "../../internal/files/directory.ts"
import * as Process from "../../internal/process/run.ts"
import * as Copies from "./copies.ts"
import type { FileSystem } from "effect/FileSystem"
import * as GitSnapshots from "./gitSnapshots.ts"
import * as RootedFiles from "./rootedFiles.ts"

/** Options of `layerLocal`. */
export interface Options {
  /** The directory that is the workspace. */
  readonly root: string | URL
  /** Variables for every command, in addition to those that a command names. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

const known = namesOf<Options>({ root: true, env: true })

/** Checks options: fails with what the check throws. */
export const checked = (check: () => void): Effect.Effect<void, InvalidDefinition> =>
  Effect.try({ try: check, catch: (cause) => cause as InvalidDefinition })

/** The real path of a workspace. Fails for one that is not a directory. */
export const rootOf = (subject: string, root: string | URL): Effect.Effect<string, InvalidDefinition> =>
  directoryAt(`${subject} for ${String(root)}`, "root", root)

/** Snapshots by git where the workspace is a repository, and copies elsewhere. */
export const snapshotsOf = (root: string, files: FileSystem): Snapshots =>
  fs.existsSync(path.join(root, ".git")) ? GitSnapshots.make(root) : Copies.make(files)

/** A path of the workspace below a directory. `..` does not lead out. */
export const below = (directory: string, cwd = "/"): string => path.posix.join(directory, path.posix.join("/", cwd))

/** The service. */
export const make = Effect.fnUntraced(function* (options: Options) {
  yield* checked(() => assertOptions("Sandbox.layerLocal", options, known))
  const { env, root } = options
  const real = yield* rootOf("Sandbox.layerLocal", root)
  const files = RootedFiles.make(real)
  const service: Service = {
    files,
    processes: Process.spawner({ directoryOf: (cwd) => below(real, cwd), env }),
    info: {
      name: "local",
      description:
        "The machine of the user. File tools stay in the workspace; a command can do all that the user can, everywhere.",
      cwd: real,
      isolates: { files: false, network: false, processes: false },
      edges: "both"
    },
    snapshots: snapshotsOf(real, files),
    folder: (_name, location) => Effect.succeed(location)
  }
  return service
})
