/** Agents with skills: what the model sees, when, and what its tools return. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Context, Effect, Fiber, Layer, References, Schema } from "effect"
import { LanguageModel, type Tool } from "effect/ai"
import { Agent, AgentTool, Approvals, Runner, Skills, TestModel } from "troupe"
import { describe, expect, it as plain } from "vitest"
import { it } from "../../support/edges.ts"
import { marked } from "../../support/processes.ts"
import { folder, put, skill } from "../../support/skillFolders.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "None")

const system = (call: TestModel.Call): string =>
  call.prompt.content.flatMap((message) => (message.role === "system" ? [message.content] : [])).join("\n")

const results = (result: Runner.Result<unknown>) =>
  result.transcript.content.flatMap((message) =>
    message.role === "tool" ? message.content.flatMap((part) => (part.type === "tool-result" ? [part.result] : [])) : []
  )

/** A model that follows a script of turns, or of functions that are run when their turn has come, and keeps its calls. */
const scripted = (...turns: ReadonlyArray<string | TestModel.Turn | (() => string | TestModel.Turn)>) => {
  const calls: Array<TestModel.Call> = []
  const layer = TestModel.layer((call) => {
    calls.push(call)
    const turn = turns[call.index] ?? "done"
    return typeof turn === "function" ? turn() : turn
  })
  return { calls, layer }
}

const read = (name: string) => TestModel.toolCall("read_skill", { name })

describe("an agent with skills", () => {
  it.live("sees names and descriptions, reads the instructions, a file, and runs a script", () =>
    Effect.gen(function* () {
      const at = folder({
        "pdf-forms/SKILL.md": skill("pdf-forms", "Fills in forms.", "See references/fields.md, run scripts/fill.sh."),
        "pdf-forms/references/fields.md": "name\ndate\n",
        "pdf-forms/scripts/fill.sh": 'cat; echo " for $1 in $(basename "$PWD")"\n',
        "minutes/SKILL.md": skill("minutes", "Writes minutes.")
      })
      const input = { skill: "pdf-forms", script: "scripts/fill.sh", args: ["Ada"], input: "filled in" }
      const { calls, layer } = scripted(
        read("pdf-forms"),
        TestModel.toolCall("read_skill_file", { skill: "pdf-forms", path: "references/fields.md", lines: 1 }),
        TestModel.toolCall("run_skill_script", input),
        "It is filled in."
      )
      const clerk = Agent.make("clerk", { instructions: "You work in an office.", use: [Skills.feature()] })
      const result = yield* clerk
        .result("Fill in the form")
        .pipe(Effect.provide([layer, Skills.layer({ folders: [at], scripts: {} })]))
      expect(result.output).toBe("It is filled in.")
      expect(system(calls[0]!)).toMatch(/^You work in an office\.\n\nYou have skills/)
      expect(system(calls[0]!)).toMatch(/- minutes: Writes minutes\.\n- pdf-forms: Fills in forms\.$/)
      // No more than that, before it is asked for; and nothing of the machine at all.
      expect(JSON.stringify(calls[0]!.prompt)).not.toContain("fields.md")
      expect(JSON.stringify(calls.map(({ prompt }) => prompt))).not.toContain(at)
      expect(calls[0]!.tools).toEqual(["read_skill", "read_skill_file", "run_skill_script"])
      expect(results(result)).toEqual([
        {
          name: "pdf-forms",
          instructions: "See references/fields.md, run scripts/fill.sh.",
          files: ["references/fields.md", "scripts/fill.sh"],
          moreFiles: false
        },
        { content: "name", from: 1, to: 1, totalLines: 3, truncated: true },
        { exitCode: 0, signal: null, stdout: "filled in for Ada in pdf-forms\n", stderr: "", truncated: false }
      ])
    })
  )

  it.live("without skills is an agent like any other", () =>
    Effect.gen(function* () {
      const { calls, layer } = scripted("done")
      yield* Agent.make("agent", { use: [Skills.feature()] })
        .run("Go")
        .pipe(Effect.provide([layer, Skills.layer({ folders: [folder({})], scripts: {} })]))
      expect(calls.map(({ prompt, tools }) => [prompt.content.length, tools])).toEqual([[1, []]])
    })
  )

  it.live("has no tool for scripts while they are off", () =>
    Effect.gen(function* () {
      const { calls, layer } = scripted("done")
      const at = folder({ "a/SKILL.md": skill("a"), "a/scripts/a.sh": "echo a" })
      yield* Agent.make("agent", { use: [Skills.feature()] })
        .run("Go")
        .pipe(Effect.provide([layer, Skills.layer({ folders: [at] })]))
      expect(calls[0]!.tools).toEqual(["read_skill", "read_skill_file"])
    })
  )

  it.live("learns at the next step of skills that came, changed and went, in each of its runs", () =>
    Effect.gen(function* () {
      const at = folder({ "a/SKILL.md": skill("a", "First."), "b/SKILL.md": skill("b") })
      const { calls, layer } = scripted(
        read("a"),
        () => {
          put(at, "a/SKILL.md", skill("a", "Second.", "Do so."))
          put(at, "c/SKILL.md", skill("c", "New."))
          fs.rmSync(path.join(at, "b"), { recursive: true })
          return read("a")
        },
        TestModel.toolCalls(
          { name: "read_skill", params: { name: "c" } },
          { name: "read_skill", params: { name: "b" } }
        ),
        "done",
        "again"
      )
      const descriptions: Array<string> = []
      const seen = Layer.effect(
        LanguageModel.LanguageModel,
        Effect.map(LanguageModel.LanguageModel, (model) => ({
          ...model,
          generateText: ((options: { readonly toolkit?: { readonly tools: Record<string, Tool.Any> } }) => {
            descriptions.push(options.toolkit?.tools["read_skill"]?.description ?? "")
            return model.generateText(options as never)
          }) as unknown as typeof model.generateText
        }))
      ).pipe(Layer.provide(layer))
      const agent = Agent.make("agent", { use: [Skills.feature()] })
      yield* Effect.gen(function* () {
        const result = yield* agent.result("Go")
        expect(results(result)).toMatchObject([
          { instructions: "Do it." },
          { instructions: "Do so." },
          { name: "c", instructions: "Do it." },
          { error: expect.stringContaining('"c"') }
        ])
        yield* agent.run("Go")
      }).pipe(Effect.provide([seen, Skills.layer({ folders: [at] })]))
      const plainly =
        "Gives the instructions of a skill and the names of its files. Where they go on at a line, read SKILL.md from there."
      expect(descriptions).toEqual([
        plainly,
        plainly,
        `${plainly}\n\nThese skills are new, or have changed:\n- a: Second.\n- c: New.\n\nThese skills are gone: b`,
        `${plainly}\n\nThese skills are new, or have changed:\n- a: Second.\n- c: New.\n\nThese skills are gone: b`,
        plainly
      ])
      expect(system(calls[3]!)).toBe(system(calls[0]!))
      expect(system(calls[4]!)).toMatch(/- a: Second\.\n- c: New\.$/)
    })
  )

  it.live("whose Layer is strict fails as it begins, and goes on when something breaks later", () =>
    Effect.gen(function* () {
      const at = folder({ "a/SKILL.md": skill("a"), "b/SKILL.md": skill("b") })
      const { calls, layer } = scripted(
        () => {
          put(at, "b/SKILL.md", "broken")
          return read("b")
        },
        read("a"),
        "done"
      )
      const agent = Agent.make("agent", { use: [Skills.feature()] })
      yield* Effect.gen(function* () {
        const result = yield* agent.result("Go")
        expect(results(result)).toMatchObject([
          { error: expect.stringContaining("there is: a") },
          { instructions: "Do it." }
        ])
        const error = yield* Effect.flip(agent.run("Go"))
        expect(error._tag).toBe("InvalidSkills")
        expect(calls).toHaveLength(3)
      }).pipe(Effect.provide([layer, Skills.layer({ folders: [at], strict: true })]))
    })
  )

  it.live("shows the model the failure of a file or a script, and continues", () =>
    Effect.gen(function* () {
      const at = folder({ "a/SKILL.md": skill("a"), "a/scripts/a.sh": "echo no >&2; exit 2", secret: "s" })
      const { layer } = scripted(
        TestModel.toolCalls(
          { name: "read_skill_file", params: { skill: "a", path: "../secret" } },
          { name: "run_skill_script", params: { skill: "a", script: "scripts/a.sh" } },
          { name: "run_skill_script", params: { skill: "a", script: "scripts/b.sh" } },
          { name: "read_skill", params: { name: "../a" } }
        ),
        "done"
      )
      const result = yield* Agent.make("agent", { use: [Skills.feature()] })
        .result("Go")
        .pipe(Effect.provide([layer, Skills.layer({ folders: [at], scripts: {} })]))
      expect(results(result)).toMatchObject([
        { error: `skill "a", file "../secret": it is outside of the skill's folder`, tag: "SkillError" },
        { exitCode: 2, stderr: "no\n" },
        { error: 'skill "a", file "scripts/b.sh": there is no such script; there is: scripts/a.sh' },
        { error: expect.any(String) }
      ])
    })
  )

  it.live("asks before a script is run, when the Layer says so", () =>
    Effect.gen(function* () {
      const at = folder({ "a/SKILL.md": skill("a"), "a/scripts/a.sh": "touch ran" })
      const { layer } = scripted(TestModel.toolCall("run_skill_script", { skill: "a", script: "scripts/a.sh" }), "done")
      const asked: Array<string> = []
      const result = yield* Agent.make("agent", { use: [Skills.feature()] })
        .result("Go")
        .pipe(
          Effect.provide([
            layer,
            Skills.layer({ folders: [at], scripts: { needsApproval: true } }),
            Approvals.layer(({ hints, tool }) => {
              asked.push(`${tool} ${hints.destructive}`)
              return Effect.succeed(Approvals.deny("not today"))
            })
          ])
        )
      expect(asked).toEqual(["run_skill_script true"])
      expect(JSON.stringify(results(result))).toContain("not today")
      expect(fs.existsSync(path.join(at, "a/ran"))).toBe(false)
    })
  )

  it.live("kills a script with the run that is interrupted, and with the tool's timeout", () =>
    Effect.gen(function* () {
      const at = folder({
        "a/SKILL.md": skill("a"),
        "a/scripts/a.sh": "trap '' TERM\ntouch $1\nsleep 1000 & sleep 1000"
      })
      const call = (name: string) =>
        TestModel.toolCall("run_skill_script", { skill: "a", script: "scripts/a.sh", args: [name] })
      const { layer } = scripted(call("one"), call("two"), "done")
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Agent.make("agent", { use: [Skills.feature()] }).run("Go"))
        yield* Effect.sleep("10 millis").pipe(
          Effect.repeat({ until: () => fs.existsSync(path.join(at, "a/one")), times: 1500 })
        )
        expect(marked(`SKILL_DIR=${at}`).length).toBeGreaterThan(0)
        yield* Fiber.interrupt(fiber)
        expect(marked(`SKILL_DIR=${at}`)).toEqual([])
        const result = yield* Agent.make("agent", { toolTimeout: "1 second", use: [Skills.feature()] }).result("Go")
        expect(result.output).toBe("done")
        expect(marked(`SKILL_DIR=${at}`)).toEqual([])
      }).pipe(Effect.provide([layer, Skills.layer({ folders: [at], scripts: {} })]))
    })
  )

  it.live("keeps its own instructions, tools and services, and can be a tool of another", () =>
    Effect.gen(function* () {
      class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}
      const own = AgentTool.fromFunction("own", { description: "", execute: () => Greeting })
      const inner = Agent.make("inner", {
        description: "Knows",
        instructions: () => Effect.map(Greeting, (greeting) => `Say ${greeting}.`),
        tools: [own],
        output: Schema.Struct({ a: Schema.Finite }),
        use: [Skills.feature()]
      })
      const typed: Effect.Effect<
        { readonly a: number },
        Agent.Error | Skills.InvalidSkills,
        Greeting | Skills.Skills | Effect.Services<ReturnType<typeof inner.run>>
      > = inner.run("Go")
      void typed
      const outer = Agent.make("outer", { tools: [AgentTool.fromRunner(inner)], use: [Skills.feature()] })
      const { calls, layer } = scripted(
        TestModel.toolCall("inner", { input: "Go" }),
        TestModel.toolCall("own", {}),
        '{"a":1}',
        "done"
      )
      const at = folder({ "a/SKILL.md": skill("a") })
      yield* outer
        .run("Go")
        .pipe(Effect.provide([layer, Skills.layer({ folders: [at] })]), Effect.provideService(Greeting, "hello"))
      expect(calls.map(({ tools }) => tools)).toEqual([
        ["inner", "read_skill", "read_skill_file"],
        ["own", "read_skill", "read_skill_file"],
        ["own", "read_skill", "read_skill_file"],
        ["inner", "read_skill", "read_skill_file"]
      ])
      expect(system(calls[1]!)).toMatch(/^Say hello\.\n\nYou have skills/)
    })
  )

  it.live("writes skills by a tool, and reads them in its next step; no scripts, nothing invalid", () =>
    Effect.gen(function* () {
      const at = folder({})
      const write = (params: object) => ({
        name: "write_skill",
        params: { name: "notes", description: "Takes notes.", instructions: "Write.", ...params }
      })
      const { calls, layer } = scripted(
        TestModel.toolCalls(
          write({ name: "Notes" }),
          ...["scripts/a.sh", "./scripts/a.sh", "Scripts/a.sh", "x/../scripts/a.sh"].map((path) =>
            write({ files: [{ path, content: "echo" }] })
          )
        ),
        TestModel.toolCall("write_skill", write({ files: [{ path: "references/a.md", content: "A" }] }).params),
        read("notes"),
        "done"
      )
      const learner = Agent.make("learner", { tools: [Skills.writeSkill], use: [Skills.feature()] })
      const result = yield* learner
        .result("Go")
        .pipe(Effect.provide([layer, Skills.layer({ folders: [at], scripts: {} })]))
      expect(calls.map(({ tools }) => tools.length)).toEqual([1, 1, 4, 4])
      expect(results(result)).toMatchObject([
        { error: expect.stringContaining("has capitals") },
        { error: expect.stringContaining("scripts cannot be written") },
        { error: expect.stringContaining("scripts cannot be written") },
        { error: expect.stringContaining("scripts cannot be written") },
        { error: expect.stringContaining("empty, . or ..") },
        { written: "notes" },
        { instructions: "Write.", files: ["references/a.md"] }
      ])
    })
  )

  it.live("asks before it replaces a skill, and leaves one that a person wrote as it is", () =>
    Effect.gen(function* () {
      const at = folder({ "pay/SKILL.md": skill("pay", "Pays.", "Ask the boss first."), "pay/scripts/x.sh": "echo 1" })
      const write = (name: string, instructions: string) =>
        TestModel.toolCall("write_skill", { name, description: "Pays.", instructions, files: [], replace: true })
      const learner = Agent.make("learner", { tools: [Skills.writeSkill], use: [Skills.feature()] })
      const skills = Skills.layer({ folders: [at] })
      const asked = yield* Effect.flip(learner.run("Go")).pipe(
        Effect.provide([scripted(write("pay", "Never ask."), "ok").layer, skills])
      )
      expect(asked).toMatchObject({ _tag: "RunSuspended", waitingFor: [{ tool: "write_skill" }] })
      const { layer } = scripted(write("pay", "Never ask."), write("mine", "1"), write("mine", "2"), "ok")
      const approved = Approvals.layer(() => Effect.succeed(Approvals.approve))
      const result = yield* learner.result("Go").pipe(Effect.provide([layer, skills, approved]))
      expect(results(result)).toMatchObject([
        { error: expect.stringContaining("a person wrote or changed it") },
        { written: "mine" },
        { written: "mine" }
      ])
      expect(fs.readFileSync(path.join(at, "pay/SKILL.md"), "utf8")).toContain("Ask the boss first.")
      expect(fs.existsSync(path.join(at, "pay/scripts/x.sh"))).toBe(true)
      expect(fs.readFileSync(path.join(at, "mine/SKILL.md"), "utf8")).toContain("2")
    })
  )

  it.live("logs only the problem of a broken skill", () =>
    Effect.gen(function* () {
      const at = folder({ "a/SKILL.md": skill("a"), "b/SKILL.md": "---\nname: b\n---\nEvil." })
      const { calls, layer } = scripted("done")
      yield* Agent.make("agent", { use: [Skills.feature()] })
        .run("Go")
        .pipe(Effect.provide([layer, Skills.layer({ folders: [at] })]), Effect.provide(quiet))
      expect(JSON.stringify(calls[0]!.prompt)).not.toMatch(/Evil|- b/)
    })
  )
})

plain("a tool with the name of one for skills is refused when the agent is made", () => {
  const tool = AgentTool.fromFunction("read_skill", { description: "", execute: () => "" })
  expect(() => Agent.make("agent", { tools: [tool], use: [Skills.feature()] })).toThrow('"read_skill"')
})

plain("skills show in the diagram of their agent", () => {
  expect(Runner.toMermaid(Agent.make("agent", { use: [Skills.feature()] }))).toContain("skills")
})
