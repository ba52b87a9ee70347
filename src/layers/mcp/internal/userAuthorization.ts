/** The authorization of one server as the program's `oauth` has it: what is kept of it, and the user who is asked. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { messageOf } from "../../../internal/message.ts"
import type { Scrubber } from "../../../internal/scrubber.ts"
import { type OAuthOptions, secretsOfAuth } from "./config.ts"
import type { OAuthState } from "./protocol.ts"

/** The authorization of one server. */
export interface UserAuthorization {
  readonly state: () => OAuthState
  readonly save: (state: OAuthState) => Effect.Effect<void>
  /** Sends the user to an address and gives what came back. */
  readonly ask: (url: string) => Effect.Effect<string, string>
  readonly isAsking: () => boolean
  /** How many times the user has been asked. */
  readonly asked: () => number
}

/** Begins with what was kept of an earlier connection. What is secret in it is learned by `scrubber`. */
export const make = Effect.fnUntraced(function* (oauth: OAuthOptions | undefined, scrubber: Scrubber) {
  let state = yield* load(oauth)
  let asking = 0
  let asked = 0
  scrubber.learn(secretsOfAuth(state))
  const ended = Effect.sync(() => {
    asking--
    asked++
  })
  return {
    state: () => state,
    save: (next) => {
      state = next
      scrubber.learn(secretsOfAuth(next))
      return oauth?.store?.save(Redacted.make(JSON.stringify(next))) ?? Effect.void
    },
    ask: (url) => {
      const authorize = oauth?.authorize
      if (authorize === undefined) return Effect.fail("the server asks for a user, and its oauth has no authorize")
      asking++
      return Effect.suspend(() => authorize(new URL(url))).pipe(
        Effect.map(String),
        Effect.tap((answer) =>
          Effect.sync(() => scrubber.learn([answer, URL.parse(answer)?.searchParams.get("code") ?? answer]))
        ),
        Effect.mapError(messageOf),
        Effect.ensuring(ended)
      )
    },
    isAsking: () => asking > 0,
    asked: () => asked
  } satisfies UserAuthorization as UserAuthorization
})

const load = (oauth: OAuthOptions | undefined): Effect.Effect<OAuthState> =>
  Effect.map(oauth?.store?.load ?? Effect.succeed(undefined), (kept) => {
    if (kept === undefined) return {}
    try {
      return JSON.parse(Redacted.value(kept)) as OAuthState
    } catch {
      // Tokens that cannot be read are asked for again.
      return {}
    }
  })
