/** Agents with skills: what the model is told, when, and what its tools give. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Effect, Layer } from "effect"
import { type Runner, SkillAgent, Skills, TestModel } from "troupe"
import { afterAll, describe, expect } from "vitest"
import { it } from "../support/edges.ts"

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "troupe-skills-")))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))
let count = 0

/** A folder with these files. */
const folder = (files: Readonly<Record<string, string>>): string => {
  const made = path.join(root, `${count++}`)
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(made, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, content)
  }
  return made
}

const skill = (name: string, description: string, body = "Do it.") =>
  `---\nname: ${name}\ndescription: ${description}\n---\n\n${body}\n`

const system = (call: TestModel.Call): string =>
  call.prompt.content.flatMap((message) => (message.role === "system" ? [message.content] : [])).join("\n")

const results = (result: Runner.Result<unknown>) =>
  result.transcript.content.flatMap((message) =>
    message.role === "tool" ? message.content.flatMap((part) => (part.type === "tool-result" ? [part.result] : [])) : []
  )

describe("an agent with skills", () => {
  it.live("is told names and descriptions, reads the instructions, a file, and runs a script", () =>
    Effect.gen(function* () {
      const skills = folder({
        "pdf-forms/SKILL.md": skill(
          "pdf-forms",
          "Fills in forms.",
          "See references/fields.md, then run scripts/fill.sh."
        ),
        "pdf-forms/references/fields.md": "name\ndate\n",
        "pdf-forms/scripts/fill.sh": 'cat; echo " for $1 in $(basename "$PWD")"\n',
        "minutes/SKILL.md": skill("minutes", "Writes minutes.")
      })
      const calls: Array<TestModel.Call> = []
      const script = [
        TestModel.toolCall("read_skill", { name: "pdf-forms" }),
        TestModel.toolCall("read_skill_file", { skill: "pdf-forms", path: "references/fields.md", lines: 1 }),
        TestModel.toolCall("run_skill_script", {
          skill: "pdf-forms",
          script: "scripts/fill.sh",
          args: ["Ada"],
          input: "filled in"
        }),
        "It is filled in."
      ]
      const clerk = SkillAgent.make("clerk", { instructions: "You work in an office." })
      const result = yield* clerk.result("Fill in the form").pipe(
        Effect.provide(
          Layer.mergeAll(
            Skills.layer({ folders: [skills], scripts: {} }),
            TestModel.layer((call) => {
              calls.push(call)
              return script[call.index]!
            })
          )
        )
      )
      expect(result.output).toBe("It is filled in.")
      expect(system(calls[0]!)).toMatch(/^You work in an office\.\n\nYou have skills/)
      expect(system(calls[0]!)).toMatch(/- minutes: Writes minutes\.\n- pdf-forms: Fills in forms\.$/)
      expect(JSON.stringify(calls[0]!.prompt)).not.toContain("references")
      expect(calls[0]!.tools).toEqual(["read_skill", "read_skill_file", "run_skill_script"])
      expect(results(result)).toMatchObject([
        {
          instructions: "See references/fields.md, then run scripts/fill.sh.",
          files: ["references/fields.md", "scripts/fill.sh"],
          moreFiles: false
        },
        { content: "name", from: 1, to: 1, totalLines: 3, truncated: true },
        { exitCode: 0, signal: null, stdout: "filled in for Ada in pdf-forms\n", stderr: "", truncated: false }
      ])
    })
  )
})
