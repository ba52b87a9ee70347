/**
 * Remarks about a document, each true of it and with its line. Which checks run depends on what the reviewer is asked to
 * look at. Pure.
 */
import { codeChecks } from "./reviewCode.ts"
import { markdownChecks } from "./reviewMarkdown.ts"
import { proseChecks } from "./reviewProse.ts"
import { readability } from "./readability.ts"
import { clip, enumerate, lines, plural } from "./text.ts"

export interface Finding {
  /** From 1, counted from the first line of the document. */
  readonly line: number
  /** What kind of remark it is, such as `long sentence`. */
  readonly kind: string
  readonly message: string
  readonly severity: "error" | "warning" | "note"
}

/** One line of a document, as a check sees it. */
export interface Line {
  readonly text: string
  readonly number: number
  /** Inside a code fence, or the whole document is code. */
  readonly code: boolean
}

export type Aspect = "style" | "clarity" | "structure" | "correctness" | "security" | "spelling" | "performance"

/** A check runs when one of its aspects is asked for. */
export interface Check {
  readonly kind: string
  readonly aspects: ReadonlyArray<Aspect>
  readonly run: (document: Reviewed) => Iterable<Omit<Finding, "kind">>
}

export interface Reviewed {
  readonly text: string
  readonly lines: ReadonlyArray<Line>
  /** The whole document is source code. */
  readonly isCode: boolean
}

const aspectWords: ReadonlyArray<readonly [Aspect, RegExp]> = [
  ["style", /\b(?:styl\w*|tone|voice|writing|prose|wording|word choice|naming|convention\w*|lint\w*|consisten\w+)\b/i],
  [
    "clarity",
    /\b(?:clar\w+|clear\w*|readab\w+|plain|concise\w*|understandab\w+|simpl\w+|jargon|accessib\w+|ambigu\w+)\b/i
  ],
  [
    "structure",
    /\b(?:structur\w*|organi[sz]ation|outline|headings?|sections?|markdown|format\w*|layout|flow|links?|architecture)\b/i
  ],
  [
    "correctness",
    /\b(?:correct\w*|bugs?|errors?|accura\w+|facts?|factual\w*|logic\w*|complet\w+|todo|valid\w*|robust\w*|quality)\b/i
  ],
  ["security", /\b(?:secur\w+|vulnerab\w+|secrets?|injection|safe\w*|privacy|credential\w*|threats?|attack\w*)\b/i],
  ["spelling", /\b(?:spell\w*|typos?|gramma\w*|proofread\w*|punctuation|language errors?|copy ?edit\w*)\b/i],
  ["performance", /\b(?:performan\w+|speed|slow|efficien\w+|optimi[sz]\w*|memory|latency)\b/i]
]

/** What a reviewer is asked to look at, in the order of the list; empty when nothing is named. */
export const aspectsOf = (instructions: string): ReadonlyArray<Aspect> =>
  aspectWords.filter(([, pattern]) => pattern.test(instructions)).map(([aspect]) => aspect)

const codeMarks =
  /[;{}]\s*$|^\s*(?:import|export|const|let|var|function|class|def|return|if|for|while|public|private|package|use|fn|func|#include)\b|=>|\(\)\s*[{:]/

/** A document parted into lines, with what is code and what is prose. */
export const prepare = (text: string): Reviewed => {
  const all = lines(text)
  const told = all.filter((line) => line.text.trim() !== "")
  const isCode =
    told.length > 1 &&
    told.slice(0, 500).filter((line) => codeMarks.test(line.text.slice(0, 400))).length / Math.min(told.length, 500) >
      0.4 &&
    !/^(?:```|~~~)/m.test(text.slice(0, 100_000))
  let fence: string | undefined
  const out = all.map((line, i): Line => {
    const mark = /^\s*(```+|~~~+)/.exec(line.text)?.[1]
    const inside = fence !== undefined
    if (mark !== undefined) fence = fence === undefined ? mark.slice(0, 3) : mark.startsWith(fence) ? undefined : fence
    return { text: line.text, number: i + 1, code: isCode || inside || mark !== undefined }
  })
  return { text, lines: out, isCode }
}

const checks: ReadonlyArray<Check> = [...proseChecks, ...markdownChecks, ...codeChecks]

/** Remarks of the checks for `aspects` (all checks when empty), in the order of the lines; at most 500. */
export const review = (document: Reviewed, aspects: ReadonlyArray<Aspect>): ReadonlyArray<Finding> => {
  const out: Array<Finding> = []
  for (const check of checks) {
    if (aspects.length > 0 && !check.aspects.some((aspect) => aspects.includes(aspect))) continue
    let count = 0
    for (const finding of check.run(document)) {
      if (++count > 100) break
      out.push({ ...finding, kind: check.kind })
    }
  }
  return out.toSorted((a, b) => a.line - b.line).slice(0, 500)
}

const rank = { error: 0, warning: 1, note: 2 }

/** A review as Markdown: remarks by kind, the gravest first, and figures. */
export const report = (text: string, name: string | undefined, aspects: ReadonlyArray<Aspect>): string => {
  const document = prepare(text)
  const findings = review(document, aspects)
  const scope = aspects.length === 0 ? "general" : enumerate(aspects)
  const of = name === undefined ? "" : ` of ${name}`
  const head = `Rule-based review${of} (${scope}), ${plural(document.lines.length, "line")}:`
  const kinds = new Map<string, Array<Finding>>()
  for (const finding of findings) kinds.set(finding.kind, [...(kinds.get(finding.kind) ?? []), finding])
  const body = [...kinds]
    .toSorted(
      ([, a], [, b]) =>
        Math.min(...a.map((item) => rank[item.severity])) - Math.min(...b.map((item) => rank[item.severity]))
    )
    .flatMap(([kind, items]) => [
      ...items.slice(0, 5).map((item) => `- line ${item.line}: ${kind}: ${item.message}`),
      ...(items.length > 5
        ? [
            `- ${kind}: ${items.length - 5} more, on ${items.length === 6 ? "line" : "lines"} ${items
              .slice(5, 15)
              .map((item) => item.line)
              .join(", ")}${items.length > 15 ? ", …" : ""}`
          ]
        : [])
    ])
  const figures = figuresOf(document, aspects)
  if (body.length === 0)
    return [
      `${head}`,
      "",
      `No problem was found by the rules for ${scope === "general" ? "style, clarity, structure, correctness, security and spelling" : scope}.`,
      ...figures
    ].join("\n")
  return [head, "", ...body, ...(figures.length > 0 ? ["", ...figures] : [])].join("\n")
}

const figuresOf = (document: Reviewed, aspects: ReadonlyArray<Aspect>): ReadonlyArray<string> => {
  const wants = (aspect: Aspect) => aspects.length === 0 || aspects.includes(aspect)
  const out: Array<string> = []
  if (!document.isCode && (wants("clarity") || wants("style"))) {
    const figures = readability(document.text)
    if (figures.words > 20)
      out.push(
        `Readability: Flesch reading ease ${figures.ease}; ${figures.wordsPerSentence} words per sentence over ${plural(figures.sentences, "sentence")}.`
      )
  }
  if (wants("structure")) {
    const headings = document.lines
      .filter((line) => !line.code && /^#{1,6}\s/.test(line.text))
      .map((line) => clip(line.text.replace(/^#+\s*/, ""), 60))
    if (headings.length > 0)
      out.push(`Outline: ${headings.slice(0, 12).join(" / ")}${headings.length > 12 ? " / …" : ""}.`)
  }
  return out
}
