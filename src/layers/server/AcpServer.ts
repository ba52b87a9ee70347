/**
 * A runner as an agent of editors: Zed, JetBrains and others that speak ACP, the Agent Client Protocol, start the program and
 * speak with it on its standard input and output.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { assertOptions, countOf, namesOf } from "../../internal/definition.ts"
import { inputOf, takesText } from "../../internal/runnerSchemas.ts"
import { version } from "../../internal/version.generated.ts"
import { InvalidDefinition } from "../../RunError.ts"
import * as Runner from "../../Runner.ts"
import type { ServedAgent } from "./internal/acp/serverTurn.ts"

export { CurrentSession, type Session } from "./internal/acp/currentSession.ts"

/** Options of {@link serve}. */
export interface Options<R> {
  /** What answers. It takes a text; an agent has the conversation of its session. */
  readonly runner: Runner.Runner<string, unknown, unknown, R>
  /** The name that the editor shows. Default: that of the runner. */
  readonly name?: string | undefined
  /** The version that the editor shows. Default: that of Troupe. */
  readonly version?: string | undefined
  /** How many sessions are kept at once. Default 100; the one that was used the longest time ago makes room for a new one. */
  readonly maxSessions?: number | undefined
  /** How many bytes a message of the editor may have. Default 33,554,432. */
  readonly maxLineSize?: number | undefined
}

const known = namesOf<Options<never>>({
  runner: true,
  name: true,
  version: true,
  maxSessions: true,
  maxLineSize: true
})

/** A server that serves. */
export class Served extends Context.Service<
  Served,
  {
    /** Waits until the editor is gone: until standard input ends. */
    readonly ended: Effect.Effect<void>
  }
>()("troupe/AcpServer/Served") {}

/**
 * Serves a runner to an editor, version 1 of ACP on standard input and output. Each message of the person is a run: its text,
 * reasoning and tool calls are shown as they come. `session/cancel` interrupts the run, with its model request and its tools.
 *
 * A tool with `needsApproval` is put to the person, as is what an approver around the Layer leaves for later; its rules and
 * decisions count first. "Allow in this session" holds for the tool until the session ends.
 *
 * With a `SessionStore` around the Layer sessions are kept, and the editor can go on with them (`session/load`); without one
 * they end with the program. The editor's folder is in {@link CurrentSession}; the editor's own MCP servers are left out. All
 * that the run shows is shown: the person at the editor is the one who runs the program.
 *
 * Standard output carries the protocol and nothing else: while the server runs, all other output goes to standard error. It
 * ends when standard input does, which interrupts the runs. Throws `InvalidDefinition` for a runner that takes no text, and for
 * limits that are not counts. It needs Node.
 *
 * @example
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { AcpServer, Agent, OpenAi } from "troupe"
 *
 * const desk = Agent.make("desk", { instructions: "Answer questions about the project." })
 * const Server = AcpServer.serve({ runner: desk })
 *
 * Effect.flatMap(AcpServer.Served, ({ ended }) => ended).pipe(
 *   Effect.provide(Server),
 *   Effect.provide(OpenAi.layer({ model: "gpt-4.1-mini" })),
 *   NodeRuntime.runMain
 * )
 */
export const serve = <R>(options: Options<R>): Layer.Layer<Served, never, R> => {
  assertOptions("AcpServer", options, known)
  const { runner } = options
  if (!Runner.isRunner(runner) || !takesText(inputOf(runner))) {
    throw new InvalidDefinition({
      subject: "AcpServer",
      problem: "what it serves does not take a text",
      remedy: "Give it an agent, or a runner of texts: Runner.mapInput makes one"
    })
  }
  const serving = {
    name: options.name ?? runner.name,
    version: options.version ?? version,
    // Its services are those of the Layer, and what takes a text alone is given one.
    runner: runner as unknown as ServedAgent,
    maxSessions: countOf("AcpServer", "maxSessions", options.maxSessions ?? 100),
    maxLineBytes: countOf("AcpServer", "maxLineSize", options.maxLineSize ?? 32 * 1024 * 1024)
  }
  return Layer.effect(
    Served,
    Effect.flatMap(
      // Loaded when it serves: standard input and output are Node's.
      Effect.promise(() => import("./internal/acp/serverStdio.ts")),
      (stdio) => Effect.map(stdio.serve(serving), (ended) => Served.of({ ended }))
    )
  ) as Layer.Layer<Served, never, R>
}
