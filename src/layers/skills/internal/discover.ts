/** Finds the skills in folders, and keeps what it read of them so that the next scan costs little. Links are not followed. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { InvalidSkill, type Scan, type Skill } from "../../../services/Skills.ts"
import { matcher } from "../../internal/files/glob.ts"
import * as Rooted from "../../internal/files/rooted.ts"
import { textOf } from "../../internal/files/text.ts"
import { type Parsed, parse } from "./frontMatter.ts"
import { rootedAt, toSkillError } from "./place.ts"

/** Where skills are looked for. */
export interface Where {
  /** Real paths. Of two skills with one name, that of the earlier folder is used. */
  readonly folders: ReadonlyArray<string>
  readonly include: ReadonlyArray<string> | undefined
  readonly exclude: ReadonlyArray<string>
}

/** A skill with its body. */
export interface Found {
  readonly skill: Skill
  readonly body: string
  readonly bodyLine: number
}

/** The result of a scan. */
export interface SkillScan extends Scan {
  readonly byName: ReadonlyMap<string, Found>
}

/** How deep skills may lie below a folder, and how many directories, entries, skills and bytes one scan takes on. */
const maxDepth = 4
const maxDirectories = 2000
const maxSkills = 500
const maxEntries = 10_000
export const maxSkillBytes = 256 * 1024
/** How many characters all names and descriptions may have: models read them with every request. */
const maxLength = 512 * 1024
/** After how many directories other fibers have their turn. */
const atOnce = 32

/** Directories that hold no skills. Hidden ones are passed over too. */
const passedOver = new Set(["node_modules"])

/** Which names the patterns of a Layer let through. */
export interface Wanted {
  readonly isIncluded: (name: string) => boolean
  readonly isExcluded: (name: string) => boolean
}

export const wantedBy = ({ exclude, include }: Where): Wanted => {
  // A pattern is compared with a name as a whole: it may begin with a dot and contain slashes.
  const compile = (pattern: string) => {
    const fits = matcher(pattern, { dot: true })
    return (name: string) => fits(name.replaceAll("/", "_"))
  }
  const [included, excluded] = [include?.map(compile), exclude.map(compile)]
  return {
    isIncluded: (name) => included === undefined || included.some((fits) => fits(name)),
    isExcluded: (name) => excluded.some((fits) => fits(name))
  }
}

/** The content of a SKILL.md. */
interface Kept {
  /** The metadata of an unchanged file; `undefined` when a change may not show in it. */
  readonly unchanged: string | undefined
  readonly bytes: Buffer
  readonly parsed: Parsed
}
type Cache = Map<string, Kept>

/** How old a change must be for another one to show, as times of files are coarse. Milliseconds. */
const settledMs = 2000

/** Makes a scan for skills: it goes through the folders each time it runs, and reads and parses what has changed. */
export const make = (where: Where): Effect.Effect<SkillScan> => {
  const wanted = wantedBy(where)
  let kept: Cache = new Map()
  return Effect.gen(function* () {
    const scan = begin(wanted, kept, yield* Clock.currentTimeMillis)
    for (const folder of where.folders) {
      const waiting: Array<readonly [directory: string, depth: number]> = [[".", 0]]
      const rooted = Rooted.make(folder)
      for (let n = 1; waiting.length > 0 && goesOn(scan, folder); n++) {
        const [directory, depth] = waiting.shift()!
        const below = lookInto(scan, rooted, folder, directory)
        if (depth < maxDepth) waiting.push(...below.map((name) => [path.join(directory, name), depth + 1] as const))
        if (n % atOnce === 0 || scan.tookLong) yield* Effect.yieldNow
      }
    }
    kept = scan.seen
    return resultOf(scan)
  })
}

/** One scan, and what it has found so far. */
interface Progress {
  readonly seen: Cache
  readonly wanted: Wanted
  readonly kept: Cache
  readonly now: number
  readonly found: Map<string, Found>
  readonly problems: Array<InvalidSkill>
  readonly visited: Set<string>
  /** Something was parsed in the last directory. */
  tookLong: boolean
  directories: number
  /** How many skills of wanted names were read, and how many characters models read of them. */
  taken: number
  length: number
  stopped: boolean
}

const begin = (wanted: Wanted, kept: Cache, now: number): Progress => ({
  seen: new Map(),
  wanted,
  kept,
  now,
  found: new Map(),
  problems: [],
  visited: new Set(),
  tookLong: false,
  directories: 0,
  taken: 0,
  length: 0,
  stopped: false
})

const resultOf = (scan: Progress): SkillScan => ({
  skills: [...scan.found.values()].map(({ skill }) => skill),
  problems: scan.problems,
  byName: scan.found
})

const goesOn = (scan: Progress, folder: string): boolean => {
  if (scan.stopped) return false
  const many =
    scan.directories >= maxDirectories
      ? `more than ${maxDirectories} directories`
      : scan.taken >= maxSkills
        ? `more than ${maxSkills} skills`
        : scan.length >= maxLength
          ? `more than ${maxLength} characters of names and descriptions`
          : undefined
  if (many === undefined) return true
  scan.stopped = true
  const remedy = "Name folders that hold skills only, or include fewer skills"
  say(scan, folder, "error", `there are ${many}, and the rest is left out`, remedy)
  return false
}

/** Looks into a directory. Returns the names of those in it that may hold skills. */
const lookInto = (scan: Progress, rooted: Rooted.Rooted, folder: string, directory: string): ReadonlyArray<string> => {
  scan.directories++
  scan.tookLong = false
  const at = path.join(folder, directory)
  let entries
  try {
    entries = rooted.list(directory, maxEntries)
  } catch (cause) {
    say(scan, at, "error", `it cannot be looked into: ${toSkillError("", directory, cause).detail}`, "Let it be read")
    return []
  }
  if (entries.some(({ name }) => name === "SKILL.md")) {
    // A folder can lie in another one.
    if (!scan.visited.has(at) && !scan.wanted.isExcluded(path.basename(at))) readSkill(scan, at)
    scan.visited.add(at)
    return []
  }
  if (entries.length === maxEntries) {
    say(scan, at, "error", `it has more than ${maxEntries} entries, and the rest is left out`, "Name another folder")
  }
  const below: Array<string> = []
  for (const entry of entries) {
    const file = path.join(at, entry.name)
    if (entry.isDirectory()) {
      if (!entry.name.startsWith(".") && !passedOver.has(entry.name)) below.push(entry.name)
    } else if (entry.name.toLowerCase() === "skill.md") {
      say(scan, file, "error", "a skill's file has another name", "Rename it to SKILL.md")
    } else if (entry.isSymbolicLink() && leadsToSkill(file) && isWanted(scan, entry.name)) {
      say(scan, file, "error", "it is a link, and links are not followed", "Name the folder that it leads to")
    }
  }
  return below
}

const readSkill = (scan: Progress, at: string): void => {
  const file = path.join(at, "SKILL.md")
  const parsed = parsedAt(scan, at, file)
  if (parsed === undefined) return
  const { body, bodyLine, problems, skill } = parsed
  if (!isWanted(scan, skill?.name ?? path.basename(at))) return
  scan.taken++
  scan.problems.push(...problems)
  if (skill === undefined) return
  scan.length += skill.name.length + skill.description.length
  const other = scan.found.get(skill.name)
  if (other === undefined) {
    scan.found.set(skill.name, { skill: { ...skill, location: at }, body, bodyLine })
    return
  }
  say(
    scan,
    file,
    "error",
    `a skill named "${skill.name}" is in ${path.join(other.skill.location, "SKILL.md")} too, and that one is used`,
    "Rename one of them, or exclude both"
  )
}

const isWanted = (scan: Progress, name: string): boolean =>
  scan.wanted.isIncluded(name) && !scan.wanted.isExcluded(name)

const parsedAt = (scan: Progress, at: string, file: string): Parsed | undefined => {
  const kept = scan.kept.get(file)
  const unchanged = signatureOf(file, scan.now)
  if (kept?.unchanged !== undefined && kept.unchanged === unchanged) return keep(scan, file, kept)
  const bytes = bytesAt(scan, at)
  if (bytes === undefined) return undefined
  if (kept !== undefined && kept.bytes.equals(bytes)) return keep(scan, file, { ...kept, unchanged })
  scan.tookLong = true
  const text = textOf(bytes)
  if (text !== undefined) return keep(scan, file, { unchanged, bytes, parsed: parse(text, file) })
  sayUnread(scan, at, "it is not text", "Save it as UTF-8")
  return undefined
}

const keep = (scan: Progress, file: string, kept: Kept): Parsed => {
  scan.seen.set(file, kept)
  return kept.parsed
}

const bytesAt = (scan: Progress, at: string): Buffer | undefined => {
  try {
    const { bytes } = rootedAt(at).read("SKILL.md", maxSkillBytes)
    if (bytes !== undefined) return bytes
    sayUnread(scan, at, `it has more than ${maxSkillBytes} bytes`, "Move text into further files")
  } catch (cause) {
    const { detail } = toSkillError("", "SKILL.md", cause)
    sayUnread(scan, at, `it cannot be read: ${detail}`, "Make it a plain file")
  }
  return undefined
}

/** A skill whose name is not known is wanted or not by that of its folder. */
const sayUnread = (scan: Progress, at: string, problem: string, remedy: string): void => {
  if (isWanted(scan, path.basename(at))) say(scan, path.join(at, "SKILL.md"), "error", problem, remedy)
}

const say = (
  scan: Progress,
  file: string,
  severity: InvalidSkill["severity"],
  problem: string,
  remedy: string
): void => {
  scan.problems.push(new InvalidSkill({ file, severity, problem, remedy }))
}

/** What changes with a file; `undefined` for one that may have changed just now, and for a link, whose file may change. */
const signatureOf = (file: string, now: number): string | undefined => {
  try {
    const stat = fs.lstatSync(file, { bigint: true })
    if (!stat.isFile() || now - Number(stat.ctimeMs) < settledMs) return undefined
    return [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join()
  } catch {
    return undefined
  }
}

/** For a message only: nothing is read through the link. */
const leadsToSkill = (link: string): boolean => {
  try {
    return fs.lstatSync(path.join(link, "SKILL.md"), { throwIfNoEntry: false }) !== undefined
  } catch {
    return false
  }
}
