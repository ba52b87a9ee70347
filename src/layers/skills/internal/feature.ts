/**
 * Skills as a feature of agents: they know the names and descriptions from the start, and read instructions and files when a
 * task needs them.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import * as Feature from "../../../Feature.ts"
import { CurrentRun, type RunInfo } from "../../../services/CurrentRun.ts"
import { type InvalidSkills, type Skill, Skills } from "../../../services/Skills.ts"
import * as ToolSource from "../../../ToolSource.ts"
import { Path, readers } from "./tools.ts"

/**
 * Lets an agent use skills, which come from `Skills.layer`.
 *
 * The agent's instructions end with the name and description of each skill. By `read_skill` the model gets the instructions
 * of one and the names of its files, by `read_skill_file` some lines of a file, and by `run_skill_script` it runs a script,
 * if the Layer allows it. Skills that come, change or go during a run are announced with the tools of the next step. Without
 * skills there is nothing in the instructions, and none of these tools.
 *
 * A run fails with `InvalidSkills` as it begins when the Layer is `strict` and something is wrong; later in that run a bad
 * skill is left out. An agent that uses it throws `InvalidDefinition` for a tool with one of these names.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, OpenAi, Skills } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "You work in an office.", use: [Skills.feature()] })
 * const answer = clerk.run("Fill in the form.").pipe(
 *   Effect.provide([OpenAi.layer({ model: "gpt-4.1-mini" }), Skills.layer({ folders: ["./skills"] })])
 * )
 */
export const feature = (): Feature.Feature<InvalidSkills, Skills> => {
  const announced: Announced = new WeakMap()
  return Feature.make("skills", {
    instructions: () =>
      Effect.gen(function* () {
        const skills = yield* Effect.flatMap(Skills, ({ list }) => list)
        const run = yield* CurrentRun
        if (run !== undefined) announced.set(run, skills)
        return catalog(skills)
      }),
    tools: [source(announced)],
    reserves: toolNames
  })
}

/** The names of the tools. */
const toolNames = ["read_skill", "read_skill_file", "run_skill_script"]

const catalog = (skills: ReadonlyArray<Skill>): string => {
  if (skills.length === 0) return ""
  return `You have skills: instructions for certain tasks, by people who know how to do them. When a task fits the description of a skill, read it with read_skill before you begin, and follow it.\n\n${lines(skills)}`
}

const lines = (skills: ReadonlyArray<Skill>): string =>
  skills.map(({ description, name }) => `- ${name}: ${description}`).join("\n")

/** The changes since the run started. */
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

type Announced = WeakMap<RunInfo, ReadonlyArray<Skill>>

/** The tools for the skills of now. Steps that see the same skills get the same tools. */
const source = (announced: Announced): ToolSource.ToolSource<Skills> => {
  const made = new WeakMap<Skills["Service"], { readonly key: string; readonly tools: ReturnType<typeof toolsOf> }>()
  const list = () =>
    Effect.gen(function* () {
      const service = yield* Skills
      const { skills } = yield* service.scan
      if (skills.length === 0) return []
      const run = yield* CurrentRun
      const before = (run === undefined ? undefined : announced.get(run)) ?? []
      const changed = news(before, skills)
      const key = JSON.stringify([changed, skills.map(({ name }) => name)])
      const kept = made.get(service)
      if (kept?.key === key) return kept.tools
      const tools = toolsOf(service, skills, changed)
      made.set(service, { key, tools })
      return tools
    })
  return ToolSource.holding(ToolSource.make("skills", list, { from: Skills, names: toolNames }), nothingOfOthers)
}

/** Skills are the program's own. */
const nothingOfOthers = () => []

const toolsOf = (
  service: Skills["Service"],
  skills: ReadonlyArray<Skill>,
  changed: string
): ReadonlyArray<AgentTool.AgentTool<string, never>> => {
  const Name = Schema.Literals(skills.map(({ name }) => name))
  const tools = readers<never>(Name, changed, (read) => read(service))
  if (service.scripts === undefined) return tools
  return [
    ...tools,
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
  ]
}

/**
 * A tool by which an agent writes skills for itself and others, into the first folder of `Skills.layer`; it sees them in
 * its next step. Give it to an agent: `tools: [Skills.writeSkill]`.
 *
 * What an agent writes into a skill outlives its run, so it cannot write scripts, and a replacement needs approval. It can
 * replace only a skill that an agent wrote and that has not been changed since; files that it does not name stay. To be asked
 * about new skills too, provide `Approvals.layerPolicy({ destructive: "ask" })`.
 *
 * @example
 * import { Agent, Skills } from "troupe"
 *
 * const learner = Agent.make("learner", {
 *   instructions: "When you have found out how something is done, write it down as a skill.",
 *   tools: [Skills.writeSkill],
 *   use: [Skills.feature()]
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
