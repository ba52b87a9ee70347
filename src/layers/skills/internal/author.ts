/** Writes a skill into a folder: all of it, or nothing. It touches that folder only. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { type Draft, type Skill, SkillError } from "../../../services/Skills.ts"
import { isWanted, maxSkillBytes, type Looked, type Where } from "./discover.ts"
import { nameProblem, parse, print } from "./frontMatter.ts"

/**
 * Writes the files next to the place of the skill and then renames their folder, so that whoever looks sees all of them or
 * none. Where a skill is replaced, it is away for a moment between two renames.
 */
export const write = (
  draft: Draft,
  where: Where,
  look: Effect.Effect<Looked>,
  maxFileBytes: number
): Effect.Effect<Skill, SkillError> =>
  Effect.gen(function* () {
    const fail = (reason: SkillError["reason"], detail: string, file?: string) =>
      new SkillError({ skill: draft.name, ...(file === undefined ? {} : { path: file }), reason, detail })
    const problem = nameProblem(draft.name)
    if (problem !== undefined) return yield* fail("Invalid", problem)
    if (!isWanted(where)(draft.name)) {
      return yield* fail("Invalid", "it would not be found: the Layer's include and exclude leave its name out")
    }
    const folder = where.folders[0]!
    if (Buffer.byteLength(draft.body) > maxSkillBytes) {
      return yield* fail("TooLarge", `its body may have ${maxSkillBytes} bytes; move text into further files`)
    }
    const text = print(draft)
    if (text.includes("\0") || !text.isWellFormed()) {
      return yield* fail("Invalid", "its texts have null bytes or halves of characters")
    }
    const parsed = parse(text, path.join("/", draft.name, "SKILL.md"))
    const [wrong] = parsed.problems
    if (wrong !== undefined) return yield* fail("Invalid", `${wrong.problem}. ${wrong.remedy}`)
    if (Buffer.byteLength(text) > maxSkillBytes) {
      return yield* fail("TooLarge", `its SKILL.md may have ${maxSkillBytes} bytes; move text into further files`)
    }
    const files = Object.entries(draft.files ?? {})
    const bad = files.flatMap(([file, content]) => pathProblem(file, content, maxFileBytes) ?? [])
    if (bad[0] !== undefined) return yield* fail("Invalid", bad[0].problem, bad[0].file)
    const lower = new Set(files.map(([file]) => file.toLowerCase()))
    if (lower.size < files.length) return yield* fail("Invalid", "two of its files differ in capitals only")
    const below = files.find(([file]) => above(file.toLowerCase()).some((directory) => lower.has(directory)))
    if (below !== undefined) return yield* fail("Invalid", "a file is where a directory is needed", below[0])
    const { byName } = yield* look
    if ([...byName.values()].some(({ skill }) => skill.location === folder)) {
      return yield* fail("Invalid", "the first folder of the Layer is a skill itself; name the folder above it")
    }
    const target = byName.get(draft.name)?.skill.location ?? path.join(folder, draft.name)
    if (where.folders.includes(target)) {
      return yield* fail("Exists", "its folder is one of the Layer's own, and is not replaced")
    }
    const unique = (yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)
    yield* Effect.try({
      try: () => put(target, text, files, unique, draft.replace === true),
      catch: (cause) => {
        const { code } = cause as NodeJS.ErrnoException
        if (code === "EEXIST")
          return fail("Exists", "there is something of that name; say `replace: true` to replace it")
        return fail("System", `the system refused it (${code ?? String(cause)})`)
      }
    })
    return { ...parsed.skill!, location: target }
  })

const put = (
  target: string,
  text: string,
  files: ReadonlyArray<readonly [file: string, content: string | Uint8Array]>,
  unique: string,
  replace: boolean
): void => {
  const old = fs.lstatSync(target, { throwIfNoEntry: false })
  if (old !== undefined && !(replace && old.isDirectory())) throw Object.assign(new Error("exists"), { code: "EEXIST" })
  // Hidden, so that nobody takes it for a skill.
  const made = path.join(path.dirname(target), `.${unique}.tmp`)
  const away = path.join(path.dirname(target), `.${unique}.old`)
  try {
    fs.mkdirSync(made)
    fs.writeFileSync(path.join(made, "SKILL.md"), text, { flag: "wx" })
    for (const [file, content] of files) {
      const to = path.join(made, file)
      fs.mkdirSync(path.dirname(to), { recursive: true })
      fs.writeFileSync(to, content, { flag: "wx", mode: file.startsWith("scripts/") ? 0o755 : 0o644 })
    }
    if (old !== undefined) fs.renameSync(target, away)
    try {
      fs.renameSync(made, target)
    } catch (error) {
      if (old !== undefined) fs.renameSync(away, target)
      throw error
    }
  } finally {
    fs.rmSync(made, { recursive: true, force: true })
  }
  fs.rmSync(away, { recursive: true, force: true })
}

/** The directories above a file, in a path of ours. */
const above = (file: string): ReadonlyArray<string> =>
  file.split("/").flatMap((_, n, parts) => (n === 0 ? [] : [parts.slice(0, n).join("/")]))

const pathProblem = (
  file: string,
  content: string | Uint8Array,
  maxFileBytes: number
): { readonly file: string; readonly problem: string } | undefined => {
  const say = (problem: string) => ({ file: file.slice(0, 200), problem })
  const parts = file.split("/")
  if (/[\\\0]/.test(file) || path.isAbsolute(file) || path.win32.isAbsolute(file) || /^[a-z]:/i.test(file)) {
    return say("paths are relative to the skill's folder, with / between names")
  }
  if (parts.some((part) => part === "" || part === "." || part === "..")) return say("a name in it is empty, . or ..")
  if (file.toLowerCase() === "skill.md") return say("SKILL.md is made of the other fields")
  const size = typeof content === "string" ? Buffer.byteLength(content) : content.length
  return size > maxFileBytes ? say(`it has ${size} bytes, and may have ${maxFileBytes}`) : undefined
}
