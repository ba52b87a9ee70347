/** Writes skills, by the rules of the specification: all of a skill, or nothing. */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { type Draft, type Skill, SkillError } from "../../../services/Skills.ts"
import { foldName, isBelowGit } from "../../internal/files/denied.ts"
import { type Found, maxSkillBytes, type SkillScan, wantedBy, type Where } from "./discover.ts"
import { nameProblem, parse, type Parsed, print } from "./frontMatter.ts"
import { rootedAt, toSkillError } from "./place.ts"

type Files = ReadonlyArray<readonly [file: string, content: string | Uint8Array]>

/**
 * Writes a new skill next to its place and then renames its folder, so that a scan sees all of it or nothing. One that is
 * replaced is away for a moment between two renames.
 */
export const write = Effect.fnUntraced(function* (
  draft: Draft,
  where: Where,
  scan: Effect.Effect<SkillScan>,
  maxFileBytes: number
) {
  const { skill, text } = yield* textOf(draft, where)
  const files = Object.entries(draft.files ?? {})
  yield* checkFiles(draft, files, maxFileBytes)
  const { byName } = yield* scan
  const old = byName.get(draft.name)
  const location = yield* locationOf(draft, where, byName)
  const unique = (yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)
  const isThere = fs.lstatSync(location, { throwIfNoEntry: false }) !== undefined
  yield* Effect.try({
    try: () => {
      if (draft.byAgent === true && draft.replace === true && isThere) update(draft, old, text, files, unique)
      else put(location, text, files, unique, draft.replace === true)
    },
    catch: (cause) => {
      if (cause instanceof SkillError) return cause
      const { code } = cause as NodeJS.ErrnoException
      if (code === "EEXIST") return fail(draft, "Exists", "the name is taken; say `replace: true` to replace it")
      return fail(draft, "System", `the system refused it (${code ?? String(cause)})`)
    }
  })
  return { ...skill, location } satisfies Skill
})

const fail = ({ name }: Draft, reason: SkillError["reason"], detail: string, file?: string): SkillError =>
  new SkillError({ skill: name, ...(file === undefined ? {} : { path: file }), reason, detail })

/** The SKILL.md of a draft, and what is read of it. Fails for what the specification does not allow. */
const textOf = Effect.fnUntraced(function* (draft: Draft, where: Where) {
  const problem = nameProblem(draft.name)
  if (problem !== undefined) return yield* fail(draft, "Invalid", problem)
  const { isExcluded, isIncluded } = wantedBy(where)
  if (!isIncluded(draft.name) || isExcluded(draft.name)) {
    const detail = "it would not be found: the Layer's include and exclude leave its name out"
    return yield* fail(draft, "Invalid", detail)
  }
  if (Buffer.byteLength(draft.body) > maxSkillBytes) {
    return yield* fail(draft, "TooLarge", `its body may have ${maxSkillBytes} bytes; move text into further files`)
  }
  const plain = print(draft)
  const text = draft.byAgent === true ? print(marked(draft, read(draft, plain))) : plain
  if (text.includes("\0") || !text.isWellFormed()) {
    return yield* fail(draft, "Invalid", "its texts contain null bytes or halves of characters")
  }
  const { problems, skill } = read(draft, text)
  const [wrong] = problems
  if (wrong !== undefined || skill === undefined) {
    return yield* fail(
      draft,
      "Invalid",
      wrong === undefined ? "it cannot be read" : `${wrong.problem}. ${wrong.remedy}`
    )
  }
  if (Buffer.byteLength(text) > maxSkillBytes) {
    return yield* fail(draft, "TooLarge", `its SKILL.md may have ${maxSkillBytes} bytes; move text into further files`)
  }
  return { skill, text }
})

const read = ({ name }: Draft, text: string): Parsed => parse(text, path.join("/", name, "SKILL.md"))

/** The entry of metadata that says that an agent wrote a skill: a digest of the rest, so that it does not outlive a change. */
const mark = "written-by-agent"

const marked = (draft: Draft, parsed: Parsed): Draft => ({
  ...draft,
  metadata: { ...draft.metadata, [mark]: digestOf(parsed.skill, parsed.body) }
})

const digestOf = (skill: Parsed["skill"] | Skill, body: string): string => {
  const { allowedTools, compatibility, description, license, metadata = {}, name } = skill ?? {}
  const entries = Object.entries(metadata).filter(([key]) => key !== mark)
  const text = JSON.stringify([name, description, license, compatibility, allowedTools, entries, body])
  return createHash("sha256").update(text).digest("hex")
}

/** True for a skill that an agent wrote, and that is as it wrote it. */
const isByAgent = ({ body, skill }: Found): boolean => skill.metadata[mark] === digestOf(skill, body)

/** The folder of a draft: that of the skill with its name, or a new one in the first folder of the Layer. */
const locationOf = Effect.fnUntraced(function* (draft: Draft, where: Where, byName: SkillScan["byName"]) {
  const folder = where.folders[0]!
  if ([...byName.values()].some(({ skill }) => skill.location === folder)) {
    const detail = "the first folder of the Layer is a skill itself; name the folder above it"
    return yield* fail(draft, "Invalid", detail)
  }
  const location = byName.get(draft.name)?.skill.location ?? path.join(folder, draft.name)
  if (!where.folders.includes(location)) return location
  return yield* fail(draft, "Exists", "its folder is one of the Layer's own, and is not replaced")
})

/** Changes a skill that an agent wrote. Files that the draft does not name stay. */
const update = (draft: Draft, old: Found | undefined, text: string, files: Files, unique: string): void => {
  if (old === undefined || !isByAgent(old)) {
    const detail = "a person wrote or changed it; only a skill that an agent wrote can be replaced. Choose another name"
    throw fail(draft, "Exists", detail)
  }
  try {
    const rooted = rootedAt(old.skill.location)
    // The instructions come last: they may speak of the files.
    for (const [file, content] of [...files, ["SKILL.md", text] as const]) rooted.write(file, content, unique)
  } catch (cause) {
    throw toSkillError(draft.name, undefined, cause)
  }
}

const put = (location: string, text: string, files: Files, unique: string, replace: boolean): void => {
  const old = fs.lstatSync(location, { throwIfNoEntry: false })
  if (old !== undefined && !(replace && old.isDirectory())) throw Object.assign(new Error("exists"), { code: "EEXIST" })
  // Hidden directories are not taken for skills.
  const made = path.join(path.dirname(location), `.${unique}.tmp`)
  const away = path.join(path.dirname(location), `.${unique}.old`)
  try {
    fs.mkdirSync(made)
    fs.writeFileSync(path.join(made, "SKILL.md"), text, { flag: "wx" })
    for (const [file, content] of files) {
      const to = path.join(made, file)
      fs.mkdirSync(path.dirname(to), { recursive: true })
      fs.writeFileSync(to, content, { flag: "wx", mode: file.startsWith("scripts/") ? 0o755 : 0o644 })
    }
    if (old !== undefined) fs.renameSync(location, away)
    try {
      fs.renameSync(made, location)
    } catch (error) {
      if (old !== undefined) fs.renameSync(away, location)
      throw error
    }
  } finally {
    fs.rmSync(made, { recursive: true, force: true })
  }
  fs.rmSync(away, { recursive: true, force: true })
}

const checkFiles = Effect.fnUntraced(function* (draft: Draft, files: Files, maxFileBytes: number) {
  for (const [file, content] of files) {
    const problem = fileProblem(draft, file, content, maxFileBytes)
    if (problem !== undefined) return yield* fail(draft, "Invalid", problem, file.slice(0, 200))
  }
  const lower = new Set(files.map(([file]) => file.toLowerCase()))
  if (lower.size < files.length) return yield* fail(draft, "Invalid", "two of its files differ in capitals only")
  const below = files.find(([file]) => above(file.toLowerCase()).some((directory) => lower.has(directory)))
  if (below !== undefined) return yield* fail(draft, "Invalid", "a file is where a directory is needed", below[0])
})

/** The directories above a file, in a path that was checked. */
const above = (file: string): ReadonlyArray<string> =>
  file.split("/").flatMap((_, n, parts) => (n === 0 ? [] : [parts.slice(0, n).join("/")]))

const fileProblem = (
  { byAgent }: Draft,
  file: string,
  content: string | Uint8Array,
  maxFileBytes: number
): string | undefined => {
  const parts = file.split("/")
  if (/[\\\0]/.test(file) || path.isAbsolute(file) || path.win32.isAbsolute(file) || /^[a-z]:/i.test(file)) {
    return "paths are relative to the skill's folder, with / between names"
  }
  const first = parts.find((part) => part !== ".") ?? ""
  if (byAgent === true && foldName(first) === "scripts")
    return "scripts cannot be written by an agent; put it elsewhere"
  if (parts.some((part) => part === "" || part === "." || part === "..")) return "a name in it is empty, . or .."
  if (foldName(file) === "skill.md") return "SKILL.md is made of the other fields"
  if (isBelowGit(parts)) return "files of .git name programs that git runs, and cannot be written"
  const size = typeof content === "string" ? Buffer.byteLength(content) : content.length
  return size > maxFileBytes ? `it has ${size} bytes, and may have ${maxFileBytes}` : undefined
}
