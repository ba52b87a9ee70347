/**
 * Draws docs/performance.svg: what each peer costs beside the raw SDK, from the tables that `npm run bench` and
 * `npm run bench:peers` have left in results/. `npm run chart`
 */
import { readFileSync, writeFileSync } from "node:fs"

/** The rows that are drawn, by how they begin in the tables. */
const rows: ReadonlyArray<readonly [file: string, begins: string, title: string]> = [
  ["latest.md", "single turn", "single turn, CPU"],
  ["latest.md", "tool round", "tool round, CPU"],
  ["latest.md", "streamed token of eight", "streamed token, eight a write, CPU"],
  ["peers.md", "1,000 agents", "1,000 agents of three rounds, CPU"],
  ["peers.md", "map over", "map over 10,000 items, CPU"]
]
const names: Readonly<Record<string, string>> = {
  troupe: "Troupe",
  "troupe-undici": "Troupe on undici",
  "troupe-sync": "Troupe, sync edge",
  vercel: "Vercel AI SDK",
  "openai-agents": "OpenAI Agents",
  langgraph: "LangGraph.js",
  mastra: "Mastra"
}

const cellsOf = (line: string): ReadonlyArray<string> =>
  line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim())

/** The ratios of a row to the raw SDK, by peer, the smallest first. */
const ratiosOf = (file: string, begins: string): ReadonlyArray<readonly [peer: string, ratio: number]> => {
  const lines = readFileSync(`results/${file}`, "utf8").split("\n")
  const peers = cellsOf(lines.find((line) => line.startsWith("| |"))!)
  const row = lines.find((line) => line.startsWith(`| ${begins}`))
  if (row === undefined) throw new Error(`results/${file} has no row that begins with "${begins}"`)
  return cellsOf(row)
    .map((cell, column) => [peers[column]!, Number(/\(([\d.]+)x/.exec(cell)?.[1])] as const)
    .filter(([peer, ratio]) => Object.hasOwn(names, peer) && !Number.isNaN(ratio))
    .toSorted(([, a], [, b]) => a - b)
}

const [left, width, bar, gap] = [150, 430, 14, 18]
/** Where a bar of the longest ratio ends. */
const longest = 5
const x = (ratio: number): number => left + (Math.min(ratio, longest) / longest) * width

const parts: Array<string> = []
let y = 24
for (const [file, begins, title] of rows) {
  parts.push(`<text x="0" y="${y}" class="title">${title}</text>`)
  y += 8
  for (const [peer, ratio] of ratiosOf(file, begins)) {
    const isTroupe = peer.startsWith("troupe")
    parts.push(
      `<text x="${left - 8}" y="${y + bar - 3}" class="name">${names[peer]}</text>`,
      `<rect x="${left}" y="${y}" width="${(x(ratio) - left).toFixed(1)}" height="${bar - 2}" fill="${isTroupe ? "#2563eb" : "#a3aab5"}"/>`,
      `<text x="${(x(ratio) + 5).toFixed(1)}" y="${y + bar - 3}" class="value">${ratio.toFixed(2)}x</text>`
    )
    y += bar
  }
  y += gap
}
const raw = x(1).toFixed(1)
writeFileSync(
  "../docs/performance.svg",
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 ${left + width + 70} ${y}" role="img">
<title>CPU time compared with the raw openai SDK with a hand-written loop</title>
<style>text { font: 11px sans-serif; fill: #333 } .title { font-weight: bold } .name { text-anchor: end }</style>
<rect x="-10" width="100%" height="100%" fill="#fff"/>
<line x1="${raw}" x2="${raw}" y1="14" y2="${y - gap}" stroke="#d33" stroke-dasharray="3 3"/>
<text x="${raw}" y="11" style="fill: #d33; text-anchor: middle">the raw SDK</text>
${parts.join("\n")}
</svg>
`
)
