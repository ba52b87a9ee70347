/**
 * How each cost grows with its work: every scenario at four sizes, each in a process of its own, with a model that answers at
 * once. Prints CPU time and the exponent of each curve, and draws ../docs/curves.svg. An exponent well above 1 is a cost that
 * grows faster than its work: `npm run curves`, or `npm run curves -- tools` for one.
 */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Agent, AgentTool, Chain, Gather, Parallel, Runner, RunEvent, SyncEdge, ToolSource } from "../src/index.ts"

const finish = (reason: "stop" | "tool-calls"): Response.PartEncoded => ({
  type: "finish",
  reason,
  usage: {
    inputTokens: { uncached: 1, total: 1, cacheRead: 0, cacheWrite: 0 },
    outputTokens: { total: 1, text: 1, reasoning: 0 }
  },
  response: undefined
})
const text = (value: string): ReadonlyArray<Response.PartEncoded> => [{ type: "text", text: value }, finish("stop")]
const calls = (ids: ReadonlyArray<string>): ReadonlyArray<Response.PartEncoded> => [
  ...ids.map((id) => ({ type: "tool-call", id, name: "note", params: { text: id } }) as const),
  finish("tool-calls")
]

/** A model that gives `answers(n)` to its n-th call, the last of a run being a text. */
const model = (
  answers: (call: number) => ReadonlyArray<Response.PartEncoded>
): Layer.Layer<LanguageModel.LanguageModel> => {
  let call = 0
  return Layer.effect(
    LanguageModel.LanguageModel,
    LanguageModel.make({
      generateText: () => Effect.sync(() => [...answers(call++)]),
      streamText: () => {
        const parts = answers(call++).flatMap((part): ReadonlyArray<Response.StreamPartEncoded> => {
          if (part.type !== "text") return [part as Response.StreamPartEncoded]
          const deltas = part.text.split(" ").map((delta) => ({ type: "text-delta", id: "1", delta }) as const)
          return [{ type: "text-start", id: "1" }, ...deltas, { type: "text-end", id: "1" }]
        })
        return Stream.fromIterable(parts)
      }
    })
  )
}
const answering = (value = "done"): Layer.Layer<LanguageModel.LanguageModel> => model(() => text(value))

const note = (name = "note") =>
  AgentTool.fromFunction(name, {
    description: "Keeps a text",
    parameters: Schema.Struct({ text: Schema.String }),
    execute: ({ text }) => text
  })
const plain = Agent.make("plain", { instructions: "Answer." })
const numbers = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)
const failing = (depth: number): Runner.Runner<string, unknown, unknown, never> =>
  depth === 0
    ? Runner.make("leaf", { run: () => Effect.fail("no") })
    : (Parallel.make(`level-${depth}`, { only: failing(depth - 1) }) as Runner.Runner<string, unknown, unknown, never>)

type Text = Runner.Runner<string, string, unknown, LanguageModel.LanguageModel>
type Work = Effect.Effect<unknown, unknown>
interface Scenario {
  readonly sizes: readonly [number, number, number, number]
  readonly work: (n: number) => Work
}

const scenarios: Readonly<Record<string, Scenario>> = {
  rounds: {
    sizes: [25, 100, 400, 1600],
    work: (n) =>
      Agent.make("agent", { tools: [note()], maxSteps: n + 1 })
        .run("Go.")
        .pipe(Effect.provide(model((call) => (call < n ? calls([`c${call}`]) : text("done")))))
  },
  "calls of one step": {
    sizes: [50, 200, 800, 3200],
    work: (n) =>
      Agent.make("agent", { tools: [note()], maxToolCalls: n })
        .run("Go.")
        .pipe(Effect.provide(model((call) => (call === 0 ? calls(numbers(n).map((i) => `c${i}`)) : text("done")))))
  },
  "calls that share an id": {
    sizes: [50, 200, 800, 3200],
    work: (n) =>
      Agent.make("agent", { tools: [note()], maxToolCalls: n })
        .run("Go.")
        .pipe(Effect.provide(model((call) => (call === 0 ? calls(numbers(n).map(() => "same")) : text("done")))))
  },
  tools: {
    sizes: [20, 80, 320, 1280],
    work: (n) =>
      Agent.make("agent", { tools: numbers(n).map((i) => note(`note_${i}`)) })
        .run("Go.")
        .pipe(Effect.provide(answering()))
  },
  "tool sources": {
    sizes: [20, 80, 320, 1280],
    work: (n) =>
      Agent.make("agent", {
        tools: numbers(n).map((i) => ToolSource.make(`source ${i}`, () => Effect.succeed([note(`note_${i}`)])))
      })
        .run("Go.")
        .pipe(Effect.provide(answering()))
  },
  branches: {
    sizes: [50, 200, 800, 3200],
    work: (n) =>
      Parallel.make("all", Object.fromEntries(numbers(n).map((i) => [`b${i}`, plain])))
        .run("Go.")
        .pipe(Effect.provide(answering()))
  },
  "items of a map": {
    sizes: [100, 400, 1600, 6400],
    work: (n) =>
      Gather.map("map", plain, { concurrency: 8 }).run(numbers(n).map(String)).pipe(Effect.provide(answering()))
  },
  "chain in chain": {
    sizes: [10, 40, 160, 640],
    work: (n) =>
      numbers(n)
        .reduce<Text>((inner, i) => Chain.make(`chain ${i}`, [inner]), plain)
        .run("Go.")
        .pipe(Effect.provide(answering()))
  },
  "nested failures": {
    sizes: [4, 12, 36, 108],
    work: (n) => Stream.runDrain(failing(n).stream("Go.")).pipe(Effect.ignore)
  },
  "streamed tokens": {
    sizes: [500, 2000, 8000, 32_000],
    work: (n) => plain.stream("Go.").pipe(Stream.runDrain, Effect.provide(answering(numbers(n).join(" "))))
  },
  "messages given": {
    sizes: [50, 200, 800, 3200],
    work: (n) =>
      plain
        .run(Prompt.make(numbers(n).map((i) => ({ role: i % 2 === 0 ? "user" : "assistant", content: `m${i}` }))))
        .pipe(Effect.provide(answering()))
  },
  "turns of a conversation": {
    sizes: [10, 40, 160, 640],
    work: (n) =>
      Effect.gen(function* () {
        let prompt = Prompt.make("Hello")
        for (let turn = 0; turn < n; turn++) {
          const { transcript } = yield* plain.result(prompt)
          prompt = Prompt.concat(transcript, "And?")
        }
      }).pipe(Effect.provide(answering()))
  },
  "timers on the sync edge": {
    sizes: [250, 1000, 4000, 16_000],
    work: (n) =>
      Effect.sync(() =>
        Effect.runSync(
          Effect.forEach(numbers(n), () => Effect.sleep(1), { concurrency: "unbounded", discard: true }).pipe(
            Effect.provide(SyncEdge.layerNested)
          )
        )
      )
  },
  "events rendered": {
    sizes: [500, 2000, 8000, 32_000],
    work: (n) =>
      plain.stream("Go.").pipe(RunEvent.render, Stream.runDrain, Effect.provide(answering(numbers(n).join(" "))))
  }
}

const [mode, name = "", size = ""] = process.argv.slice(2)
if (mode === "--point") {
  const { sizes, work } = scenarios[name]!
  // The smallest size first: what is loaded and compiled once is not a part of the curve.
  for (let n = 0; n < 3; n++) await Effect.runPromise(work(sizes[0]))
  const cpu = process.cpuUsage()
  await Effect.runPromise(work(Number(size)))
  const { system, user } = process.cpuUsage(cpu)
  console.log((user + system) / 1000)
} else {
  const wanted = Object.keys(scenarios).filter((one) => mode === undefined || one.includes(mode))
  const curves = wanted.map((one) => ({
    name: one,
    sizes: scenarios[one]!.sizes,
    ms: scenarios[one]!.sizes.map((n) => point(one, n))
  }))
  const lines = [
    "| | sizes | CPU ms | exponent |",
    "| --- | --- | --- | --- |",
    ...curves.map(({ ms, name, sizes }) => {
      return `| ${name} | ${sizes.join(" / ")} | ${ms.map((one) => one.toFixed(1)).join(" / ")} | ${exponentOf(sizes, ms).toFixed(2)} |`
    })
  ]
  console.log(lines.join("\n"))
  if (mode === undefined) writeFileSync("../docs/curves.svg", draw(curves))
}

/** The median of three processes. */
function point(one: string, n: number): number {
  const args = ["curves.ts", "--point", one, String(n)]
  const run = () =>
    Number(execFileSync(process.execPath, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }))
  return [run(), run(), run()].toSorted((a, b) => a - b)[1]!
}

/** Of the upper part of the curve, where fixed costs count least. */
function exponentOf(sizes: ReadonlyArray<number>, ms: ReadonlyArray<number>): number {
  const [from, to] = [sizes.length - 2, sizes.length - 1]
  return Math.log(ms[to]! / ms[from]!) / Math.log(sizes[to]! / sizes[from]!)
}

interface Curve {
  readonly name: string
  readonly sizes: ReadonlyArray<number>
  readonly ms: ReadonlyArray<number>
}

/** One small picture for each curve, both axes logarithmic, with the slope of 1 through its first point. */
function draw(all: ReadonlyArray<Curve>): string {
  const [width, height, columns] = [150, 110, 4]
  const cells = all.map(({ ms, name, sizes }, index) => {
    const [left, top] = [(index % columns) * (width + 20), Math.floor(index / columns) * (height + 40)]
    const factor = sizes.at(-1)! / sizes[0]!
    const range = Math.log(factor ** 2)
    const at = (n: number, value: number) => {
      const x = (Math.log(n / sizes[0]!) / Math.log(factor)) * width
      const y = height - (Math.log(Math.max(value, ms[0]!) / ms[0]!) / range) * height
      return `${(left + x).toFixed(1)},${(top + 16 + y).toFixed(1)}`
    }
    const points = ms.map((value, n) => at(sizes[n]!, value)).join(" ")
    const slope = `${at(sizes[0]!, ms[0]!)} ${at(sizes.at(-1)!, ms[0]! * factor)}`
    return `<text x="${left}" y="${top + 10}">${name}: ${exponentOf(sizes, ms).toFixed(2)}</text>
<rect x="${left}" y="${top + 16}" width="${width}" height="${height}" fill="none" stroke="#ddd"/>
<polyline points="${slope}" fill="none" stroke="#d33" stroke-dasharray="3 3"/>
<polyline points="${points}" fill="none" stroke="#2563eb" stroke-width="2"/>`
  })
  const rows = Math.ceil(all.length / columns)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -5 ${columns * (width + 20)} ${rows * (height + 40)}" role="img">
<title>How costs grow with work: both axes logarithmic, the dashed line is linear growth</title>
<style>text { font: 11px sans-serif; fill: #333 }</style>
<rect x="-10" y="-5" width="100%" height="100%" fill="#fff"/>
${cells.join("\n")}
</svg>
`
}
