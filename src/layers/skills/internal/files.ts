/** The files of one skill: listed, and read in pages. */
import * as Effect from "effect/Effect"
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
