/** Checks of a document's structure: headings, fences, links, long lines, white space. Pure and linear. */
import type { Check } from "./review.ts"
import { clip } from "./text.ts"

const heading = /^(#{1,6})\s+(\S.*)$/

/** The checks of structure. */
export const markdownChecks: ReadonlyArray<Check> = [
  {
    kind: "unclosed code fence",
    aspects: ["structure", "correctness"],
    *run(document) {
      let open: { readonly line: number; readonly mark: string } | undefined
      for (const line of document.lines) {
        const mark = /^\s*(```|~~~)/.exec(line.text)?.[1]
        if (mark === undefined) continue
        if (open === undefined) open = { line: line.number, mark }
        else if (open.mark === mark) open = undefined
      }
      if (open !== undefined)
        yield { line: open.line, message: `the fence ${open.mark} that opens here is never closed`, severity: "error" }
    }
  },
  {
    kind: "heading level skipped",
    aspects: ["structure"],
    *run(document) {
      let level = 0
      for (const line of document.lines) {
        const match = line.code ? null : heading.exec(line.text)
        if (match === null) continue
        const own = match[1]?.length ?? 1
        if (level > 0 && own > level + 1)
          yield {
            line: line.number,
            message: `level ${own} follows level ${level}: "${clip(match[2] ?? "", 50)}"`,
            severity: "warning"
          }
        level = own
      }
    }
  },
  {
    kind: "repeated heading",
    aspects: ["structure"],
    *run(document) {
      const seen = new Map<string, number>()
      for (const line of document.lines) {
        const match = line.code ? null : heading.exec(line.text)
        if (match === null) continue
        const key = (match[2] ?? "").toLowerCase().trim()
        const first = seen.get(key)
        if (first !== undefined)
          yield {
            line: line.number,
            message: `"${clip(match[2] ?? "", 50)}" is also the heading of line ${first}`,
            severity: "note"
          }
        else seen.set(key, line.number)
      }
    }
  },
  {
    kind: "empty section",
    aspects: ["structure"],
    *run(document) {
      let last: { readonly line: number; readonly level: number; readonly text: string } | undefined
      for (const line of document.lines) {
        if (line.text.trim() === "") continue
        const match = line.code ? null : heading.exec(line.text)
        const level = match?.[1]?.length ?? 0
        if (match !== null && last !== undefined && level <= last.level)
          yield { line: last.line, message: `nothing stands under "${clip(last.text, 50)}"`, severity: "warning" }
        last = match === null ? undefined : { line: line.number, level, text: match[2] ?? "" }
      }
      if (last !== undefined && document.lines.length > 1)
        yield { line: last.line, message: `nothing stands under "${clip(last.text, 50)}"`, severity: "warning" }
    }
  },
  {
    kind: "empty link",
    aspects: ["structure", "correctness"],
    *run(document) {
      for (const line of document.lines) {
        if (line.code) continue
        for (const match of line.text
          .slice(0, 5_000)
          .matchAll(/!?\[([^\]\n]{0,200})\]\(\s*(#?)\s*\)|!?\[\s*\]\([^)\n]{1,500}\)/g)) {
          yield {
            line: line.number,
            message: `"${clip(match[0], 60)}" has no ${/\(\s*#?\s*\)$/.test(match[0]) ? "target" : "text"}`,
            severity: "error"
          }
        }
      }
    }
  },
  {
    kind: "missing title",
    aspects: ["structure"],
    *run(document) {
      if (document.isCode || document.lines.length < 15) return
      const first = document.lines.find((line) => line.text.trim() !== "")
      if (
        first !== undefined &&
        !document.lines.some((line) => !line.code && (/^#\s/.test(line.text) || /^=+\s*$/.test(line.text)))
      )
        yield { line: first.number, message: "the document has no top-level heading", severity: "note" }
    }
  },
  {
    kind: "long paragraph",
    aspects: ["structure", "clarity"],
    *run(document) {
      if (document.isCode) return
      let start = 0
      let size = 0
      for (const line of [...document.lines, { text: "", number: 0, code: false }]) {
        const ends = line.code || line.text.trim() === "" || /^\s*(?:[-*+#>|]|\d+[.)])\s?/.test(line.text)
        if (!ends) {
          if (size === 0) start = line.number
          size += line.text.length
        } else {
          if (size > 1_000)
            yield { line: start, message: `${size.toLocaleString("en")} characters without a break`, severity: "note" }
          size = 0
        }
      }
    }
  },
  {
    kind: "long line",
    aspects: ["style"],
    *run(document) {
      for (const line of document.lines) {
        if (line.code && line.text.length > 120)
          yield { line: line.number, message: `${line.text.length.toLocaleString("en")} characters`, severity: "note" }
      }
    }
  },
  {
    kind: "trailing white space",
    aspects: ["style"],
    *run(document) {
      for (const line of document.lines)
        if (
          /\S/.test(line.text.slice(0, 2_000)) &&
          (line.text.endsWith("\t") || (line.text.endsWith(" ") && !line.text.endsWith("  ")))
        )
          yield { line: line.number, message: "white space at the end", severity: "note" }
    }
  }
]
