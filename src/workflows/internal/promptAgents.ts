/** Agents that are nothing but a text: what the `fromPrompts` of workflows are made of. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Agent from "../../agents/Agent.ts"

/** An agent without tools that answers with a text. */
export type TextAgent = Agent.Agent<string, Agent.Error, LanguageModel.LanguageModel>

/** Texts by name. */
export type Prompts = Readonly<Record<string, string>>

/** An agent for each of the texts. */
export type Agents<P extends Prompts> = { readonly [K in keyof P]: TextAgent }

/** An agent for each text, which is its instructions, and guides those that choose among them. */
export const agentsOf = <P extends Prompts>(prompts: P): Agents<P> =>
  Object.fromEntries(
    Object.entries(prompts).map(([name, text]) => [name, Agent.make(name, { instructions: text, description: text })])
    // One agent for each key.
  ) as Agents<P>
