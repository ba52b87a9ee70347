/**
 * The environment of commands that a model starts. It holds where programs are and nothing that could be a key, and it keeps
 * programs from taking files of the working directory for the user's configuration.
 */
import * as fs from "node:fs"
import { devNull, tmpdir } from "node:os"
import * as path from "node:path"

/** The directory of a command, and the variables that its caller asked for: they win over ours. */
export interface Surroundings {
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

/** Variables without which programs do not start on Windows. */
const system = ["SystemRoot", "PATHEXT", "ComSpec"]

/**
 * Settings of git that win over those of a repository. A program named in `core.fsmonitor` would run at each `git status`,
 * and a bare repository can lie in a clone as ordinary files, with settings of its own.
 */
const gitSettings: ReadonlyArray<readonly [key: string, value: string]> = [
  ["core.fsmonitor", "false"],
  ["safe.bareRepository", "explicit"]
]

/**
 * The directories in which programs are looked up: absolute ones only, and those below the working directory last, so that
 * a file in it is not taken for a program of the same name.
 */
export const programDirectories = ({ cwd, env }: Surroundings): ReadonlyArray<string> => {
  const given = env["PATH"] ?? process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
  const directories = given.split(path.delimiter).filter((directory) => path.isAbsolute(directory))
  const isBelow = (directory: string) => {
    const relative = path.relative(real(cwd), real(directory))
    return relative.split(path.sep)[0] !== ".." && !path.isAbsolute(relative)
  }
  return [...directories.filter((directory) => !isBelow(directory)), ...directories.filter(isBelow)]
}

/** All of a command's environment. `home` is a directory of its own. */
export const environment = (surroundings: Surroundings, home: string): Readonly<Record<string, string>> => {
  const passed = ["TZ", ...system].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return {
    ...Object.fromEntries(passed),
    LANG: "C.UTF-8",
    TMPDIR: tmpdir(),
    HOME: home,
    ...(process.platform === "win32" ? { USERPROFILE: home } : {}),
    GIT_CONFIG_GLOBAL: devNull,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_COUNT: String(gitSettings.length),
    ...Object.fromEntries(
      gitSettings.flatMap(([key, value], n) => [
        [`GIT_CONFIG_KEY_${n}`, key],
        [`GIT_CONFIG_VALUE_${n}`, value]
      ])
    ),
    ...surroundings.env,
    PATH: programDirectories(surroundings).join(path.delimiter)
  }
}

/** Makes an empty directory for `HOME`, which only this user may enter. */
export const makeHome = (): string => fs.mkdtempSync(path.join(tmpdir(), "troupe-home-"))

/** Removes it. A command may have left something in it that cannot be removed; then that stays. */
export const removeHome = (home: string): void => {
  try {
    fs.rmSync(home, { recursive: true, force: true })
  } catch {
    // Nothing that the caller could do about it.
  }
}

const real = (directory: string): string => {
  try {
    return fs.realpathSync(directory)
  } catch {
    return path.resolve(directory)
  }
}
