/**
 * Runs of random trees of agents and workflows, for tests that kill the processes that execute them. What the model and the
 * tools really did stands in a ledger, a file that every process appends to.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { Effect, Layer, Schema, Stream } from "effect"
import { LanguageModel, type Response } from "effect/ai"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Chain from "troupe/Chain"
import * as Durable from "troupe/Durable"
import * as Parallel from "troupe/Parallel"
import * as Runner from "troupe/Runner"

/** How long a model call and a tool take, in milliseconds. */
const delay = Number(process.env["DELAY"] ?? 5)
const ledger = process.env["LEDGER"]

const write = (what: string): Effect.Effect<void> =>
  Effect.sync(() => {
    if (ledger !== undefined) appendFileSync(ledger, `${what}\n`)
  })

/** How often each line stands in the ledger. */
export const counts = (file: string): ReadonlyMap<string, number> => {
  const all = new Map<string, number>()
  if (!existsSync(file)) return all
  for (const line of readFileSync(file, "utf8").split("\n")) if (line !== "") all.set(line, (all.get(line) ?? 0) + 1)
  return all
}

/** Numbers from 0 to 1 that depend on the seed alone. */
const random = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const leaf = (name: string, hints?: AgentTool.Hints) =>
  AgentTool.fromFunction(name, {
    description: `does ${name}`,
    parameters: Schema.Struct({ n: Schema.Finite }),
    ...(hints === undefined ? {} : { hints }),
    execute: ({ n }, context) =>
      Effect.gen(function* () {
        yield* write(`${hints === undefined ? "effect" : "look"} ${context.idempotencyKey}`)
        yield* Effect.sleep(delay)
        return `${name} ${n}`
      })
  })
const work = leaf("work")
const look = leaf("look", { readOnly: true })

type Tree = Runner.Runner<string, string, unknown, LanguageModel.LanguageModel>

/** A tree of a seed. */
export const treeOf = (seed: number): Tree => {
  const next = random(seed)
  let names = 0
  const agent = (depth: number): Tree => {
    const name = `a${++names}`
    const nested = depth > 0 && next() < 0.3 ? [AgentTool.fromRunner(build(depth - 1))] : []
    return Agent.make(name, {
      description: "works",
      instructions: `you are ${seed}/${name} with ${1 + Math.floor(next() * 3)} rounds`,
      tools: [work, look, ...nested]
    })
  }
  const build = (depth: number): Tree => {
    const kind = depth === 0 ? 0 : next()
    if (kind < 0.3) return agent(depth)
    const name = `w${++names}`
    const [one, two] = [build(depth - 1), build(depth - 1)]
    if (kind < 0.6) return Chain.make(name, [one, two]) as Tree
    const mode = kind < 0.8 ? Parallel.failFast : kind < 0.9 ? Parallel.settle : Parallel.quorum(2)
    return Parallel.make(name, { one, two }, { mode }).pipe(Runner.map((outputs) => JSON.stringify(outputs))) as Tree
  }
  return build(2)
}

/** Answers by what it is given: so many rounds of tool calls, then a text. */
const answerOf = (options: LanguageModel.ProviderOptions): Effect.Effect<ReadonlyArray<Response.PartEncoded>> =>
  Effect.gen(function* () {
    const system = options.prompt.content.find(({ role }) => role === "system")?.content
    const [, who, rounds] = /you are (\S+) with (\d+)/.exec(String(system)) ?? ["", "?", "0"]
    const round = options.prompt.content.filter(({ role }) => role === "assistant").length
    yield* write(`model ${who} ${round}`)
    yield* Effect.sleep(delay)
    const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } } as Response.FinishPartEncoded["usage"]
    if (round < Number(rounds)) {
      const calls = options.tools.map((tool, index) => ({
        type: "tool-call" as const,
        id: `c${round}_${index}`,
        name: tool.name,
        params: tool.name === "work" || tool.name === "look" ? { n: round * 10 + index } : { input: `task ${round}` },
        providerExecuted: false
      }))
      return [...calls, { type: "finish", reason: "tool-calls", usage, response: undefined }] as never
    }
    return [
      { type: "text", text: `${who} after ${round}` },
      { type: "finish", reason: "stop", usage, response: undefined }
    ] as never
  })

/** The model of the trees. */
export const Model: Layer.Layer<LanguageModel.LanguageModel> = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: (options) => answerOf(options) as never,
    streamText: () => Stream.die("the trees do not stream")
  })
)

const grove = Runner.make("grove", {
  run: (seed: number) => Effect.mapError(treeOf(seed).run("go"), (error) => String(error))
})

/** The durable definition: a run is the tree of its seed. */
export const trees = Durable.make(grove, { name: "trees", version: "1", key: (seed) => `tree ${seed}` })

/** The engine that the environment names. */
export const engine = (options: Durable.EngineOptions = {}) => {
  const where = process.env["ENGINE"]!
  const settings = { poll: "100 millis", lease: "3 seconds", ...options } as const
  return where.startsWith("postgres:")
    ? Durable.layerPostgres({ url: where, maxConnections: 6, ...settings })
    : Durable.layerSqlite({ filename: where, ...settings })
}
