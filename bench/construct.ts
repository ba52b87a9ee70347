/** What it costs to make an agent with a shared toolkit: `node --expose-gc construct.ts`. */
import * as Schema from "effect/Schema"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Agent from "../dist/agents/Agent.js"

const kit = Toolkit.make(
  Tool.make("add", {
    description: "Add two numbers",
    parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
    success: Schema.Finite
  })
)
const make = (n: number) => Agent.make(`agent-${n}`, { instructions: "You do arithmetic.", toolkit: kit, maxSteps: 8 })
const count = 200_000
for (let n = 0; n < 50_000; n++) make(n)
const kept: Array<unknown> = Array.from({ length: count })
globalThis.gc!()
const before = process.memoryUsage().heapUsed
const cpu = process.cpuUsage()
for (let n = 0; n < count; n++) kept[n] = make(n)
const { user, system } = process.cpuUsage(cpu)
globalThis.gc!()
const bytes = (process.memoryUsage().heapUsed - before) / count
console.log(JSON.stringify({ us: (user + system) / count, bytes, kept: kept.length }))
