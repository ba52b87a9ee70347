/** One peer, one workload, in a process of its own: `node work.ts PEER WORKLOAD`. Prints its figures as JSON. */
import { baseURL, type Peer } from "./peer.ts"

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

/** Does `work` once, after a smaller one to warm up, and measures all it takes. */
const measureOnce = async (warmUp: () => Promise<void>, work: () => Promise<void>) => {
  await warmUp()
  const cpu = process.cpuUsage()
  const started = performance.now()
  await work()
  const wallMs = performance.now() - started
  const { user, system } = process.cpuUsage(cpu)
  return { cpuMs: (user + system) / 1000, wallMs, peakMb: process.resourceUsage().maxRSS / 1024 }
}

/** What became of the requests of a panel since it was last asked. */
const panel = async () =>
  (await (await fetch(new URL("/panel", baseURL))).json()) as Record<"begun" | "answered" | "aborted", number>

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const stream = async (perWrite: number): Promise<void> => {
  const count = await peer.stream("Go on", tokens, perWrite)
  check(count === tokens, count)
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
  stream: () => measure(30, 20, tokens, () => stream(1)),
  stream8: () => measure(60, 40, tokens, () => stream(8)),
  thousand: () => {
    const work = async (count: number) => {
      const prompts = Array.from({ length: count }, (_, n) => `Add, number ${n}`)
      const texts = await peer.agents!(prompts, 3)
      check(texts.length === count && texts.every((text) => text === "sum 1,2,3"), texts.slice(0, 3))
    }
    return measureOnce(
      () => work(50),
      () => work(1000)
    )
  },
  map: () => {
    const work = async (count: number) => {
      const items = Array.from({ length: count }, (_, n) => `item ${n}`)
      const texts = await peer.map!(items, 100)
      check(texts.length === count && texts.every((text, n) => text === `echo of item ${n}`), texts.slice(0, 3))
    }
    return measureOnce(
      () => work(500),
      () => work(10_000)
    )
  },
  fanout: async () => {
    const of = (ms: number) => Array.from({ length: 50 }, () => `wait-${ms}`)
    const texts = await peer.fanOut!(of(1), "Go")
    check(texts.length === 50 && texts.every((text) => text === "ok"), texts.slice(0, 3))
    // The way that failures take is warmed up too.
    await peer.fanOut!(of(100).with(25, "fail-20"), "Go").catch(() => undefined)
    await pause(300)
    await panel()
    const started = performance.now()
    const failed = await peer.fanOut!(of(5000).with(25, "fail-50"), "Go").then(
      () => undefined,
      (error: unknown) => error as Error
    )
    const surfacedMs = performance.now() - started
    check(failed !== undefined && failed.message.includes("the panel refuses"), String(failed))
    // Soon after: long before the siblings would have been answered, and long enough for word to reach the server.
    await pause(500)
    const { begun, aborted, answered } = await panel()
    return { surfacedMs, siblings: begun - 1, aborted, answered: answered - 1 }
  },
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
