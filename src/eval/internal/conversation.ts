/** Conversations of several turns, in which a runner plays the user. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as Agent from "../../agents/Agent.ts"
import { assertName, assertOptions, countOf } from "../../internal/definition.ts"
import { textOfJson } from "../../internal/json.ts"
import { encodeOutput } from "../../internal/runnerSchemas.ts"
import * as Runner from "../../Runner.ts"

/** What the user wants, and how the conversation begins. */
export const Scenario = Schema.Struct({
  /** What the user wants, and how they are; the agent does not see it. */
  goal: Schema.String,
  /** The user's first message. Default: the user is asked for it. */
  opening: Schema.optionalKey(Schema.String)
})
/** What the user wants, and how the conversation begins. */
export interface Scenario extends Schema.Schema.Type<typeof Scenario> {}

/** What a simulated user says; `done` ends the conversation, and the message is then not sent. */
export const UserTurn = Schema.Struct({ message: Schema.String, done: Schema.Boolean })
/** What a simulated user says. */
export interface UserTurn extends Schema.Schema.Type<typeof UserTurn> {}

/** A conversation that has ended. */
export const Conversation = Schema.Struct({
  messages: Schema.Array(Schema.Struct({ role: Schema.Literals(["user", "agent"]), text: Schema.String })),
  /** How often the agent answered. */
  turns: Schema.Int,
  /** `done`: the user was; `maxTurns`: it was as long as it may be. */
  ended: Schema.Literals(["done", "maxTurns"])
})
/** A conversation that has ended. */
export interface Conversation extends Schema.Schema.Type<typeof Conversation> {}

/** The simulated user and the agent, and how long they talk. */
export interface Members<A, E1, R1, E2, R2> {
  /** What is evaluated. It is given the whole conversation in each turn. */
  readonly agent: Runner.Runner<Prompt.RawInput, A, E1, R1>
  /** Plays the user. It sees its own messages as those of the assistant. */
  readonly user: Runner.Runner<Prompt.RawInput, UserTurn | string, E2, R2>
  /** How often the agent answers at most. Default 8. */
  readonly maxTurns?: number | undefined
}

type Message = Conversation["messages"][number]

const asUser = (text: string) => Prompt.userMessage({ content: [Prompt.textPart({ text })] })
const asAssistant = (text: string) => Prompt.assistantMessage({ content: [Prompt.textPart({ text })] })

const brief = (goal: string): string =>
  `You are the user in a conversation with an assistant. Your goal:\n${goal}\nWrite your first message.`

/** The conversation as the one who plays the user sees it. */
const forUser = (goal: string, messages: ReadonlyArray<Message>): Prompt.Prompt =>
  Prompt.fromMessages([
    asUser(brief(goal)),
    ...messages.map(({ role, text }) => (role === "user" ? asAssistant(text) : asUser(text)))
  ])

/** Makes the runner of conversations. */
export const conversation = <A, E1, R1, E2, R2>(
  name: string,
  members: Members<A, E1, R1, E2, R2>
): Runner.Runner<Scenario, Conversation, E1 | E2, R1 | R2> => {
  const subject = `conversation "${name}"`
  assertName("a conversation", name, 'Give it one: Eval.conversation("support", { agent, user })')
  assertOptions(subject, members, new Set(["agent", "user", "maxTurns"]))
  const { agent, maxTurns = 8, user } = members
  Runner.membersOf(subject, { agent, user })
  countOf(subject, "maxTurns", maxTurns)
  const talk = Effect.fnUntraced(function* ({ goal, opening }: Scenario) {
    const messages: Array<Message> = []
    let said = Prompt.empty
    for (let turns = 0; ; turns++) {
      if (turns === maxTurns) return { messages, turns, ended: "maxTurns" } satisfies Conversation
      const next = turns === 0 && opening !== undefined ? opening : yield* user.run(forUser(goal, messages))
      const turn = typeof next === "string" ? { message: next, done: false } : next
      if (turn.done && turns > 0) return { messages, turns, ended: "done" } satisfies Conversation
      messages.push({ role: "user", text: turn.message })
      const { output, transcript } = yield* agent.result(
        Prompt.concat(said, Prompt.fromMessages([asUser(turn.message)]))
      )
      messages.push({ role: "agent", text: textOfJson(encodeOutput(agent, output)) })
      said = transcript
    }
  })
  return Runner.workflow(name, {
    description: undefined,
    structure: () => ({
      kind: "conversation",
      note: `at most ${maxTurns} turns`,
      members: [
        { name: agent.name, role: "agent", runner: agent },
        { name: user.name, role: "user", runner: user }
      ]
    }),
    input: () => Scenario,
    output: () => Conversation,
    run: (scenario: Scenario) => talk(scenario)
  })
}

/** Makes an agent that plays a user. */
export const user = (name: string, options: { readonly persona?: string | undefined } = {}) => {
  assertOptions(`user "${name}"`, options, new Set(["persona"]))
  const persona = options.persona === undefined ? "" : ` You are: ${options.persona}.`
  return Agent.make(name, {
    description: "Plays a user",
    instructions: `Play a user who talks to an assistant.${persona} Write only what the user says next, in the user's words, briefly. Stay in the role. Do not help the assistant. Set done to true once your goal is reached or cannot be reached.`,
    output: UserTurn
  })
}
