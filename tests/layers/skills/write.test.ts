/** Skills that are written by a program: what specification and folder allow, all of it or nothing. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Layer, References, Schema } from "effect"
import { Skills } from "troupe"
import { describe, expect } from "vitest"
import { it } from "../../support/edges.ts"
import { folder, put, skill } from "../../support/skillFolders.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "None")
const layer = (options: Skills.Options) => Skills.layer(options).pipe(Layer.provideMerge(quiet))

const draft: Skills.Draft = { name: "notes", description: "Takes notes.", body: "Write." }

/** Texts with what means something in YAML and Markdown. */
const Text = Schema.Array(
  Schema.Union([
    Schema.String,
    Schema.Literals([
      "\n",
      "\r\n",
      "---",
      "\n---\n",
      ": ",
      "#",
      " #",
      "'",
      '"',
      "&a",
      "*a",
      "!!x",
      "|",
      ">",
      "%",
      "\t",
      "- "
    ]),
    Schema.Literals([
      "null",
      "yes",
      "1.0",
      "0x1",
      "2020-01-01",
      "<<",
      "__proto__",
      "\\",
      "\u0007",
      "\u0085",
      "\u2028",
      "\uFEFF",
      "é",
      "𝒳"
    ])
  ])
)

const entries = (at: string) =>
  fs
    .readdirSync(at, { recursive: true, withFileTypes: true })
    .map((one) => path.relative(at, path.join(one.parentPath, one.name)))
    .sort()

describe("a skill that is written", () => {
  it.live("is there at once, with its fields and files, and its scripts run", () =>
    Effect.gen(function* () {
      const at = folder({})
      yield* Effect.gen(function* () {
        const written = yield* Skills.write({
          ...draft,
          license: "MIT",
          compatibility: "Needs a pen",
          metadata: { author: "me: and you", version: "1.0" },
          allowedTools: ["Read", "Bash(git:*)"],
          files: {
            "references/a.md": "A",
            "assets/a.bin": Uint8Array.of(0, 1),
            "scripts/hi.sh": "echo hi",
            "scripts/own": "#!/bin/sh\necho own\n"
          }
        })
        const { list, read, run } = yield* Skills.Skills
        expect(yield* list).toEqual([written])
        expect(written).toEqual({
          name: "notes",
          description: "Takes notes.",
          license: "MIT",
          compatibility: "Needs a pen",
          metadata: { author: "me: and you", version: "1.0" },
          allowedTools: ["Read", "Bash(git:*)"],
          location: path.join(at, "notes")
        })
        expect(yield* read("notes")).toMatchObject({
          instructions: "Write.",
          files: ["assets/a.bin", "references/a.md", "scripts/hi.sh", "scripts/own"]
        })
        expect((yield* run("notes", "scripts/hi.sh")).stdout).toBe("hi\n")
        expect((yield* run("notes", "scripts/own")).stdout).toBe("own\n")
        expect(fs.readdirSync(at)).toEqual(["notes"])
      }).pipe(Effect.provide(layer({ folders: [at], scripts: {}, strict: true })))
    })
  )

  it.live("replaces another only with replace, wherever that is, and then all of it", () =>
    Effect.gen(function* () {
      const first = folder({})
      const second = folder({ "deep/notes/SKILL.md": skill("notes"), "deep/notes/old.md": "old" })
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(Skills.write(draft))
        expect(error).toMatchObject({ _tag: "SkillError", reason: "Exists" })
        expect(error.message).toContain("replace: true")
        expect(entries(second)).toContain("deep/notes/old.md")
        const written = yield* Skills.write({ ...draft, replace: true })
        expect(written.location).toBe(path.join(second, "deep/notes"))
        expect(entries(second)).toEqual(["deep", "deep/notes", "deep/notes/SKILL.md"])
        expect(entries(first)).toEqual([])
      }).pipe(Effect.provide(layer({ folders: [first, second], strict: true })))
    })
  )

  it.live("takes the place of a broken one, and not that of a file or a link", () =>
    Effect.gen(function* () {
      const at = folder({ "notes/SKILL.md": "broken", file: "", "elsewhere/x": "" })
      fs.symlinkSync("elsewhere", path.join(at, "linked"))
      yield* Effect.gen(function* () {
        expect(yield* Effect.flip(Skills.write(draft))).toMatchObject({ reason: "Exists" })
        yield* Skills.write({ ...draft, replace: true })
        for (const name of ["file", "linked"]) {
          expect(yield* Effect.flip(Skills.write({ ...draft, name, replace: true }))).toMatchObject({
            reason: "Exists"
          })
        }
        expect(entries(at)).toEqual([
          "elsewhere",
          "elsewhere/x",
          "file",
          "linked",
          "linked/x",
          "notes",
          "notes/SKILL.md"
        ])
      }).pipe(Effect.provide(layer({ folders: [at] })))
    })
  )

  for (const [what, change, says] of [
    ["a bad name", { name: "Notes" }, "has capitals"],
    ["a name that leads out", { name: "../notes" }, "other characters"],
    ["an empty name", { name: "" }, "name is empty"],
    ["no description", { description: " " }, "description is empty"],
    ["a long description", { description: "x".repeat(1025) }, "1025 characters"],
    ["a long compatibility", { compatibility: "x".repeat(501) }, "501 characters"],
    ["a huge body", { body: "x".repeat(300_000) }, "262144 bytes"],
    ["a name that is left out", { name: "secret-notes" }, "include and exclude"],
    ["a file above it", { files: { "../x": "" } }, "empty, . or .."],
    ["a file above it, in the middle", { files: { "a/../../x": "" } }, "empty, . or .."],
    ["an absolute file", { files: { "/tmp/x": "" } }, "relative"],
    ["a file of Windows", { files: { "C:x": "" } }, "relative"],
    ["a file with backslashes", { files: { "a\\..\\..\\x": "" } }, "relative"],
    ["a file with a null byte", { files: { "a\0": "" } }, "relative"],
    ["a file without a name", { files: { "": "" } }, "empty, . or .."],
    ["a file that is a directory", { files: { "a/": "" } }, "empty, . or .."],
    ["a second SKILL.md", { files: { "skill.MD": "" } }, "SKILL.md is made of"],
    ["a huge file", { files: { a: "x".repeat(1001) } }, "1001 bytes"],
    ["two files that are one elsewhere", { files: { a: "", A: "" } }, "capitals only"],
    ["a file below a file", { files: { a: "", "A/b": "" } }, "where a directory is needed"],
    ["a file of git", { files: { ".git/config": "" } }, ".git"],
    ["a file of git in another spelling", { files: { "a/.GIT /hooks/x": "" } }, ".git"],
    ["a long file name", { files: { ["x".repeat(300)]: "" } }, "the system refused it"]
  ] satisfies ReadonlyArray<readonly [string, Partial<Skills.Draft>, string]>) {
    it.live(`is refused with ${what}, and nothing is left of it`, () =>
      Effect.gen(function* () {
        const at = folder({ "folder/notes/SKILL.md": skill("notes", "Old.") })
        const inside = path.join(at, "folder")
        const error = yield* Skills.write({ ...draft, replace: true, ...change }).pipe(
          Effect.flip,
          Effect.provide(layer({ folders: [inside], exclude: ["secret-*"], maxFileBytes: 1000 }))
        )
        expect(error._tag).toBe("SkillError")
        expect(error.message).toContain(says)
        expect(error.message).not.toContain(at)
        expect(entries(at)).toEqual(["folder", "folder/notes", "folder/notes/SKILL.md"])
        expect(fs.readFileSync(path.join(inside, "notes/SKILL.md"), "utf8")).toContain("Old.")
      })
    )
  }

  it.live("is refused where it would not be found", () =>
    Effect.gen(function* () {
      const at = folder({ "own/SKILL.md": skill("own") })
      const error = yield* Effect.flip(Skills.write(draft)).pipe(
        Effect.provide(layer({ folders: [path.join(at, "own")] }))
      )
      expect(error.message).toContain("is a skill itself")
      const replaced = yield* Effect.flip(Skills.write({ ...draft, name: "own", replace: true })).pipe(
        Effect.provide(layer({ folders: [path.join(at, "own")] }))
      )
      expect(replaced._tag).toBe("SkillError")
    })
  )

  it.live("by an agent is marked, and replaced by an agent with the files that it does not name left alone", () =>
    Effect.gen(function* () {
      const at = folder({})
      yield* Effect.gen(function* () {
        const { list } = yield* Skills.Skills
        yield* Skills.write({ ...draft, byAgent: true, files: { "references/a.md": "A", "references/b.md": "B" } })
        expect((yield* list)[0]!.metadata).toEqual({ "written-by-agent": expect.stringMatching(/^[0-9a-f]{64}$/) })
        put(at, "notes/scripts/x.sh", "echo by a person")
        expect(yield* Effect.flip(Skills.write({ ...draft, byAgent: true }))).toMatchObject({ reason: "Exists" })
        const files = { "references/b.md": "B2" }
        yield* Skills.write({ ...draft, description: "Better.", byAgent: true, replace: true, files })
        expect((yield* list).map(({ description }) => description)).toEqual(["Better."])
        const contents = ["references/a.md", "references/b.md", "scripts/x.sh"].map((file) =>
          fs.readFileSync(path.join(at, "notes", file), "utf8")
        )
        expect(contents).toEqual(["A", "B2", "echo by a person"])
        // Once more: it is still the agent's.
        yield* Skills.write({ ...draft, description: "Best.", byAgent: true, replace: true })
      }).pipe(Effect.provide(layer({ folders: [at], strict: true })))
    })
  )

  for (const [what, prepare] of [
    ["a person wrote", (at: string) => put(at, "notes/SKILL.md", skill("notes", "By a person."))],
    [
      "a person has changed",
      (at: string) => {
        const file = path.join(at, "notes/SKILL.md")
        fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace("Write.", "Ask the boss first."))
      }
    ],
    ["cannot be read", (at: string) => put(at, "notes/SKILL.md", "broken")]
  ] as const) {
    it.live(`by an agent does not take the place of one that ${what}`, () =>
      Effect.gen(function* () {
        const at = folder({})
        yield* Effect.gen(function* () {
          yield* Skills.write({ ...draft, byAgent: true })
          prepare(at)
          const before = fs.readFileSync(path.join(at, "notes/SKILL.md"), "utf8")
          const error = yield* Effect.flip(Skills.write({ ...draft, body: "Never ask.", byAgent: true, replace: true }))
          expect(error).toMatchObject({ _tag: "SkillError", reason: "Exists" })
          expect(error.message).toContain("only a skill that an agent wrote")
          expect(fs.readFileSync(path.join(at, "notes/SKILL.md"), "utf8")).toBe(before)
        }).pipe(Effect.provide(layer({ folders: [at] })))
      })
    )
  }

  it.live("by an agent writes no file through a link out of its skill", () =>
    Effect.gen(function* () {
      const at = folder({ "outside/x": "" })
      const inside = path.join(at, "skills")
      fs.mkdirSync(inside)
      yield* Effect.gen(function* () {
        yield* Skills.write({ ...draft, byAgent: true })
        fs.symlinkSync("../../outside", path.join(inside, "notes/references"))
        const files = { "references/a.md": "A" }
        const error = yield* Effect.flip(Skills.write({ ...draft, byAgent: true, replace: true, files }))
        expect(error).toMatchObject({ reason: "Outside" })
        expect(fs.readdirSync(path.join(at, "outside"))).toEqual(["x"])
      }).pipe(Effect.provide(layer({ folders: [inside] })))
    })
  )

  it.live("is never seen in part", () =>
    Effect.gen(function* () {
      const at = folder({})
      const files = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`references/${n}.md`, `${n}`] as const))
      yield* Effect.gen(function* () {
        const { read, scan } = yield* Skills.Skills
        const watch = Effect.gen(function* () {
          const { problems, skills } = yield* scan
          expect(problems).toEqual([])
          for (const { name } of skills) expect((yield* read(name)).files).toHaveLength(50)
        })
        const writes = Effect.forEach([1, 2, 3, 4, 5], (n) =>
          Effect.andThen(Skills.write({ ...draft, description: `${n}`, files, replace: true }), Effect.yieldNow)
        )
        yield* Effect.all([writes, Effect.repeat(Effect.andThen(watch, Effect.yieldNow), { times: 20 })], {
          concurrency: 2
        })
      }).pipe(Effect.provide(layer({ folders: [at] })))
    })
  )

  it.effect.prop(
    "reads as it was written, for all texts",
    { description: Text, body: Text, license: Text, keys: Schema.Array(Text), value: Text },
    ({ body, description, keys, license, value }) =>
      Effect.gen(function* () {
        const at = folder({})
        const metadata = Object.fromEntries(keys.map((key) => [key.join(""), value.join("")] as const))
        const texts = { body: body.join(""), description: description.join(""), license: license.join(""), metadata }
        yield* Effect.gen(function* () {
          const result = yield* Effect.result(Skills.write({ ...draft, ...texts }))
          if (result._tag === "Failure") {
            expect(result.failure.reason).toBe("Invalid")
            expect(fs.readdirSync(at)).toEqual([])
            return
          }
          const { list } = yield* Skills.Skills
          expect(yield* list).toEqual([result.success])
          expect(result.success.metadata).toEqual(texts.metadata)
          expect(result.success.license).toBe(texts.license.trim())
        }).pipe(Effect.provide(layer({ folders: [at], strict: true })))
      })
  )

  it.live("by hand or by a program is the same", () =>
    Effect.gen(function* () {
      const at = folder({})
      put(at, "by-hand/SKILL.md", skill("by-hand", "Takes notes.", "Write."))
      yield* Effect.gen(function* () {
        yield* Skills.write({ ...draft, name: "by-program" })
        const [hand, program] = yield* Effect.flatMap(Skills.Skills, ({ list }) => list)
        expect({ ...program, name: "", location: "" }).toEqual({ ...hand, name: "", location: "" })
      }).pipe(Effect.provide(layer({ folders: [at], strict: true })))
    })
  )
})
