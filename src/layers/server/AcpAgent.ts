/**
 * Agents that are programs of their own and speak ACP, the Agent Client Protocol, as runners here: Claude Code, Codex, Gemini
 * and others, by the command that starts them.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { assertName } from "../../internal/definition.ts"
import { elsewhere } from "../../internal/elsewhere.ts"
import { formOf } from "../../internal/journaled.ts"
import { always } from "../../internal/runnerSchemas.ts"
import { aFunction } from "../../internal/structure.ts"
import * as Runner from "../../Runner.ts"
import { AcpAgentError } from "./internal/acp/acpError.ts"
import { specOf } from "./internal/acp/agentSpec.ts"

export { AcpAgentError } from "./internal/acp/acpError.ts"

/** Options of {@link make}. */
export interface Options {
  /** The program, by its name in `PATH` or its absolute path. */
  readonly command: string
  readonly args?: ReadonlyArray<string> | undefined
  readonly description?: string | undefined
  /**
   * Its environment, as a whole: it sees no other variables but `PATH`, `TZ`, `LANG` and those of the system's folders. Most agents
   * need `HOME` to find their settings, and a key. Secrets that are `Redacted` are kept out of errors.
   */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted<string>>> | undefined
  /** The absolute path of the directory that it works in. Default: that of this process. */
  readonly cwd?: string | undefined
  /** How long it may take until it has a session. Default 30 seconds. */
  readonly startTimeout?: Duration.Input | undefined
  /** How long it may take to stop when it is cancelled, and to end when its input ends, and after SIGTERM. Default 2 seconds. */
  readonly grace?: Duration.Input | undefined
  /** How many characters it may send in one run. Default 67,108,864. */
  readonly limit?: number | undefined
  /**
   * Lets it read the text files below `root`, and with `write` write them, through this program: nothing leads out of that
   * directory. Default: it cannot. Its own access to files is its own.
   */
  readonly files?: { readonly root: string; readonly write?: boolean | undefined } | undefined
  /**
   * Lets it run commands through this program, each in a process group that ends with the run. Default false. This is not a
   * sandbox.
   */
  readonly terminals?: boolean | undefined
}

/** An agent that is a process of its own. It takes a text, and returns the text after its last tool call. */
export type AcpAgent = Runner.Runner<string, string, AcpAgentError, never>

/**
 * Makes a runner of a program that speaks version 1 of ACP on its standard input and output. Each run starts it, makes a
 * session, and sends the input as one turn; the process ends with the run. `stream` has its text, its reasoning, its plans and
 * its tool calls as they come.
 *
 * What the agent asks permission for is put to the approvers of this program, see `Approvals`. They see the tool by the name or
 * kind that the agent gives, and cannot change its arguments. Without an approver the run fails with
 * reason `permission`. What the agent does without asking is seen in the events, and is not stopped: set it up so that it asks.
 * Files and commands of `files` and `terminals` pass the rules of `Approvals.layerPolicy` and `Approvals.floor` too.
 *
 * Interrupting a run sends `session/cancel`, waits `grace` for the agent to stop, and ends the process with all that it has
 * started: by the end of its input, SIGTERM and SIGKILL. The process does not outlive this one.
 *
 * Runs fail with `AcpAgentError`: its `reason` says why. Usage is known where the agent says it. Throws `InvalidDefinition` for
 * options that no agent could have. It needs Node.
 *
 * @example
 * import { Effect, Redacted } from "effect"
 * import { AcpAgent, Approvals } from "troupe"
 *
 * const coder = AcpAgent.make("coder", {
 *   command: "npx",
 *   args: ["-y", "@zed-industries/claude-code-acp"],
 *   env: { HOME: "/home/ada", ANTHROPIC_API_KEY: Redacted.make("sk-...") },
 *   cwd: "/home/ada/project"
 * })
 * const program = coder.run("Add a test for the parser.").pipe(
 *   Effect.provide(Approvals.layerPolicy({ destructive: "deny", declared: "allow" }))
 * )
 */
export const make = (name: string, options: Options): AcpAgent => {
  assertName("an agent of ACP", name, 'Give it a name: AcpAgent.make("coder", { command: "..." })')
  const spec = specOf(name, options)
  const forms = { output: formOf(Schema.String), error: formOf(AcpAgentError) }
  return Runner.fromDefinition<string, string, AcpAgentError, never>(name, options.description, {
    body: (input, state) =>
      Effect.flatMap(
        // Loaded with the first run: processes are Node's.
        Effect.promise(() => import("./internal/acp/agentRun.ts")),
        (agent) => elsewhere(state, forms, agent.run(spec, input, state))
      ),
    input: always(Schema.String),
    output: always(Schema.String),
    observers: [],
    structure: aFunction
  })
}
