/**
 * Streams at once on one server process: time to the first byte, throughput, peak memory and the delay of the event loop, of
 * Troupe's server beside the same endpoint on the AI SDK and on the `openai` package. The model takes 200 ms to begin.
 *
 *     node load.ts            2000 streams; LOAD_STREAMS=200 for fewer
 *
 * Each server is a process of its own, and so is the model. Ratios count: the machine is the same for all.
 */
import { type ChildProcess, fork } from "node:child_process"
import { Agent, request } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"

const streams = Number(process.env["LOAD_STREAMS"] ?? 2000)
const peers = (process.env["LOAD_PEERS"] ?? "openai,vercel,troupe").split(",")

const started = async <A>(file: string, args: ReadonlyArray<string>): Promise<readonly [ChildProcess, A]> => {
  const child = fork(file, [...args], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    execArgv: ["--conditions=troupe-source"]
  })
  return [child, await new Promise<A>((resolve) => child.once("message", (message) => resolve(message as A)))]
}

const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY })

/** One stream: when its first byte came, and how many bytes there were. */
const stream = (
  port: number,
  peer: string
): Promise<{ readonly first: number; readonly bytes: number; readonly ok: boolean }> =>
  new Promise((resolve) => {
    const begun = performance.now()
    let first = 0
    let bytes = 0
    let text = ""
    const outgoing = request(
      {
        port,
        host: "127.0.0.1",
        path: peer === "troupe" ? "/runners/desk/stream" : "/chat",
        method: "POST",
        agent,
        headers: { "content-type": "application/json" }
      },
      (response) => {
        response.on("data", (chunk: Buffer) => {
          if (first === 0 && chunk.includes("w0")) first = performance.now() - begun
          bytes += chunk.length
          text = `${text}${String(chunk)}`.slice(-200)
        })
        response.on("end", () => resolve({ first, bytes, ok: /w49/.test(text) || bytes > 500 }))
      }
    )
    outgoing.on("error", () => resolve({ first: 0, bytes: 0, ok: false }))
    outgoing.end(JSON.stringify({ input: "Hello" }))
  })

const at = (values: ReadonlyArray<number>, part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN

interface Figures {
  readonly rssMb: number
  readonly delayP99Ms: number
  readonly cpuMs: number
}

const measure = async (peer: string, model: number) => {
  const [child, port] = await started<number>("./loadServer.ts", [peer, String(model)])
  // Once, so that what is loaded with the first request is loaded.
  await stream(port, peer)
  child.send("begin")
  const begun = performance.now()
  const all = await Promise.all(Array.from({ length: streams }, () => stream(port, peer)))
  const wall = performance.now() - begun
  const figures = await new Promise<Figures>((resolve) => {
    child.once("message", (message) => resolve(message as Figures))
    child.send("end")
  })
  child.kill()
  await sleep(200)
  const firsts = all.map(({ first }) => first)
  return {
    peer,
    failed: all.filter(({ ok }) => !ok).length,
    firstP50: at(firsts, 0.5),
    firstP99: at(firsts, 0.99),
    perSecond: (streams / wall) * 1000,
    ...figures
  }
}

const [modelProcess, model] = await started<number>("./loadModel.ts", [])
console.log(`${streams} streams at once, a model of 200 ms and 50 tokens. Node ${process.version}.\n`)
console.log("| server | failed | first token p50 | p99 | streams/s | CPU ms/stream | peak memory | event loop p99 |")
console.log("|---|---|---|---|---|---|---|---|")
for (const peer of peers) {
  const of = await measure(peer, model)
  const cells = [
    of.peer,
    of.failed,
    `${of.firstP50.toFixed(0)} ms`,
    `${of.firstP99.toFixed(0)} ms`,
    of.perSecond.toFixed(0),
    (of.cpuMs / streams).toFixed(2),
    `${of.rssMb.toFixed(0)} MB`,
    `${of.delayP99Ms.toFixed(0)} ms`
  ]
  console.log(`| ${cells.join(" | ")} |`)
}
modelProcess.kill()
