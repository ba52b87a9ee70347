/** One peer, one workload, in a process of its own: `node work.ts PEER WORKLOAD`. Prints its figures as JSON. */
import type { Peer } from "./peer.ts"

const [, , name, workload] = process.argv
const { peer } = (await import(`./peers/${name}.ts`)) as { readonly peer: Peer }
const rounds = 10
const tokens = 2000

const check = (ok: boolean, what: unknown): void => {
  if (!ok) throw new Error(`${name} ${workload}: wrong answer: ${JSON.stringify(what)}`)
}

/** Runs `once` until warm, then measures CPU and wall time for each of `units` of work. */
const measure = async (warm: number, times: number, units: number, once: () => Promise<void>) => {
  for (let i = 0; i < warm; i++) await once()
  const cpu = process.cpuUsage()
  const wall = performance.now()
  for (let i = 0; i < times; i++) await once()
  const { user, system } = process.cpuUsage(cpu)
  return {
    cpuUs: (user + system) / (times * units),
    wallUs: ((performance.now() - wall) * 1000) / (times * units),
    rssMb: process.memoryUsage().rss / 2 ** 20
  }
}

const workloads: Record<string, () => Promise<object>> = {
  single: () =>
    measure(1000, 2000, 1, async () => {
      const text = await peer.single("Hello")
      check(text === "Hello there.", text)
    }),
  tools: () =>
    measure(80, 160, rounds, async () => {
      const text = await peer.tools("Add", rounds)
      check(text === "sum 1,2,3,4,5,6,7,8,9,10", text)
    }),
  stream: () =>
    measure(8, 16, tokens, async () => {
      const count = await peer.stream("Go on", tokens)
      check(count === tokens, count)
    }),
  together: async () => {
    const waits = [300, 200, 300]
    await peer.together!(waits)
    const started = performance.now()
    const answers = await peer.together!(waits)
    check(answers.join() === "ok,ok,ok", answers)
    return { wallUs: (performance.now() - started) * 1000, ofSlowest: (performance.now() - started) / 300 }
  }
}

const result = await workloads[workload!]!()
console.log(JSON.stringify(result))
process.exit(0)
