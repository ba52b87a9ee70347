/** The conversation of one run as it grows, for the model, for errors and for results. Internal to the agents. */
import * as Prompt from "effect/ai/Prompt"
import type { RunState } from "../../internal/runState.ts"

export class Conversation {
  /** Everything said so far, without the agent's own instructions. */
  messages: Array<Prompt.Message> = []
  readonly #state: RunState

  constructor(state: RunState) {
    this.#state = state
  }

  transcript(): Prompt.Prompt {
    return Prompt.fromMessages([...this.messages])
  }

  /** What every error of a run carries. */
  failure() {
    return { path: this.#state.info.path, spent: this.#state.spent(), transcript: this.transcript() }
  }

  /** Begins with the messages of the input. */
  begin(messages: Array<Prompt.Message>): void {
    this.messages = messages
    const given = messages.length
    this.#state.transcript?.keep(() => ({ messages: [...this.messages], given }))
  }
}
