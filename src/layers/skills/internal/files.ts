/** The files of one skill: listed, and read in pages. */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as pathModule from "node:path"
import * as Effect from "effect/Effect"
import { messageOf } from "../../../internal/message.ts"
import { type FolderContent, WorkspaceError } from "../../../services/Sandbox.ts"
import { type FileLines, SkillError } from "../../../services/Skills.ts"
import { page, textOf } from "../../internal/files/text.ts"
import { ofRooted } from "../../internal/files/rootedTree.ts"
import { type Found, walk } from "../../internal/files/walk.ts"
import { rootedAt, toSkillError } from "./place.ts"

/** How many files of a skill are named. */
const maxFiles = 200
const ignore = new Set([".git", "node_modules", "__pycache__"])

/** How much is read and given. */
export interface Limits {
  readonly maxFileBytes: number
  readonly maxReadChars: number
}

/** The paths of a skill's files, or of those in one of its directories, SKILL.md left out. Links are not named. */
export const list = (
  skill: string,
  location: string,
  start = ".",
  most = maxFiles
): Effect.Effect<{ readonly files: ReadonlyArray<string>; readonly complete: boolean }, SkillError> =>
  Effect.gen(function* () {
    const files: Array<string> = []
    const rooted = yield* Effect.try({ try: () => rootedAt(location), catch: (cause) => cause })
    const visit = ({ path, type }: Found): boolean => {
      if (type !== "file" || path === "SKILL.md") return true
      if (files.length === most) return false
      files.push(path)
      return true
    }
    const complete = yield* walk(ofRooted(rooted), { start, ignore, recursive: true, visit })
    return { files: files.sort(), complete }
  }).pipe(Effect.mapError((cause) => toSkillError(skill, undefined, cause)))

/** How much of a skill is copied into a sandbox. */
const maxCopied = { files: 1000, bytes: 32 * 1024 * 1024 }

/** All of a skill's files, for a sandbox that needs a copy of them. Links are left out. */
export const content = (location: string): Effect.Effect<FolderContent, WorkspaceError> =>
  Effect.gen(function* () {
    const rooted = yield* Effect.try({ try: () => rootedAt(location), catch: systemError })
    const paths: Array<string> = []
    const visit = ({ path, type }: Found): boolean => {
      if (type === "file") paths.push(path)
      return paths.length <= maxCopied.files
    }
    const copied = { start: ".", ignore: new Set([".git"]), recursive: true, visit }
    yield* Effect.mapError(walk(ofRooted(rooted), copied), systemError)
    const hash = createHash("sha256")
    const files: Array<FolderContent["files"][number]> = []
    let left = maxCopied.bytes
    for (const path of paths.sort()) {
      const bytes = yield* Effect.try({ try: () => rooted.read(path, left).bytes, catch: systemError })
      if (bytes === undefined || files.length === maxCopied.files) return yield* tooMuch
      left -= bytes.length
      const isExecutable = isProgram(pathModule.join(location, path))
      hash.update(JSON.stringify([path, bytes.length, isExecutable])).update(bytes)
      files.push({ path, bytes, isExecutable })
    }
    return { mark: hash.digest("hex").slice(0, 32), files }
  })

const tooMuch = new WorkspaceError({
  reason: "TooLarge",
  detail: `the folder of a skill that is copied has at most ${maxCopied.files} files and ${maxCopied.bytes} bytes`
})
const systemError = (cause: unknown) => new WorkspaceError({ reason: "System", detail: messageOf(cause) })

/** True for a file that the system may run by itself. */
export const isProgram = (file: string): boolean => {
  if (process.platform === "win32") return false
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Some lines of a text file. */
export const read = (
  skill: string,
  location: string,
  given: string,
  lines: { readonly from?: number | undefined; readonly lines?: number | undefined },
  { maxFileBytes, maxReadChars }: Limits
): Effect.Effect<FileLines, SkillError> =>
  Effect.try({
    try: () => {
      const fail = (reason: SkillError["reason"], detail: string) =>
        new SkillError({ skill, path: given, reason, detail })
      const { bytes, size } = rootedAt(location).read(given, maxFileBytes)
      if (bytes === undefined) throw fail("TooLarge", `it has ${size} bytes, and at most ${maxFileBytes} are read`)
      const text = textOf(bytes)
      if (text === undefined) throw fail("Binary", `it is not UTF-8 text but ${size} bytes of something else`)
      return page(text, lines, maxReadChars)
    },
    catch: (cause) => (cause instanceof SkillError ? cause : toSkillError(skill, given, cause))
  })
