/** Runs everything, several times in turn, and prints medians and ratios to the raw SDK. `npm run bench` */
import { execFileSync, fork } from "node:child_process"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { build } from "esbuild"

const repeats = Number(process.env["BENCH_REPEATS"] ?? 5)
if (!existsSync("../dist/index.js")) throw new Error("Build first: npm run build in the project's folder")

const server = fork("./server.mjs", { stdio: ["ignore", "inherit", "inherit", "ipc"] })
const port = await new Promise<number>((resolve) => server.once("message", (message) => resolve(message as number)))
const env = { ...process.env, BENCH_URL: `http://127.0.0.1:${port}/v1` }
const node = (args: ReadonlyArray<string>): string =>
  execFileSync(process.execPath, [...args], { env, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!
type Figures = Record<string, number>
const runs = new Map<string, Array<Figures>>()
const note = (key: string, figures: Figures): void => void runs.set(key, [...(runs.get(key) ?? []), figures])
const figure = (key: string, field: string): number => median((runs.get(key) ?? []).map((one) => one[field]!))

/** As docs/guides/server.md has a function that starts cold bundled. */
await build({
  entryPoints: ["coldBundled.ts"],
  outfile: "results/coldBundled.mjs",
  bundle: true,
  minify: true,
  platform: "node",
  format: "esm",
  banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url)` }
})

/** The bare loops are the floor of a transport: no SDK and no framework. */
const all = ["raw", "vercel", "bare-http", "bare-undici", "troupe", "troupe-undici", "troupe-sync"]
const peers = process.env["BENCH_PEERS"]?.split(",") ?? all
const isBare = (peer: string): boolean => peer.startsWith("bare-") || peer === "troupe-undici"
/** The floor of a peer's transport. */
const floorOf = (peer: string): string => (peer === "troupe-undici" ? "bare-undici" : "bare-http")
for (let round = 0; round < repeats; round++) {
  for (const workload of ["single", "tools", "stream", "stream8"]) {
    for (const peer of peers) note(`${workload} ${peer}`, JSON.parse(node(["work.ts", peer, workload])) as Figures)
  }
  for (const peer of [...peers.filter((one) => !isBare(one)), "troupe-barrel"]) {
    const started = performance.now()
    const { cpuMs } = JSON.parse(node(["cold.ts", peer])) as { readonly cpuMs: number }
    note(`cold ${peer}`, { cpuMs, wallMs: performance.now() - started })
  }
  note("cold troupe-bundled", JSON.parse(node(["results/coldBundled.mjs"])) as Figures)
  note("together troupe-sync", JSON.parse(node(["work.ts", "troupe-sync", "together"])) as Figures)
  note("construct", JSON.parse(node(["--expose-gc", "construct.ts"])) as Figures)
}
server.kill()

const lines: Array<string> = []
const say = (line: string): void => {
  lines.push(line)
  console.log(line)
}
const isTroupe = (peer: string): boolean => peer.startsWith("troupe")
const row = (title: string, workload: string, field: string, digits: number): void => {
  const base = figure(`${workload} raw`, field)
  const cells = peers.map((peer) => {
    if (!runs.has(`${workload} ${peer}`)) return ""
    const value = figure(`${workload} ${peer}`, field)
    const floor = `${workload} ${floorOf(peer)}`
    const above = isTroupe(peer) && runs.has(floor) ? `, ${(value / figure(floor, field)).toFixed(1)} floors` : ""
    return `${value.toFixed(digits)} (${(value / base).toFixed(2)}x${above})`
  })
  say(`| ${title} | ${cells.join(" | ")} |`)
}
say(`Node ${process.version}, ${cpus().length} cores, medians of ${repeats} runs, ratios to the raw SDK.`)
say("")
say(`| | ${peers.join(" | ")} |`)
say(`|---|${peers.map(() => "---").join("|")}|`)
row("single turn, CPU us", "single", "cpuUs", 0)
row("tool round of ten, CPU us", "tools", "cpuUs", 0)
row("streamed token, CPU us", "stream", "cpuUs", 1)
row("streamed token of eight a write, CPU us", "stream8", "cpuUs", 1)
row("cold start of a one-agent script, wall ms", "cold", "wallMs", 0)
row("cold start of a one-agent script, CPU ms", "cold", "cpuMs", 0)
say("")
say(
  `Cold start with the barrel, CPU: ${(figure("cold troupe-barrel", "cpuMs") / figure("cold raw", "cpuMs")).toFixed(2)} of the raw SDK, ${(figure("cold troupe-barrel", "cpuMs") / figure("cold troupe", "cpuMs")).toFixed(2)} of explicit modules. Bundled: ${(figure("cold troupe-bundled", "cpuMs") / figure("cold raw", "cpuMs")).toFixed(2)} of the raw SDK.`
)
say(
  `Construct an agent with a shared toolkit: ${figure("construct", "us").toFixed(2)} us, ${figure("construct", "bytes").toFixed(0)} bytes.`
)
say(
  `Three requests of 300, 200 and 300 ms on the sync edge: ${figure("together troupe-sync", "ofSlowest").toFixed(2)} of the slowest.`
)
say(
  `Sync edge to async edge, CPU: single ${(figure("single troupe-sync", "cpuUs") / figure("single troupe", "cpuUs")).toFixed(2)}, tools ${(figure("tools troupe-sync", "cpuUs") / figure("tools troupe", "cpuUs")).toFixed(2)}, streamed token ${(figure("stream troupe-sync", "cpuUs") / figure("stream troupe", "cpuUs")).toFixed(2)}.`
)
mkdirSync("results", { recursive: true })
writeFileSync("results/latest.md", `${lines.join("\n")}\n`)
