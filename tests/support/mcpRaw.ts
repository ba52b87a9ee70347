/** Servers that answer what a test writes down, and what agents and models make of their answers. */
import * as path from "node:path"
import { Effect, Layer, Logger, References } from "effect"
import type { Prompt } from "effect/ai"
import { Agent, Mcp, SyncEdge, TestModel } from "troupe"

/**
 * From a method to its result. `{ $error }` is sent as a JSON-RPC error, a text is written as it is, with `$ID` filled in,
 * and the fields for `initialize` are laid over a sound answer. `"tools/call": { $byName }` has a result for each tool; the
 * server then has these tools. `$A{n}` in a result stands for n letters. `$ask` is a request that the server makes under each
 * `tools/call`; the text of the call's result is then the client's whole answer.
 */
export interface RawAnswers {
  readonly [method: string]: unknown
  readonly $ask?: { readonly method: string; readonly params?: unknown }
}

/** A server that gives these answers; without any it has a tool `good`, whose result is `fine`. */
export const rawServer = (answers: RawAnswers = {}, options: Mcp.CommonOptions = {}) => ({
  command: process.execPath,
  args: [path.join(import.meta.dirname, "mcpRawMain.ts"), JSON.stringify(answers)],
  grace: "200 millis" as const,
  ...options
})

/** Both ways to run a program. */
export const edges = [
  ["runPromise", <A, E>(program: Effect.Effect<A, E>) => Effect.runPromise(program)],
  [
    "runSync",
    <A, E>(program: Effect.Effect<A, E>) => Promise.resolve(Effect.runSync(Effect.provide(program, SyncEdge.layer)))
  ]
] as const

/** Collects what is logged, from the level Debug on. */
export const collectLogs = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel}: ${(Array.isArray(message) ? message : [message]).map(String).join(" ")}`)
  })
  const layer = Layer.merge(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, "Debug"))
  return { lines, layer }
}

/** What an agent's model is given as the results of calls of a server's tools, in order. */
export const callsThroughAgent = (
  server: Mcp.ServerOptions,
  ...calls: ReadonlyArray<{ readonly name: string; readonly params: unknown }>
): Effect.Effect<ReadonlyArray<Prompt.ToolResultPart>, unknown> => {
  const agent = Agent.make("agent", { tools: [Mcp.tools()], toolConcurrency: 1 })
  const Model = TestModel.layer([TestModel.toolCalls(...calls), "done"])
  return agent.result("go").pipe(
    Effect.map(({ transcript }) => {
      const parts = transcript.content.flatMap((message) => (message.role === "tool" ? message.content : []))
      return parts.flatMap((part) => (part.type === "tool-result" ? [part] : []))
    }),
    Effect.provide(Layer.merge(Model, Mcp.layer({ servers: { raw: server } })))
  )
}

/** The same for one call. */
export const callThroughAgent = (server: Mcp.ServerOptions, params: unknown = {}, name = "good") =>
  Effect.map(callsThroughAgent(server, { name, params }), (results) => results[0]!)

/** The results of tools that give these, by their names. */
export const resultsThroughAgent = (byName: Readonly<Record<string, unknown>>) =>
  Effect.map(
    callsThroughAgent(
      rawServer({ "tools/call": { $byName: byName } }),
      ...Object.keys(byName).map((name) => ({ name, params: {} }))
    ),
    (results) => Object.fromEntries(results.map((result) => [result.name, result]))
  )
