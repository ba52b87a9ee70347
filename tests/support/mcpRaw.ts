/** Servers that answer what a test writes down, and what agents and models make of their answers. */
import * as path from "node:path"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js"
import { Effect, Layer, Logger, References } from "effect"
import type { Prompt } from "effect/ai"
import { Agent, Mcp, SyncEdge, TestModel } from "troupe"
import { answering, type RawAnswers } from "./mcpRawAnswers.ts"

export type { RawAnswers } from "./mcpRawAnswers.ts"

/** A process that gives these answers; without any it has a tool `good`, whose result is `fine`. */
export const rawServer = (answers: RawAnswers = {}, options: Mcp.CommonOptions = {}) => ({
  command: process.execPath,
  args: [path.join(import.meta.dirname, "mcpRawMain.ts"), JSON.stringify(answers)],
  grace: "200 millis" as const,
  ...options
})

/** The same in this process, where what is sent is a message. A text that is written as it is needs a process. */
const rawHere = (answers: RawAnswers = {}, options: Mcp.CommonOptions = {}): Mcp.ServerOptions => {
  const { $byName = {} } = (answers["tools/call"] ?? {}) as { readonly $byName?: object }
  const all = [...Object.values(answers), ...Object.values($byName)]
  if (all.some((answer) => typeof answer === "string")) return rawServer(answers, options)
  const server = (): Mcp.InProcessServer => ({
    connect: async (transport: never) => {
      const ours = transport as Transport
      const receive = answering(answers, (line) => void ours.send(JSON.parse(line) as JSONRPCMessage))
      Object.assign(ours, { onmessage: (message: JSONRPCMessage) => receive(JSON.stringify(message)) })
      await ours.start()
    }
  })
  return { server, ...options }
}

/** Both ways to run a program, and the cheapest server of raw answers on each. */
export const edges = [
  ["runPromise", <A, E>(program: Effect.Effect<A, E>) => Effect.runPromise(program), rawHere],
  [
    "runSync",
    <A, E>(program: Effect.Effect<A, E>) => Promise.resolve(Effect.runSync(Effect.provide(program, SyncEdge.layer))),
    rawServer as typeof rawHere
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
export const resultsThroughAgent = (byName: Readonly<Record<string, unknown>>, server = rawHere) =>
  Effect.map(
    callsThroughAgent(
      server({ "tools/call": { $byName: byName } }),
      ...Object.keys(byName).map((name) => ({ name, params: {} }))
    ),
    (results) => Object.fromEntries(results.map((result) => [result.name, result]))
  )
