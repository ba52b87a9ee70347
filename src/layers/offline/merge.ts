/** Makes one report of several: like remarks are joined, and each keeps the names of those who made it. Pure. */
import { enumerate, keyStems, lines, plural, sentences } from "./text.ts"

export interface Report {
  readonly name: string
  readonly text: string
}

/** The reports inside a text: values of a JSON object or list, or sections under headings; empty when there are fewer than two. */
export const reportsIn = (text: string): ReadonlyArray<Report> => {
  const trimmed = text.trim()
  const json = /^[[{]/.test(trimmed) ? trimmed : fenced(trimmed)
  if (json !== undefined) {
    try {
      const value: unknown = JSON.parse(json)
      if (typeof value === "object" && value !== null) {
        const entries = Object.entries(value).filter(
          ([, item]) => typeof item === "string" || (typeof item === "object" && item !== null)
        )
        if (entries.length > 1)
          return entries.map(([name, item]) => ({
            name: Array.isArray(value) ? `report ${Number(name) + 1}` : name,
            text: flatten(item)
          }))
      }
    } catch {
      // It only looks like JSON.
    }
  }
  const tagged = elements(text)
  if (tagged.length > 1) return tagged
  for (const pattern of [
    /^(#{1,3})\s+(.{1,80}?)\s*:?\s*$/,
    /^()\*\*(.{1,80}?)\*\*\s*:?\s*$/,
    /^()(?:=+|-{3,})\s*(\S.{0,79}?)\s*(?:=+|-{3,})$/,
    /^()\[([^\]]{1,60})\]\s*:?\s*$/,
    /^()((?:report|review|reviewer|result|section|answer|opinion|\p{L}[\p{L}\p{N} _-]{0,40})(?:\s+\w{1,20})?)\s*:\s*$/iu
  ]) {
    const out: Array<{ name: string; body: Array<string> }> = []
    let level: number | undefined
    for (const { text: line } of lines(text)) {
      const match = line.length > 200 ? null : pattern.exec(line)
      if (match !== null && (level === undefined || match[1]?.length === level)) {
        level = match[1]?.length ?? 0
        out.push({ name: (match[2] ?? "").trim(), body: [] })
      } else out.at(-1)?.body.push(line)
    }
    const filled = out.filter((item) => item.body.some((line) => line.trim() !== ""))
    if (filled.length > 1) return filled.map((item) => ({ name: item.name, text: item.body.join("\n") }))
  }
  const inline = [
    ...text.matchAll(
      /^[ \t]{0,8}(?:[-*][ \t]+)?["'*]{0,3}([\p{L}][\p{L}\p{N} _-]{0,40}?)["'*]{0,3}[ \t]{0,3}:[ \t]+(\S.*)$/gmu
    )
  ]
  if (inline.length > 1 && inline.length >= lines(trimmed).filter((line) => line.text.trim() !== "").length * 0.6)
    return inline.slice(0, 200).map((match) => ({ name: match[1] ?? "", text: match[2] ?? "" }))
  return []
}

/** The JSON of the first fenced block. */
const fenced = (text: string): string | undefined => {
  const open = /```(?:json)?\n(?=[[{])/.exec(text)
  if (open === null) return undefined
  const start = open.index + open[0].length
  const end = text.indexOf("\n```", start)
  return end === -1 ? undefined : text.slice(start, end)
}

/** The elements of a text such as `<style>...</style><security>...</security>`, found from left to right. */
const elements = (text: string): ReadonlyArray<Report> => {
  const out: Array<Report> = []
  const opening = /<([a-zA-Z][\w-]{0,40})(?:\s+name="([^"\n]{1,80})")?>/g
  const closed = new Map<string, number>()
  for (let match = opening.exec(text); match !== null && out.length < 200; match = opening.exec(text)) {
    const tag = match[1] ?? ""
    const start = match.index + match[0].length
    // What is known to be the last end of a tag is not searched for again.
    const last = closed.get(tag) ?? text.lastIndexOf(`</${tag}>`)
    closed.set(tag, last)
    if (closed.size > 100) break
    if (last < start) continue
    const end = text.indexOf(`</${tag}>`, start)
    out.push({ name: match[2] ?? tag, text: text.slice(start, end) })
    opening.lastIndex = end
  }
  return out
}

const flatten = (value: unknown): string => {
  if (typeof value === "string") return value
  if (Array.isArray(value)) return value.map((item) => `- ${flatten(item).replaceAll("\n", " ")}`).join("\n")
  if (typeof value === "object" && value !== null)
    return Object.entries(value)
      .map(([key, item]) => `- ${key}: ${flatten(item).replaceAll("\n", " ")}`)
      .join("\n")
  return String(value)
}

interface Item {
  readonly text: string
  readonly key: string
  readonly stems: ReadonlySet<string>
  readonly from: Set<string>
  readonly line: number
}

const itemsOf = (report: Report): ReadonlyArray<string> => {
  const all = lines(report.text)
    .map((line) => line.text.trim())
    .filter((line) => line !== "")
  const listed = all.filter((line) => /^(?:[-*+•]|\d+[.)])\s+/.test(line))
  if (listed.length > 0) return listed.map((line) => line.replace(/^(?:[-*+•]|\d+[.)])\s+/, ""))
  // What only announces the remarks is none.
  return sentences(report.text).flatMap(({ text }) => (text.trimEnd().endsWith(":") ? [] : [text]))
}

const likeness = (a: ReadonlySet<string>, b: ReadonlySet<string>): number => {
  let both = 0
  for (const item of a) if (b.has(item)) both++
  return both / Math.max(1, a.size + b.size - both)
}

/** The merged report as Markdown. Remarks that more than one report makes come first. */
export const merge = (reports: ReadonlyArray<Report>): string => {
  const out: Array<Item> = []
  const byKey = new Map<string, Item>()
  let total = 0
  let budget = 100_000
  let cut = 0
  for (const report of reports) {
    for (const text of itemsOf(report)) {
      total++
      const stems = new Set(keyStems(text))
      const key = [...stems].toSorted().join(" ") || text
      // Comparing all pairs is quadratic, so only the first remarks are compared by likeness.
      const same =
        byKey.get(key) ?? out.slice(0, 300).find((item) => budget-- > 0 && likeness(item.stems, stems) >= 0.75)
      if (same !== undefined) {
        same.from.add(report.name)
        continue
      }
      if (out.length >= 500) {
        cut++
        continue
      }
      const item: Item = {
        text,
        key,
        stems,
        from: new Set([report.name]),
        line: Number(/\bline (\d+)/i.exec(text)?.[1] ?? 0)
      }
      out.push(item)
      byKey.set(key, item)
    }
  }
  const shared = out.filter((item) => item.from.size > 1).toSorted((a, b) => b.from.size - a.from.size)
  const parts = [
    `# Merged report`,
    "",
    `${plural(reports.length, "report")} (${enumerate(reports.map((report) => report.name).slice(0, 20))}), ${plural(total, "remark")}, ${plural(out.length, "different one").replace(/one(?:es|s)?$/, out.length === 1 ? "one" : "ones")}.`
  ]
  if (shared.length > 0)
    parts.push("", "## Said by several", "", ...shared.map((item) => `- ${item.text} (${[...item.from].join(", ")})`))
  for (const report of reports) {
    const own = out
      .filter((item) => item.from.size === 1 && item.from.has(report.name))
      .toSorted((a, b) => a.line - b.line)
    if (own.length > 0) parts.push("", `## ${report.name}`, "", ...own.map((item) => `- ${item.text}`))
  }
  if (cut > 0) parts.push("", `${plural(cut, "more remark")} left out.`)
  return parts.join("\n")
}
