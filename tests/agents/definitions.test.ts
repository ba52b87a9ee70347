import { execFile } from "node:child_process"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { assert, describe, it as async } from "@effect/vitest"
import { Cause, Effect, Exit, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, RunError, Runner, TestModel } from "troupe"
import { it } from "../support/edges.ts"

const run = promisify(execFile)
const refusal = (make: () => unknown): RunError.InvalidDefinition => {
  try {
    make()
  } catch (error) {
    if (error instanceof RunError.InvalidDefinition) return error
    throw error
  }
  return assert.fail("it was accepted")
}
/** What programs without types give: the shapes of other libraries. */
const loosely = (name: unknown, options?: unknown) => () => Agent.make(name as string, options as {})
const tool = (given: object) => () => {
  const { name, ...options } = { name: "t", description: "d", execute: () => 1, ...given }
  return AgentTool.fromFunction(name, options as never)
}
const t = AgentTool.fromFunction("t", { description: "d", execute: () => 1 })
const zod = { parse: () => 1, safeParse: () => 1 }
const standard = { "~standard": { version: 1, vendor: "valibot", validate: () => ({ value: 1 }) } }
const ofEffect = Tool.make("look", { description: "Looks" })

describe("a definition", () => {
  const cases: Readonly<Record<string, readonly [make: () => unknown, problem: string, remedy: string]>> = {
    "with tools as a record": [loosely("a", { tools: { t } }), "tools is an object, not a list", "tools: [a, b]"],
    "with a toolkit as tools": [
      loosely("a", { tools: Toolkit.make(ofEffect) }),
      "tools is a toolkit, not a list",
      "as toolkit"
    ],
    "with a list as toolkit": [loosely("a", { toolkit: [t] }), "toolkit is a list, not a toolkit", "Toolkit.make"],
    "with an agent as a tool": [
      loosely("a", { tools: [t, Agent.make("b", {})] }),
      'tools[1] is a runner ("b"), not a tool',
      "AgentTool.fromRunner"
    ],
    "with a tool of effect/ai as a tool": [
      loosely("a", { tools: [ofEffect] }),
      'tools[0] ("look") does not carry its handler',
      "toolkit: Toolkit.make(tool)"
    ],
    "with a function as a tool": [
      loosely("a", { tools: [() => 1] }),
      "tools[0] is a function",
      "AgentTool.fromFunction"
    ],
    "with a list as a tool": [
      loosely("a", { tools: [AgentTool.background(Agent.make("b", { description: "Helps" }))] }),
      "tools[0] is a list, not a tool",
      "tools: [...AgentTool.background(runner), other]"
    ],
    "with nothing as a tool": [loosely("a", { tools: [undefined] }), "tools[0] is undefined", "AgentTool.fromFunction"],
    "with Zod's schema as output": [
      loosely("a", { output: zod }),
      "output is a schema of another library",
      "Schema.Struct"
    ],
    "with a standard schema as output": [loosely("a", { output: standard }), "a schema of valibot", "Schema.Struct"],
    "with a JSON schema as output": [
      loosely("a", { output: { type: "object", properties: {} } }),
      "output is a JSON schema",
      "Schema.Struct"
    ],
    "with fields as output": [
      loosely("a", { output: { score: Schema.Int } }),
      "output is an object of schemas",
      "Schema.Struct({ ... }) around it"
    ],
    "with null as output": [loosely("a", { output: null }), "output is null, not an Effect Schema", "Schema.Struct"],
    "with its name among the options": [
      loosely({ name: "a", instructions: "x" }),
      "its name is an object, not a text",
      'Agent.make("name"'
    ],
    "without options": [loosely("a"), "its options are undefined, not an object", "{}"],
    "with a model": [loosely("a", { model: "gpt-4.1" }), 'it has no option "model"', "OpenAi.layer"],
    "with a system message": [loosely("a", { system: "Be short." }), 'it has no option "system"', "instructions"],
    "with a misspelt option": [loosely("a", { maxStep: 3 }), 'it has no option "maxStep"', "maxSteps"],
    "with instructions in a list": [loosely("a", { instructions: ["x"] }), "instructions is a list", "a text"],
    "with a number as stopWhen": [loosely("a", { stopWhen: 3 }), "stopWhen is a number, not a function", "a function"],
    "of a tool with Zod's schema": [
      tool({ parameters: zod }),
      "parameters is a schema of another library",
      "Schema.Struct"
    ],
    "of a tool with fields as parameters": [
      tool({ parameters: { a: Schema.Finite } }),
      "parameters is an object of schemas",
      "Schema.Struct({ ... }) around it"
    ],
    "of a tool with Zod's schema of its result": [tool({ success: zod }), "success is a schema of", "Schema.Struct"],
    "of a tool with an input schema": [tool({ inputSchema: zod }), 'it has no option "inputSchema"', "parameters"],
    "of a tool without a function": [tool({ execute: undefined }), "execute is undefined, not a function", "execute"],
    "of a tool without a name": [tool({ name: undefined }), "its name is undefined, not a text", "name"],
    "of a tool whose description is a number": [tool({ description: 3 }), "description is a number", "a text"],
    "with runners whose names become one tool's name": [
      loosely("boss", {
        tools: ["billing desk", "billing_desk", "billing.desk"].map((name) =>
          AgentTool.fromRunner(Agent.make(name, { description: "x" }))
        )
      }),
      'two tools named "billing_desk", made of the name of the runner "billing desk"',
      "name:"
    ],
    "of a runner without a function": [
      () => Runner.make("r", {} as never),
      "run is undefined, not a function",
      "a function as run"
    ],
    "of a runner with Zod's schema": [
      () => Runner.make("r", { run: () => Effect.void, output: zod as never }),
      "output is a schema of another library",
      "Schema.Struct"
    ]
  }
  for (const [name, [make, problem, remedy]] of Object.entries(cases)) {
    async(`${name} is refused with advice`, () => {
      const error = refusal(make)
      assert.include(error.problem, problem)
      assert.include(error.remedy, remedy)
    })
  }

  async("may leave options undefined", () => {
    assert.strictEqual(Agent.make("a", { tools: undefined, maxSteps: undefined, model: undefined } as {}).name, "a")
  })

  async("with a schema of another copy of effect is refused, in a field too", async () => {
    const main = new URL("../support/foreignSchemaMain.ts", import.meta.url).pathname
    const { stdout } = await run(process.execPath, ["--conditions=troupe-source", main])
    const { same, own, ...others } = JSON.parse(stdout) as Record<string, unknown>
    assert.deepStrictEqual([same, own], [false, "accepted"])
    for (const said of Object.values(others))
      assert.match(String(said), /^InvalidDefinition: .* another copy of effect/)
    assert.lengthOf(Object.keys(others), 5)
  })
})

describe("troupe", () => {
  const folder = async (version: string | undefined): Promise<string> => {
    const dir = await mkdtemp(join(tmpdir(), "troupe-copies-"))
    if (version !== undefined) {
      await mkdir(join(dir, "node_modules", "effect"), { recursive: true })
      await writeFile(join(dir, "node_modules", "effect", "package.json"), JSON.stringify({ name: "effect", version }))
    }
    const index = new URL("../../src/index.ts", import.meta.url).href
    await writeFile(join(dir, "main.mjs"), `await import(${JSON.stringify(index)}); console.log("loaded")`)
    return dir
  }
  const start = async (version: string | undefined): Promise<string> => {
    const dir = await folder(version)
    try {
      const { stderr, stdout } = await run(process.execPath, [
        "--conditions=troupe-source",
        join(dir, "main.mjs")
      ]).catch((error: { readonly stdout: string; readonly stderr: string }) => error)
      return stdout + stderr
    } finally {
      await rm(dir, { recursive: true })
    }
  }

  async("is not loaded next to another copy of effect, and names both versions", async () => {
    const said = await start("4.0.6")
    assert.include(said, "InvalidDefinition: effect: there are two copies of it: 4.0.6")
    assert.include(said, "4.1.0, which troupe uses")
    assert.notInclude(said, "loaded\n")
  })

  async("is loaded where the program finds no effect of its own", async () => {
    assert.include(await start(undefined), "loaded")
  })
})

describe("a run", () => {
  const inputs: ReadonlyArray<unknown> = [
    undefined,
    null,
    42,
    true,
    {},
    { content: "hi" },
    () => "hi",
    [1],
    ["hi"],
    [null]
  ]
  for (const input of inputs) {
    it.effect(`with ${typeof input === "function" ? "a function" : JSON.stringify(input)} as input fails`, () =>
      Effect.gen(function* () {
        const agent = Agent.make("agent", {})
        const error = yield* Effect.flip(agent.run(input as string))
        assert.strictEqual(error._tag, "InvalidTranscript")
        assert.include(error.message, "Give it a text, a Prompt, or the transcript")
        const ofStream = yield* Effect.flip(Stream.runDrain(agent.stream(input as string)))
        assert.strictEqual(ofStream._tag, "InvalidTranscript")
      }).pipe(Effect.provide(TestModel.layer(["ok"], { unused: "ignore" })))
    )
  }

  it.effect("without a model fails, and names Layers that have one", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {})
      const exit = yield* Effect.exit(agent.run("hi") as Effect.Effect<string, Agent.Error>)
      const error = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
      assert.strictEqual(error?._tag, "MissingModel")
      assert.match(error!.message, /"agent" has no model.*Effect\.provide.*OpenAi\.layer.*TestModel\.layer/)
    })
  )
})

describe("a limit of an agent that is its only option", () => {
  const wrong = {
    toolConcurrency: 0,
    toolTimeout: "soon",
    maxToolCalls: 0,
    maxToolCallsPerStep: 0,
    maxAnswerSize: 0,
    outputRepairs: -1,
    reasoning: "none at all",
    cache: "always"
  }
  for (const [option, value] of Object.entries(wrong)) {
    async(`is looked at: ${option}`, () => {
      const { message } = refusal(loosely("a", { [option]: value }))
      assert.include(message, `${option} is `)
    })
  }

  it.effect("counts, and those of another agent stay as they are", () =>
    Effect.gen(function* () {
      const calls = { toolCalls: [t, t].map(({ tool }, n) => ({ id: `c${n}`, name: tool.name, params: {} })) }
      const cut = { text: "It is", finishReason: "length" as const }
      const ends = (options: Parameters<typeof Agent.make>[1], turn: TestModel.Turn) =>
        Effect.map(Effect.exit(Agent.make("a", { tools: [t], ...options } as {}).run("go")), (exit) =>
          Exit.isSuccess(exit) ? exit.value : (Cause.squash(exit.cause) as { readonly _tag: string })._tag
        ).pipe(Effect.provide(TestModel.layer([turn, "done"], { unused: "ignore" })))
      assert.strictEqual(yield* ends({ maxToolCalls: 1, onMaxToolCalls: "fail" }, calls), "MaxToolCallsExceeded")
      assert.strictEqual(yield* ends({ onMaxToolCalls: "fail", maxToolCallsPerStep: 1 }, calls), "MaxToolCallsExceeded")
      assert.strictEqual(yield* ends({}, calls), "done")
      assert.strictEqual(yield* ends({ onLength: "accept" }, cut), "It is")
      assert.strictEqual(yield* ends({}, cut), "OutputTruncated")
      assert.strictEqual(yield* ends({ onMaxSteps: "answer", maxSteps: 1 }, calls), "done")
      assert.strictEqual(yield* ends({ maxSteps: 1 }, calls), "MaxStepsExceeded")
    })
  )
})
