/**
 * Troupe against every peer on three workloads, in turn, several times: `npm run bench:peers [WORKLOAD...]`. Prints
 * medians and ratios to the raw SDK. It begins no further round once its time is up.
 */
import { execFileSync, fork } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"

const repeats = Number(process.env["BENCH_REPEATS"] ?? 3)
const minutes = Number(process.env["BENCH_MINUTES"] ?? 8)
const peers = (process.env["BENCH_PEERS"] ?? "raw,vercel,openai-agents,langgraph,mastra,troupe").split(",")
const wanted = process.argv.slice(2)
const all = ["thousand", "fanout", "map"]
const workloads = wanted.length === 0 ? all : all.filter((workload) => wanted.includes(workload))
if (!existsSync("../dist/index.js")) throw new Error("Build first: npm run build in the project's folder")

const server = fork("./server.mjs", { stdio: ["ignore", "inherit", "inherit", "ipc"] })
const port = await new Promise<number>((resolve) => server.once("message", (message) => resolve(message as number)))
const env = { ...process.env, BENCH_URL: `http://127.0.0.1:${port}/v1`, NODE_ENV: "production" }

type Figures = Record<string, number>
const runs = new Map<string, Array<Figures>>()
const ends = performance.now() + minutes * 60_000
for (const workload of workloads) {
  for (let round = 0; round < repeats && (round === 0 || performance.now() < ends); round++) {
    for (const peer of peers) {
      const args = ["work.ts", peer, workload]
      // A peer's log of the failure is not a result; the error has it when the process fails.
      const text = execFileSync(process.execPath, args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
      const figures = JSON.parse(text.trimEnd().split("\n").at(-1)!) as Figures
      runs.set(`${workload} ${peer}`, [...(runs.get(`${workload} ${peer}`) ?? []), figures])
      process.stderr.write(`${workload} ${peer}: ${JSON.stringify(figures)}\n`)
    }
  }
}
server.kill()

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!
const figure = (workload: string, peer: string, field: string): number =>
  median((runs.get(`${workload} ${peer}`) ?? []).map((one) => one[field]!))

const lines: Array<string> = []
const say = (line: string): void => {
  lines.push(line)
  console.log(line)
}
const row = (title: string, workload: string, cell: (peer: string) => string): void => {
  if (workloads.includes(workload)) say(`| ${title} | ${peers.map(cell).join(" | ")} |`)
}
const ratios = (title: string, workload: string, field: string): void => {
  const base = figure(workload, "raw", field)
  row(title, workload, (peer) => {
    const value = figure(workload, peer, field)
    return `${value.toFixed(0)} (${(value / base).toFixed(2)}x)`
  })
}
const dependencies = (JSON.parse(readFileSync("package.json", "utf8")) as { dependencies: Record<string, string> })
  .dependencies
const rounds = workloads.map((workload) => `${workload} ${runs.get(`${workload} ${peers[0]}`)!.length}`)
say(
  `Node ${process.version}, ${cpus().length} cores; medians of so many runs: ${rounds.join(", ")}. Ratios are to raw.`
)
say(
  Object.entries(dependencies)
    .map(([name, version]) => `\`${name}\` ${version}`)
    .join(", ")
)
say("")
say(`| | ${peers.join(" | ")} |`)
say(`|---|${peers.map(() => "---").join("|")}|`)
ratios("1,000 agents of 3 tool rounds, CPU ms", "thousand", "cpuMs")
ratios("... wall ms", "thousand", "wallMs")
ratios("... peak memory, MB", "thousand", "peakMb")
ratios("fan-out of 50, one fails after 50 ms: surfaced after ms", "fanout", "surfacedMs")
row("... siblings aborted", "fanout", (peer) => {
  const of = (field: string) => figure("fanout", peer, field).toFixed(0)
  return `${of("aborted")} of ${of("siblings")}`
})
ratios("map over 10,000 items, CPU ms", "map", "cpuMs")
ratios("... wall ms", "map", "wallMs")
ratios("... peak memory, MB", "map", "peakMb")
mkdirSync("results", { recursive: true })
writeFileSync("results/peers.md", `${lines.join("\n")}\n`)
