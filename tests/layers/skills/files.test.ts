/** Which skills are found in folders, and what of their files can be read: nothing that is not theirs. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Layer, Logger, References } from "effect"
import { Skills } from "troupe"
import { describe, expect } from "vitest"
import { it } from "../../support/edges.ts"
import { folder, put, root, skill } from "../../support/skillFolders.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "None")

const using = <A, E>(
  options: Skills.Options,
  use: (skills: Skills.Skills["Service"]) => Effect.Effect<A, E>
): Effect.Effect<A, E | Layer.Error<ReturnType<typeof Skills.layer>>> =>
  Effect.flatMap(Skills.Skills, use).pipe(Effect.provide(Skills.layer(options)), Effect.provide(quiet))

const names = (options: Skills.Options) =>
  using(options, ({ list }) => Effect.map(list, (skills) => skills.map(({ name }) => name)))

describe("skills are found", () => {
  it.live("in all folders, at most four levels down, in a folder that is one, and not in hidden ones", () =>
    Effect.gen(function* () {
      const first = folder({
        "b/SKILL.md": skill("b"),
        "x/y/z/deep/SKILL.md": skill("deep"),
        "x/y/z/w/deeper/SKILL.md": skill("deeper"),
        ".hidden/SKILL.md": skill("hidden"),
        "node_modules/pack/SKILL.md": skill("pack"),
        "b/inner/SKILL.md": skill("inner"),
        "README.md": "Skills."
      })
      const second = folder({ "own/SKILL.md": skill("own") })
      expect(yield* names({ folders: [first, path.join(second, "own")] })).toEqual(["b", "deep", "own"])
    })
  )

  it.live("by the patterns of their names, and what is left out is not read", () =>
    Effect.gen(function* () {
      const at = folder({
        "pdf-forms/SKILL.md": skill("pdf-forms"),
        "pdf-old/SKILL.md": "no skill",
        "minutes/SKILL.md": skill("minutes")
      })
      const problems = yield* using(
        { folders: [at], include: ["pdf-*"], exclude: ["*-old"], strict: true },
        ({ scan }) => scan
      )
      expect(problems).toMatchObject({ skills: [{ name: "pdf-forms" }], problems: [] })
    })
  )

  it.live("once when folders overlap", () =>
    Effect.gen(function* () {
      const at = folder({ "a/SKILL.md": skill("a"), "more/b/SKILL.md": skill("b") })
      expect(yield* names({ folders: [at, path.join(at, "more"), at], strict: true })).toEqual(["a", "b"])
    })
  )

  it.live("of two with one name the one of the first folder is used, and the problem names both", () =>
    Effect.gen(function* () {
      const mine = folder({ "same/SKILL.md": skill("same", "Mine.") })
      const theirs = folder({ "same/SKILL.md": skill("same", "Theirs."), "other/SKILL.md": skill("other") })
      const { problems, skills } = yield* using({ folders: [mine, theirs] }, ({ scan }) => scan)
      expect(skills.map(({ description, name }) => [name, description])).toEqual([
        ["same", "Mine."],
        ["other", "Does something."]
      ])
      expect(problems).toHaveLength(1)
      expect(problems[0]!.message).toContain(path.join(mine, "same/SKILL.md"))
      expect(problems[0]!.message).toContain(path.join(theirs, "same/SKILL.md"))
      expect(problems[0]!.message).toContain("Rename one of them")
      const error = yield* Effect.flip(names({ folders: [mine, theirs], strict: true }))
      expect(error._tag).toBe("InvalidSkills")
    })
  )

  it.live("and reports those that cannot be used: links, other spellings, pipes, directories", () =>
    Effect.gen(function* () {
      const elsewhere = folder({ "linked/SKILL.md": skill("linked"), "SKILL.md": skill("file") })
      const at = folder({ "good/SKILL.md": skill("good"), "small/skill.md": skill("small"), "dir/SKILL.md/x": "" })
      fs.symlinkSync(path.join(elsewhere, "linked"), path.join(at, "linked"))
      fs.mkdirSync(path.join(at, "file"))
      fs.symlinkSync(path.join(elsewhere, "SKILL.md"), path.join(at, "file/SKILL.md"))
      fs.mkdirSync(path.join(at, "pipe"))
      execFileSync("mkfifo", [path.join(at, "pipe/SKILL.md")])
      const { problems, skills } = yield* using({ folders: [at] }, ({ scan }) => scan)
      expect(skills.map(({ name }) => name)).toEqual(["good"])
      expect(Object.fromEntries(problems.map((one) => [path.relative(at, one.file), one.problem]))).toEqual({
        linked: "it is a link, and links are not followed",
        "small/skill.md": "a skill's file has another name",
        "dir/SKILL.md": expect.stringContaining("it cannot be read"),
        "file/SKILL.md": "it cannot be read: it is outside of the skill's folder",
        "pipe/SKILL.md": expect.stringContaining("it cannot be read")
      })
    })
  )

  it.live("and at most 500 of them", () =>
    Effect.gen(function* () {
      const at = folder(
        Object.fromEntries(Array.from({ length: 505 }, (_, n) => [`s${n}/SKILL.md`, skill(`s${n}`)] as const))
      )
      const { problems, skills } = yield* using({ folders: [at] }, ({ scan }) => scan)
      expect(skills).toHaveLength(500)
      expect(problems).toMatchObject([
        { file: at, problem: "there are more than 500 skills, and the rest is left out" }
      ])
    })
  )

  it.live("and no more of them than fit into a prompt", () =>
    Effect.gen(function* () {
      const files = Array.from({ length: 200 }, (_, n) => [`s${n}/SKILL.md`, skill(`s${n}`, "x".repeat(4000))] as const)
      const at = folder(Object.fromEntries(files))
      const { problems, skills } = yield* using({ folders: [at] }, ({ scan }) => scan)
      const listedChars = skills.reduce((sum, { description, name }) => sum + description.length + name.length, 0)
      expect(listedChars).toBeGreaterThanOrEqual(512 * 1024)
      expect(listedChars).toBeLessThan(512 * 1024 + 4100)
      expect(problems.filter(({ severity }) => severity === "error")).toMatchObject([
        {
          file: at,
          problem: "there are more than 524288 characters of names and descriptions, and the rest is left out"
        }
      ])
    })
  )

  it.live("in 2000 directories at most", () =>
    Effect.gen(function* () {
      const at = folder({})
      for (let n = 0; n < 2001; n++) fs.mkdirSync(path.join(at, String(n)))
      const { problems } = yield* using({ folders: [at] }, ({ scan }) => scan)
      expect(problems).toMatchObject([
        { file: at, severity: "error", problem: "there are more than 2000 directories, and the rest is left out" }
      ])
    })
  )

  it.live(
    "as they are now: written, changed, broken, fixed and removed while it is used; each problem is logged once",
    () =>
      Effect.gen(function* () {
        const at = folder({ "a/SKILL.md": skill("a") })
        const logged: Array<unknown> = []
        const logger = Logger.layer([Logger.make(({ message }) => void logged.push(message))])
        yield* Effect.gen(function* () {
          const { read, scan } = yield* Skills.Skills
          const now = Effect.map(scan, ({ skills }) => skills.map(({ description, name }) => `${name}: ${description}`))
          expect(yield* now).toEqual(["a: Does something."])
          put(at, "b/SKILL.md", skill("b", "1"))
          expect(yield* now).toEqual(["a: Does something.", "b: 1"])
          // Of the same size, at the same moment.
          put(at, "b/SKILL.md", skill("b", "2", "Do so."))
          expect(yield* now).toEqual(["a: Does something.", "b: 2"])
          expect((yield* read("b")).instructions).toBe("Do so.")
          put(at, "a/SKILL.md", "broken")
          expect(yield* now).toEqual(["b: 2"])
          expect(yield* now).toEqual(["b: 2"])
          put(at, "a/SKILL.md", skill("a", "back"))
          fs.rmSync(path.join(at, "b"), { recursive: true })
          expect(yield* now).toEqual(["a: back"])
          fs.rmSync(at, { recursive: true })
          expect(yield* now).toEqual([])
        }).pipe(Effect.provide(Skills.layer({ folders: [at] })), Effect.provide(logger))
        expect(logged.map(String)).toEqual([
          expect.stringContaining("does not start with front matter"),
          expect.stringContaining("it cannot be looked into")
        ])
      })
  )

  it.live("again when one has changed after a long time, also behind a link, and also when its date says nothing", () =>
    Effect.gen(function* () {
      const at = folder({ "a/SKILL.md": skill("a", "1"), "l/real.md": skill("l", "1") })
      fs.symlinkSync("real.md", path.join(at, "l/SKILL.md"))
      yield* using({ folders: [at] }, ({ scan }) =>
        Effect.gen(function* () {
          const now = Effect.map(scan, ({ skills }) => skills.map(({ description }) => description))
          yield* Effect.sleep("2100 millis")
          expect(yield* now).toEqual(["1", "1"])
          const { atime, mtime } = fs.statSync(path.join(at, "a/SKILL.md"))
          put(at, "a/SKILL.md", skill("a", "2"))
          put(at, "l/real.md", skill("l", "2"))
          for (const file of ["a/SKILL.md", "l/real.md"]) fs.utimesSync(path.join(at, file), atime, mtime)
          expect(yield* now).toEqual(["2", "2"])
        })
      )
    })
  )

  it.live("in folders that exist, else the Layer says which does not", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(names({ folders: [path.join(root, "nowhere")] }))
      expect(error._tag).toBe("InvalidDefinition")
      expect(error.message).toContain(path.join(root, "nowhere"))
    })
  )
})

/** A skill with everything in it that should not be there, next to a secret. */
const hostile = () => {
  const at = folder({
    "secret.txt": "the secret",
    "tricky/SKILL.md": skill("tricky", "x", "Look."),
    "tricky/references/a.md": "one\ntwo\nthree",
    "tricky/references/Big.md": "x".repeat(200_001),
    "tricky/image.bin": Uint8Array.of(1, 0, 2),
    "tricky-twin/SKILL.md": skill("tricky-twin"),
    "tricky-twin/twin.txt": "the twin's"
  })
  const inside = path.join(at, "tricky")
  fs.symlinkSync("../secret.txt", path.join(inside, "link.txt"))
  fs.symlinkSync("..", path.join(inside, "up"))
  fs.symlinkSync("references", path.join(inside, "refs"))
  fs.symlinkSync("/etc/passwd", path.join(inside, "passwd"))
  fs.symlinkSync("loop", path.join(inside, "loop"))
  execFileSync("mkfifo", [path.join(inside, "pipe")])
  return { at, inside }
}

describe("the files of a skill", () => {
  it.live("are named without links, pipes and what lies elsewhere", () =>
    Effect.gen(function* () {
      const { at } = hostile()
      const { files, moreFiles } = yield* using({ folders: [at] }, ({ read }) => read("tricky"))
      expect(files).toEqual(["image.bin", "references/Big.md", "references/a.md"])
      expect(moreFiles).toBe(false)
    })
  )

  it.live("are read by lines, through a link inside of the skill too", () =>
    Effect.gen(function* () {
      const { at } = hostile()
      yield* using({ folders: [at] }, ({ readFile }) =>
        Effect.gen(function* () {
          expect(yield* readFile("tricky", "references/a.md")).toEqual({
            content: "one\ntwo\nthree",
            from: 1,
            to: 3,
            totalLines: 3,
            truncated: false
          })
          expect(yield* readFile("tricky", "./references/../refs/a.md", { from: 2, lines: 1 })).toEqual({
            content: "two",
            from: 2,
            to: 2,
            totalLines: 3,
            truncated: true
          })
          for (const from of [-5, 99])
            expect((yield* readFile("tricky", "refs/a.md", { from })).from).toBe(from < 0 ? 1 : 3)
        })
      )
    })
  )

  for (const [given, reason] of [
    ["../secret.txt", "Outside"],
    ["references/../../secret.txt", "Outside"],
    ["../tricky-twin/twin.txt", "Outside"],
    ["..", "Outside"],
    ["/etc/passwd", "Outside"],
    ["C:\\Windows\\win.ini", "Outside"],
    ["\\\\server\\share", "Outside"],
    ["link.txt", "Outside"],
    ["up/secret.txt", "Outside"],
    ["up/tricky-twin/twin.txt", "Outside"],
    ["passwd", "Outside"],
    ["references/a.md\0.txt", "Outside"],
    ["..\\secret.txt", "NotFound"],
    ["%2e%2e/secret.txt", "NotFound"],
    ["REFERENCES/a.md", "NotFound"],
    ["~/x", "NotFound"],
    ["loop", "Outside"],
    ["pipe", "WrongKind"],
    ["references", "WrongKind"],
    [".", "WrongKind"],
    ["", "WrongKind"],
    ["image.bin", "Binary"],
    ["references/Big.md", "TooLarge"],
    ["x".repeat(100_000), "System"]
  ] as const) {
    it.live(`are not ${JSON.stringify(given).slice(0, 40)}`, () =>
      Effect.gen(function* () {
        const { at } = hostile()
        const error = yield* Effect.flip(
          using({ folders: [at], maxFileBytes: 200_000 }, ({ readFile }) => readFile("tricky", given))
        )
        expect(error).toMatchObject({ _tag: "SkillError", skill: "tricky", path: given, reason })
        // The model learns nothing about the machine.
        expect(error.message.replace(given, "")).not.toContain(root)
        expect(error.message.replace(given, "")).not.toContain("secret")
      })
    )
  }

  it.live("of a skill whose folder was swapped for a link are not read", () =>
    Effect.gen(function* () {
      const { at } = hostile()
      yield* using({ folders: [at] }, ({ readFile, scan }) =>
        Effect.gen(function* () {
          yield* scan
          fs.renameSync(path.join(at, "tricky"), path.join(at, ".moved"))
          fs.symlinkSync("tricky-twin", path.join(at, "tricky"))
          const error = yield* Effect.flip(readFile("tricky", "twin.txt"))
          expect(error).toMatchObject({ reason: "NotFound", detail: "there is no such skill; there is: tricky-twin" })
        })
      )
    })
  )

  it.live("list 200 names at most, and long instructions say where they go on", () =>
    Effect.gen(function* () {
      const files = Object.fromEntries(Array.from({ length: 250 }, (_, n) => [`s/references/${n}.md`, ""] as const))
      const body = Array.from({ length: 50 }, (_, n) => `line ${n}`).join("\n")
      const at = folder({ ...files, "s/SKILL.md": skill("s", "x", `\n\n${body}`) })
      yield* using({ folders: [at], maxReadChars: 100 }, ({ read, readFile }) =>
        Effect.gen(function* () {
          const { continuesAtLine, files, instructions, moreFiles } = yield* read("s")
          expect([files.length, moreFiles]).toEqual([200, true])
          const last = instructions.split("\n").at(-1)!
          const next = yield* readFile("s", "SKILL.md", { from: continuesAtLine!, lines: 1 })
          expect(next.content).toBe(`line ${Number(last.slice(5)) + 1}`)
        })
      )
    })
  )

  it.live("of an unknown skill: it is said which there are", () =>
    Effect.gen(function* () {
      const at = folder({ "a/SKILL.md": skill("a"), "b/SKILL.md": skill("b") })
      for (const name of ["c", "../a", "", "A", "__proto__"]) {
        const error = yield* Effect.flip(using({ folders: [at] }, ({ read }) => read(name)))
        expect(error).toMatchObject({ reason: "NotFound", detail: "there is no such skill; there is: a, b" })
      }
    })
  )
})
