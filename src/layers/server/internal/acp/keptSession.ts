/** Turns of a session that the program's store keeps. Loaded where there is one: the server itself knows no agent. */
import type * as Prompt from "effect/ai/Prompt"
import * as Session from "../../../../agents/Session.ts"
import type * as Runner from "../../../../Runner.ts"

/** The runner, each of whose runs is a turn of the session. What a cancelled turn had done by then is kept. */
export const keptIn = (
  runner: Runner.Runner<Prompt.RawInput, unknown, unknown, never>,
  id: string
): Runner.Runner<Prompt.RawInput, unknown, unknown, never> =>
  // The store is in the context of the server.
  Session.of(runner, id, { onFailure: "keep" }) as Runner.Runner<Prompt.RawInput, unknown, unknown, never>
