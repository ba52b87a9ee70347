/**
 * Agents with skills: they know the names and descriptions from the start, and read instructions and files when a task
 * needs them. Built on `Agent`; skills come by the port `services/Skills.ts`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import * as AgentTool from "../AgentTool.ts"
import { InvalidDefinition } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import { type InvalidSkills, type Skill, Skills } from "../services/Skills.ts"
import * as ToolSource from "../ToolSource.ts"
import * as Agent from "./Agent.ts"

type AnyTools = Record<string, Tool.Any>
type AnyDirect = AgentTool.Any | ToolSource.Any

/** The skills that a run was told of as it began. */
const Told: Context.Reference<{ skills: ReadonlyArray<Skill> | undefined }> = Context.Reference<{
  skills: ReadonlyArray<Skill> | undefined
}>("troupe/agents/SkillsTold", { defaultValue: () => ({ skills: undefined }) })

/** The names of the tools that every such agent has. */
const ownTools = new Set(["read_skill", "read_skill_file", "run_skill_script"])

/**
 * Makes an agent with skills; the options are those of `Agent.make`, the skills come from `Skills.layer`.
 *
 * Its instructions end with the name and description of each skill. By `read_skill` the model gets the instructions of one
 * and the names of its files, by `read_skill_file` some lines of a file, and by `run_skill_script` it runs a script, if the
 * Layer lets it. Skills that come, change or go while it runs are told with the tools of the next step. Without skills it
 * is told of none, and has none of these tools.
 *
 * A run fails with `InvalidSkills` as it begins when the Layer is `strict` and something is wrong; later in that run a bad
 * skill is left out. Throws `InvalidDefinition` as `Agent.make` does, and for a tool with one of these names.
 *
 * @example
 * import { Effect } from "effect"
 * import { Offline, SkillAgent, Skills } from "troupe"
 *
 * const clerk = SkillAgent.make("clerk", { instructions: "You work in an office." })
 * const answer = clerk.run("Fill in the form.").pipe(
 *   Effect.provide([Offline.layer, Skills.layer({ folders: ["./skills"] })])
 * )
 */
export const make = <
  Tools extends AnyTools = {},
  const Direct extends ReadonlyArray<AnyDirect> = readonly [],
  Output extends Schema.Top = typeof Schema.String,
  EI = never,
  RI = never,
  ES = never,
  RS = never
>(
  name: string,
  options: Agent.Options<Tools, Direct, Output, EI, RI, ES, RS>
): Agent.Agent<
  Output["Type"],
  Agent.Error | InvalidSkills | EI | ES,
  Agent.Services<Tools, Direct, Output, RI | RS> | Skills
> => {
  const tools: ReadonlyArray<AnyDirect> = options.tools ?? []
  assertFree(name, [
    ...tools.filter(AgentTool.isAgentTool).map((tool) => tool.name),
    ...Object.values<Tool.Any>(options.toolkit?.tools ?? {}).map((tool) => tool.name)
  ])
  const agent = Agent.make<Tools, ReadonlyArray<AnyDirect>, Output, EI | InvalidSkills, RI | Skills, ES, RS>(name, {
    ...options,
    instructions: (input) => instructionsOf(options.instructions, input),
    tools: [...tools, source()]
  })
  type R = Agent.Services<Tools, Direct, Output, RI | RS> | Skills
  return Runner.fromDefinition(name, options.description, {
    ...agent.definition,
    // The services of the tools were lost in the list above.
    body: (input, state) =>
      Effect.suspend(() =>
        Effect.provideService(agent.definition.body(input, state), Told, { skills: undefined })
      ) as Effect.Effect<Output["Type"], Agent.Error | InvalidSkills | EI | ES, R>
  })
}

const assertFree = (agent: string, names: ReadonlyArray<string>): void => {
  const taken = names.find((name) => ownTools.has(name))
  if (taken === undefined) return
  throw new InvalidDefinition({
    subject: `agent "${agent}"`,
    problem: `it has a tool named "${taken}", as the tools for skills are`,
    remedy: "Rename it"
  })
}

const instructionsOf = <EI, RI>(
  given: string | ((input: Prompt.RawInput) => string | Effect.Effect<string, EI, RI>) | undefined,
  input: Prompt.RawInput
): Effect.Effect<string, EI | InvalidSkills, RI | Skills> =>
  Effect.gen(function* () {
    const told = yield* Told
    const skills = yield* Effect.flatMap(Skills, ({ list }) => list)
    told.skills = skills
    const made = typeof given === "function" ? given(input) : (given ?? "")
    const own = typeof made === "string" ? made : yield* made
    return [own, catalog(skills)].filter((text) => text !== "").join("\n\n")
  })

const catalog = (skills: ReadonlyArray<Skill>): string => {
  if (skills.length === 0) return ""
  return `You have skills: instructions for certain tasks, by people who know how to do them. When a task fits the description of a skill, read it with read_skill before you begin, and follow it.\n\n${lines(skills)}`
}

const lines = (skills: ReadonlyArray<Skill>): string =>
  skills.map(({ description, name }) => `- ${name}: ${description}`).join("\n")

/** What has changed since the run began. */
const news = (before: ReadonlyArray<Skill>, now: ReadonlyArray<Skill>): string => {
  const known = new Map(before.map((skill) => [skill.name, skill.description]))
  const names = new Set(now.map(({ name }) => name))
  const fresh = now.filter(({ description, name }) => known.get(name) !== description)
  const gone = before.filter(({ name }) => !names.has(name)).map(({ name }) => name)
  return [
    fresh.length === 0 ? "" : `\n\nThese skills are new, or have changed:\n${lines(fresh)}`,
    gone.length === 0 ? "" : `\n\nThese skills are gone: ${gone.join(", ")}`
  ].join("")
}

/** The tools for the skills of now. Steps that see the same skills get the same tools. */
const source = (): ToolSource.ToolSource<Skills> => {
  const made = new WeakMap<Skills["Service"], { readonly key: string; readonly tools: ReturnType<typeof toolsOf> }>()
  const list = () =>
    Effect.gen(function* () {
      const service = yield* Skills
      const { skills } = yield* service.scan
      if (skills.length === 0) return []
      const { skills: before = [] } = yield* Told
      const changed = news(before, skills)
      const key = JSON.stringify([changed, skills.map(({ name }) => name)])
      const kept = made.get(service)
      if (kept?.key === key) return kept.tools
      const tools = toolsOf(service, skills, changed)
      made.set(service, { key, tools })
      return tools
    })
  return ToolSource.make("skills", list, { from: Skills })
}

const toolsOf = (
  service: Skills["Service"],
  skills: ReadonlyArray<Skill>,
  changed: string
): ReadonlyArray<AgentTool.AgentTool<string, never>> => {
  const Name = Schema.Literals(skills.map(({ name }) => name))
  const Path = Schema.String.annotate({ description: "Relative to the skill's folder, with / between names" })
  const reading = { readOnly: true, openWorld: false }
  const tools: Array<AgentTool.AgentTool<string, never>> = [
    AgentTool.fromFunction("read_skill", {
      description: `Gives the instructions of a skill and the names of its files. Where they go on at a line, read SKILL.md from there.${changed}`,
      parameters: Schema.Struct({ name: Name }),
      hints: reading,
      execute: ({ name }) => service.read(name)
    }),
    AgentTool.fromFunction("read_skill_file", {
      description: "Reads a text file of a skill. For a long one, ask for the lines that follow",
      parameters: Schema.Struct({
        skill: Name,
        path: Path,
        from: Schema.optionalKey(Schema.Int.annotate({ description: "The first line wanted, counted from 1" })),
        lines: Schema.optionalKey(Schema.Int.annotate({ description: "How many lines" }))
      }),
      hints: reading,
      execute: ({ path, skill, ...lines }) => service.readFile(skill, path, lines)
    })
  ]
  if (service.scripts === undefined) return tools
  tools.push(
    AgentTool.fromFunction("run_skill_script", {
      description: "Runs a script of a skill, and gives its exit code and what it wrote",
      parameters: Schema.Struct({
        skill: Name,
        script: Path.annotate({ description: "A file in scripts/ of the skill, such as scripts/fill.py" }),
        args: Schema.optionalKey(Schema.Array(Schema.String)),
        input: Schema.optionalKey(Schema.String.annotate({ description: "What it reads from standard input" }))
      }),
      needsApproval: service.scripts.needsApproval,
      execute: ({ script, skill, ...input }) => service.run(skill, script, input)
    })
  )
  return tools
}

/**
 * A tool by which an agent writes skills for itself and others, into the first folder of `Skills.layer`; it sees them in
 * its next step. Give it to an agent: `tools: [SkillAgent.writeSkill]`.
 *
 * What an agent writes into a skill outlives its run, so it cannot write scripts, and a replacement needs approval. It can
 * replace only a skill that an agent wrote and that nobody has changed since; files that it does not name stay. To be asked
 * about new skills too, provide `Approvals.layerPolicy({ destructive: "ask" })`.
 *
 * @example
 * import { SkillAgent } from "troupe"
 *
 * const learner = SkillAgent.make("learner", {
 *   instructions: "When you have found out how something is done, write it down as a skill.",
 *   tools: [SkillAgent.writeSkill]
 * })
 */
export const writeSkill: AgentTool.AgentTool<"write_skill", Skills> = AgentTool.fromFunction("write_skill", {
  description: "Writes down how a certain task is done, as a skill that can be read later",
  parameters: Schema.Struct({
    name: Schema.String.annotate({ description: "1 to 64 lowercase letters, digits and single hyphens" }),
    description: Schema.String.annotate({ description: "What it does and when to use it, in 1 to 1024 characters" }),
    instructions: Schema.String.annotate({ description: "In Markdown" }),
    files: Schema.optionalKey(
      Schema.Array(Schema.Struct({ path: Schema.String, content: Schema.String })).annotate({
        description: "Further texts, such as references/forms.md"
      })
    ),
    replace: Schema.optionalKey(Schema.Boolean.annotate({ description: "Replace the skill of that name" }))
  }),
  hints: { destructive: true, openWorld: false },
  needsApproval: ({ replace }) => replace === true,
  execute: ({ description, files = [], instructions, name, replace }) =>
    Effect.gen(function* () {
      const skills = yield* Skills
      const contents = Object.fromEntries(files.map(({ content, path }) => [path, content]))
      yield* skills.write({ name, description, body: instructions, files: contents, replace, byAgent: true })
      return { written: name }
    })
})
