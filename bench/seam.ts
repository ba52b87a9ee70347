/**
 * What the seam of middleware and journal costs a run that uses neither, and what middleware costs a run that has some: pairs of
 * the same work, in turn in one process, with a model that answers at once. `npm run seam`
 *
 * "Without the seam" is a copy of the sources in which a switch takes it out: no middleware is looked for, and no journal is asked.
 * Both halves of a pair are the same modules, because two copies of them differ more than this by themselves.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as AgentModule from "../src/agents/Agent.ts"
import type * as AgentToolModule from "../src/AgentTool.ts"
import type * as MiddlewareModule from "../src/Middleware.ts"
import type * as ModelInfoModule from "../src/services/ModelInfo.ts"

const rounds = 10
const sources = path.resolve(import.meta.dirname, "../src")
const copy = path.resolve(import.meta.dirname, "results/seam")
const isOff = 'globalThis["seamIsOff" as never] === (true as never)'

/** What is taken out. A place that is not there any more is an error: the pair would say nothing. */
const cuts: ReadonlyArray<readonly [file: string, from: string, to: string]> = [
  [
    "agents/internal/middlewareStages.ts",
    "  const given = givenTo(fiber)\n",
    `  if (${isOff}) return own?.stages\n  const given = givenTo(fiber)\n`
  ],
  [
    "internal/journaled.ts",
    "  const journal = fiber.getRef(CurrentJournal)\n  return journal === none",
    `  if (${isOff}) return undefined\n  const journal = fiber.getRef(CurrentJournal)\n  return journal === none`
  ],
  [
    "internal/runState.ts",
    "(fiber.getRef(CurrentJournal).rootId ?? makeId(fiber))",
    `((${isOff} ? undefined : fiber.getRef(CurrentJournal).rootId) ?? makeId(fiber))`
  ]
]

const copyWithSwitch = (): void => {
  rmSync(copy, { recursive: true, force: true })
  mkdirSync(copy, { recursive: true })
  cpSync(sources, copy, { recursive: true })
  for (const [file, from, to] of cuts) {
    const name = path.join(copy, file)
    const text = readFileSync(name, "utf8")
    if (!text.includes(from)) throw new Error(`${file} has changed: say again what to take out of it`)
    writeFileSync(
      name,
      text.replace(from, () => to)
    )
  }
}

interface Modules {
  readonly Agent: typeof AgentModule
  readonly AgentTool: typeof AgentToolModule
  readonly Middleware: typeof MiddlewareModule
  readonly ModelInfo: typeof ModelInfoModule
}
const load = async (folder: string): Promise<Modules> => {
  const get = (file: string) => import(pathToFileURL(path.join(folder, file)).href) as Promise<never>
  return {
    Agent: await get("agents/Agent.ts"),
    AgentTool: await get("AgentTool.ts"),
    Middleware: await get("Middleware.ts"),
    ModelInfo: await get("services/ModelInfo.ts")
  }
}

/** A model that calls the tool so many times and then answers. */
const modelOf = async ({ ModelInfo }: Modules, calls: number) => {
  const finish = (reason: "stop" | "tool-calls"): Response.PartEncoded => ({
    type: "finish",
    reason,
    usage: {
      inputTokens: { uncached: 10, total: 10, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: { total: 5, text: 5, reasoning: undefined }
    },
    response: undefined
  })
  const generateText = ({ prompt }: LanguageModel.ProviderOptions) =>
    Effect.sync((): Array<Response.PartEncoded> => {
      const made = prompt.content.filter(({ role }) => role === "tool").length
      return made < calls
        ? [{ type: "tool-call", id: `c${made}`, name: "add", params: { a: made, b: 1 } }, finish("tool-calls")]
        : [{ type: "text", text: "done" }, finish("stop")]
    })
  const streamText = () => Stream.empty
  const model = await Effect.runPromise(LanguageModel.make({ generateText, streamText }))
  return ModelInfo.context(
    model,
    { provider: "none", model: "at-once", structuredOutput: true },
    { generateText, streamText }
  )
}

type Kind = "run" | "model" | "tool" | "part"

/** A run of an agent with so many idle middleware of a kind, `times` over. */
const workOf = async (modules: Modules, calls: number, times: number, kind: Kind = "model", count = 0) => {
  const { Agent, AgentTool, Middleware } = modules
  const add = AgentTool.fromFunction("add", {
    description: "Add two numbers",
    parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
    execute: ({ a, b }) => a + b
  })
  const idle =
    kind === "part" ? (part: unknown) => part : (request: unknown, next: (request: unknown) => unknown) => next(request)
  const middleware = Array.from({ length: count }, (_, n) => Middleware.make(`idle ${n}`, { [kind]: idle } as never))
  const agent = Agent.make("adder", { instructions: "You add.", tools: [add], maxSteps: rounds + 1, middleware })
  const once = Effect.provideContext(agent.run("Add"), await modelOf(modules, calls))
  const repeated = Effect.forEach(Array.from({ length: times }), () => once, { discard: true })
  return () => Effect.runPromise(repeated as Effect.Effect<void>)
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!
const cpuOf = async (work: () => Promise<unknown>): Promise<number> => {
  const cpu = process.cpuUsage()
  await work()
  const { system, user } = process.cpuUsage(cpu)
  return system + user
}

/** The middle of the lower half: what others on the machine take away is never less than nothing. */
const low = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 2]!

/** What `first` takes, and how much more `second` does, in microseconds of CPU for each unit: the median of pairs, and of low ends. */
const pairs = async (first: () => Promise<unknown>, second: () => Promise<unknown>, units: number, count: number) => {
  for (let warm = 0; warm < 30; warm++) {
    await first()
    await second()
  }
  const [firsts, seconds, more]: [Array<number>, Array<number>, Array<number>] = [[], [], []]
  for (let n = 0; n < count; n++) {
    const isTurned = n % 2 === 1
    const a = await cpuOf(isTurned ? second : first)
    const b = await cpuOf(isTurned ? first : second)
    const [own, other] = isTurned ? [b, a] : [a, b]
    firsts.push(own / units)
    seconds.push(other / units)
    more.push((other - own) / units)
  }
  return { base: low(firsts), more: median(more), lowMore: low(seconds) - low(firsts) }
}

const count = Number(process.env["BENCH_PAIRS"] ?? 151)
copyWithSwitch()
const [switched, whole] = [await load(copy), await load(sources)]
const switchedTo = (isOff: boolean, work: () => Promise<unknown>) => () => {
  Reflect.set(globalThis, "seamIsOff", isOff)
  return work()
}

for (const [what, calls, times] of [
  ["a turn", 0, 300],
  ["a round of ten", rounds, 30]
] as const) {
  const units = times * Math.max(1, calls)
  const work = await workOf(switched, calls, times)
  const used = await pairs(switchedTo(true, work), switchedTo(false, work), units, count)
  const same = await pairs(switchedTo(true, work), switchedTo(true, work), units, count)
  const ns = (us: number) => (us * 1000).toFixed(0)
  const share = ((used.lowMore / used.base) * 100).toFixed(2)
  console.log(
    `${what} without the seam: ${used.base.toFixed(2)} us; with it, unused: ${ns(used.lowMore)} ns more (${share} %; median of pairs ${ns(used.more)} ns). The same twice: ${ns(same.lowMore)} ns (${ns(same.more)} ns).`
  )
}
for (const kind of ["model", "tool", "part", "run"] as const) {
  for (const middleware of [1, 5]) {
    const times = 30
    const units = kind === "run" ? times : times * (rounds + (kind === "tool" ? 0 : 1))
    const off = await workOf(whole, rounds, times)
    const { base, lowMore, more } = await pairs(off, await workOf(whole, rounds, times, kind, middleware), units, count)
    const per = kind === "run" ? "run" : "step"
    console.log(
      `${middleware} around ${kind}: ${lowMore.toFixed(2)} us a ${per} (median of pairs ${more.toFixed(2)}), ${(lowMore / middleware).toFixed(2)} us for each; without ${base.toFixed(2)} us.`
    )
  }
}
