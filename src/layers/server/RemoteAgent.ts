/** Agents of other programs, in any language, that speak A2A 1.0, as runners here. */
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { assertOptions, countOf, namesOf } from "../../internal/definition.ts"
import type * as Runner from "../../Runner.ts"
import { agentOf } from "./internal/a2aClient.ts"
import type { RemoteAgentError } from "./internal/a2aError.ts"

export { RemoteAgentError } from "./internal/a2aError.ts"

/** Options of {@link connect}. */
export interface Options {
  /** The bearer token. It is sent to the origin of the url, and to `origins`. */
  readonly token?: Redacted.Redacted<string> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Further origins that the card of the agent may name as its address, such as `https://rpc.example`. Default: none but the
   * origin of the url.
   */
  readonly origins?: ReadonlyArray<string> | undefined
  /** How many characters an answer may have. Default 16,777,216. */
  readonly limit?: number | undefined
  /** Default: `globalThis.fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/** An agent elsewhere. It takes a text, and returns the text of the task's output: parts of data are JSON. */
export type RemoteAgent = Runner.Runner<string, string, RemoteAgentError, never>

/**
 * Reads the card of an A2A agent, and makes a runner of it: with its name and description, to run, to stream, or to use as a
 * tool or a member of a workflow. `url` is the address that `/.well-known/agent-card.json` is below, or that of a card.
 *
 * Each run is a task of its own. Interrupting it ends the request and cancels the task, which is
 * waited for 5 seconds at most. An agent that streams is streamed; one that
 * answers before the task has ended is asked once a second. Usage is known where the agent is one of Troupe.
 *
 * `connect` and runs fail with `RemoteAgentError`: its `reason` says why, and a task that asks for input (`asked`) is one. The card is
 * waited for 30 seconds; a run is waited for as long as the agent works, see `Runner.withTimeout`.
 *
 * @example
 * import { Effect } from "effect"
 * import { RemoteAgent } from "troupe"
 *
 * const program = Effect.gen(function* () {
 *   const desk = yield* RemoteAgent.connect("https://agents.example/a2a/desk")
 *   return yield* desk.run("What is 2 + 40?")
 * })
 */
export const connect = (url: string | URL, options: Options = {}): Effect.Effect<RemoteAgent, RemoteAgentError> => {
  assertOptions("RemoteAgent.connect", options, known)
  if (options.limit !== undefined) countOf("RemoteAgent.connect", "limit", options.limit)
  return Effect.suspend(() => agentOf(String(url), options))
}

const known = namesOf<Options>({ token: true, headers: true, origins: true, limit: true, fetch: true })
