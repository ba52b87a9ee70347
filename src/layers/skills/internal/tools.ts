/** Skills as plain tools. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import { Skills } from "../../../services/Skills.ts"

const reading = { readOnly: true, openWorld: false }

/** A path in a skill's folder, for the parameters of tools. */
export const Path: Schema.String = Schema.String.annotate({
  description: "Relative to the skill's folder, with / between names"
})

/** `read_skill` and `read_skill_file`. `Name` is the name of a skill; `changed` is said of the skills in the description. */
export const readers = <R>(
  Name: Schema.Codec<string>,
  changed: string,
  use: <A, E>(read: (skills: Skills["Service"]) => Effect.Effect<A, E>) => Effect.Effect<A, E, R>
): ReadonlyArray<AgentTool.AgentTool<string, R>> => [
  AgentTool.fromFunction("read_skill", {
    description: `Gives the instructions of a skill and the names of its files. Where they go on at a line, read SKILL.md from there.${changed}`,
    parameters: Schema.Struct({ name: Name }),
    hints: reading,
    execute: ({ name }) => use(({ read }) => read(name))
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
    execute: ({ path, skill, ...lines }) => use(({ readFile }) => readFile(skill, path, lines))
  })
]

/**
 * Tools that list and read skills: `list_skills`, `read_skill` and `read_skill_file`, for those that have nothing else of the
 * program, such as the clients of an MCP server. An agent uses {@link feature}, which tells it of the skills in its instructions.
 *
 * @example
 * import { McpServer, Skills } from "troupe"
 *
 * const Server = McpServer.serve({ tools: Skills.tools(), registrations: McpServer.skills() })
 */
export const tools = (): ReadonlyArray<AgentTool.AgentTool<string, Skills>> => [
  AgentTool.fromFunction("list_skills", {
    description:
      "Lists skills: instructions for certain tasks, by people who know how to do them. When a task fits the description of one, read it with read_skill before you begin.",
    hints: reading,
    execute: () =>
      Skills.use(({ scan }) =>
        Effect.map(scan, ({ skills }) => ({ skills: skills.map(({ description, name }) => ({ name, description })) }))
      )
  }),
  ...readers(Schema.String.annotate({ description: "The name of a skill" }), "", (read) => Skills.use(read))
]
