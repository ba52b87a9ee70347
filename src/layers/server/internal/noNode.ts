/** Takes the place of the server of Node on other platforms. */
import * as Effect from "effect/Effect"
import type { ListenFailure } from "./node.ts"

/** Fails: only Node listens here. */
export const serve = (): Effect.Effect<never, ListenFailure> =>
  Effect.fail({ code: "there is no Node here: give AgentServer.toWebHandler to the platform's own server" })
