/** Commands of this machine, which need Node. `noNodeCommands.ts` takes its place elsewhere. */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { InvalidDefinition } from "../../../RunError.ts"
import type { Service } from "../../../services/Sandbox.ts"
import { programDirectories } from "../../internal/process/environment.ts"
import * as Process from "../../internal/process/run.ts"

const invalid = (problem: string, remedy: string) =>
  new InvalidDefinition({ subject: "ShellTools.layer", problem, remedy })

/** What starts commands in a directory, and finds their programs. */
export interface Machine {
  readonly processes: Service["processes"]
  /** The file of a program. Throws `InvalidDefinition` where there is none. */
  readonly fileOf: (command: string) => string
}

/** The machine, for commands in a directory. Throws `InvalidDefinition` where that does not exist. */
export const machine = (directory: string | URL, env: Readonly<Record<string, string>>): Machine => {
  const cwd = path.resolve(typeof directory === "string" ? directory : fileURLToPath(directory))
  if (fs.statSync(cwd, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw invalid(`its directory ${cwd} does not exist`, "Give a directory that exists")
  }
  const directories = programDirectories({ cwd, env })
  const fileOf = (command: string): string => {
    const file = lookUp(command, directories)
    if (file !== undefined) return file
    throw invalid(`there is no program "${command}" in PATH`, "Install it, or give its absolute path")
  }
  return { processes: Process.spawner({ directoryOf: () => cwd }), fileOf }
}

const lookUp = (command: string, directories: ReadonlyArray<string>): string | undefined => {
  const isName = command !== "" && command === path.basename(command)
  const places = path.isAbsolute(command)
    ? [command]
    : isName
      ? directories.map((directory) => path.join(directory, command))
      : []
  return places.find((file) => {
    try {
      fs.accessSync(file, fs.constants.X_OK)
      return fs.statSync(file).isFile()
    } catch {
      return false
    }
  })
}
