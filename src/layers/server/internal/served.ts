/** Runners as a server has them: by name, with what they take and return as JSON. */
import * as Effect from "effect/Effect"
import type * as JsonSchema from "effect/JsonSchema"
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import { codec, jsonSchema } from "../../../internal/jsonForm.ts"
import { conversation, inputOf, outputOf, takesText } from "../../../internal/runnerSchemas.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import * as Runner from "../../../Runner.ts"
import { check as clientInput } from "../../internal/clientInput.ts"
import type { Structure } from "../../../internal/structure.ts"
import { problem, type Problem, reading } from "./problem.ts"

/** A runner whose types are checked where it is given, and decoded at run time. */
export type ErasedRunner = Runner.Runner<unknown, unknown, unknown, never>

/** A runner of a server. */
export interface ServedRunner {
  readonly name: string
  readonly runner: ErasedRunner
  readonly description: string | undefined
  /** Whether it takes a text, and so a question of a chat. */
  readonly isChat: boolean
  /** Whether it takes a conversation. */
  readonly takesConversation: boolean
  readonly inputSchema: JsonSchema.JsonSchema
  readonly outputSchema: JsonSchema.JsonSchema | undefined
  /** Reads the input of a client. */
  readonly decode: (input: unknown) => Effect.Effect<unknown, Problem>
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** The runners of a server by their names. Throws `InvalidDefinition` for a name or a runner that cannot be served. */
export const servedOf = (runners: Readonly<Record<string, unknown>>): ReadonlyMap<string, ServedRunner> => {
  const entries = Object.entries(runners)
  if (entries.length === 0) {
    throw new InvalidDefinition({
      subject: "AgentServer",
      problem: "it has no runner",
      remedy: "Give it one: { runners: { desk } }"
    })
  }
  return new Map(entries.map(([name, given]) => [name, servedAs(name, given)]))
}

const servedAs = (name: string, given: unknown): ServedRunner => {
  const subject = `runner "${name}" of the server`
  if (!namePattern.test(name)) {
    const remedy = "Use 1 to 64 letters, digits, dots, hyphens and underscores, a letter or a digit first"
    throw new InvalidDefinition({ subject, problem: "its name cannot stand in an address", remedy })
  }
  const own = Runner.isRunner(given)
  const runner = own ? given : Predicate.hasProperty(given, "runner") ? given.runner : undefined
  if (!Runner.isRunner(runner)) {
    const remedy = "Give a runner, or { runner, input: Schema } for one that does not take a text"
    throw new InvalidDefinition({ subject, problem: "it is not a runner", remedy })
  }
  const schema = own || !Predicate.hasProperty(given, "input") ? inputOf(runner) : (given.input as Schema.Top)
  const output = outputOf(runner)
  return {
    name,
    // The services of its runs are in the context of the server, as its type says.
    runner: runner as unknown as ErasedRunner,
    description: runner.description,
    ...inputs(subject, schema),
    outputSchema: output === undefined ? undefined : jsonOf(subject, output)
  }
}

/** A schema that has no JSON form describes nothing: its output is sent in its own JSON shape. */
const jsonOf = (subject: string, schema: Schema.Top): JsonSchema.JsonSchema | undefined => {
  try {
    return jsonSchema(subject, codec(subject, schema, "output"))
  } catch {
    return undefined
  }
}

type Inputs = Pick<ServedRunner, "decode" | "inputSchema" | "isChat" | "takesConversation">

const textSchema: JsonSchema.JsonSchema = { type: "string" }
const conversationSchema: JsonSchema.JsonSchema = {
  anyOf: [
    textSchema,
    {
      type: "array",
      items: {
        type: "object",
        properties: { role: { enum: ["user", "assistant"] }, content: {} },
        required: ["role", "content"]
      }
    }
  ]
}

const inputs = (subject: string, schema: Schema.Top | undefined): Inputs => {
  if (schema === conversation) {
    return { isChat: true, takesConversation: true, inputSchema: conversationSchema, decode: decodeConversation }
  }
  if (takesText(schema)) {
    return { isChat: true, takesConversation: false, inputSchema: textSchema, decode: decodeText }
  }
  const coded = codec(subject, schema!, "input") as Schema.Codec<unknown, unknown>
  return {
    isChat: false,
    takesConversation: false,
    inputSchema: jsonSchema(subject, coded),
    decode: reading(coded, "input does not fit", { part: "input" })
  }
}

const decodeText = (input: unknown): Effect.Effect<unknown, Problem> =>
  typeof input === "string"
    ? Effect.succeed(input)
    : Effect.fail(problem(400, "input is not a text.", { part: "input" }))

/** A text, or messages of which every part is one that a client may write. */
const decodeConversation = (input: unknown): Effect.Effect<unknown, Problem> =>
  typeof input === "string" ? Effect.succeed(input) : fromClient(input, Prompt.empty)

/** Messages of a client: what this program cannot have written is refused, unless it is in `history`. */
export const fromClient = (input: unknown, history: Prompt.Prompt): Effect.Effect<Prompt.Prompt, Problem> =>
  Effect.mapError(clientInput(input, { history }), ({ kind, message, part }) => problem(400, message, { part, kind }))

/**
 * The first of the tools that a client names that the runner does not have for it: a client brings no tools of its own.
 */
export const foreignTool = (
  { name, runner }: ServedRunner,
  tools: ReadonlyArray<string>
): { readonly index: number; readonly detail: string } | undefined => {
  const own = tools.length === 0 ? undefined : memberNames(runner)
  const index = tools.findIndex((tool) => own?.has(tool) === false)
  if (index < 0) return undefined
  const detail = `"${name}" has no tool "${tools[index]!.slice(0, 100)}". A client runs tools that the server defines with AgentTool.client.`
  return { index, detail }
}

/** The names of all that a runner is made of, to any depth: members, and tools of agents. */
const memberNames = (runner: Runner.Any): ReadonlySet<string> => {
  const names = new Set<string>()
  const seen = new Set<unknown>()
  const look = (one: { readonly definition: { readonly structure: () => Structure } }): void => {
    if (seen.has(one)) return
    seen.add(one)
    for (const { name, runner: inner } of one.definition.structure().members) {
      names.add(name)
      if (inner !== undefined) look(inner)
    }
  }
  look(runner)
  return names
}
