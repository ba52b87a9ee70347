/** Checks of source code, fenced or whole: marks left behind, swallowed errors, injection, secrets. Pure and linear. */
import type { Check } from "./review.ts"
import { clip } from "./text.ts"

type Severity = "error" | "warning" | "note"

const inCode = (pattern: RegExp, message: (match: RegExpMatchArray) => string, severity: Severity): Check["run"] =>
  function* (document) {
    for (const line of document.lines) {
      if (!line.code) continue
      const match = pattern.exec(line.text.slice(0, 2_000))
      if (match !== null) yield { line: line.number, message: message(match), severity }
    }
  }

const anywhere = (pattern: RegExp, message: (match: RegExpMatchArray) => string, severity: Severity): Check["run"] =>
  function* (document) {
    for (const line of document.lines) {
      const match = pattern.exec(line.text.slice(0, 5_000))
      if (match !== null) yield { line: line.number, message: message(match), severity }
    }
  }

const quoted = (match: RegExpMatchArray): string => `"${clip(match[0], 60)}"`
/** A secret is named by its first characters only. */
const masked = (text: string): string => `${text.slice(0, 4)}… (${text.length} characters)`

/** The checks of code. */
export const codeChecks: ReadonlyArray<Check> = [
  {
    kind: "open task",
    aspects: ["correctness", "style"],
    run: anywhere(/\b(?:TODO|FIXME|HACK)\b.{0,60}/, quoted, "warning")
  },
  {
    kind: "leftover output",
    aspects: ["style", "correctness"],
    run: inCode(
      /\bconsole\.(?:log|debug)\(|\bdebugger\b|^\s*print\(|System\.out\.print|\bdd\(|\bvar_dump\(/,
      quoted,
      "note"
    )
  },
  {
    kind: "evaluated text",
    aspects: ["security", "correctness"],
    run: inCode(
      /\beval\s*\(|\bnew Function\s*\(|\bexec\s*\(\s*["'`f]|\bsetTimeout\s*\(\s*["'`]/,
      (match) => `${quoted(match)} runs text as code`,
      "error"
    )
  },
  {
    kind: "any type",
    aspects: ["correctness", "style"],
    run: inCode(
      /:\s*any\b|\bas any\b|<any>|@ts-ignore|@ts-nocheck/,
      (match) => `${quoted(match)} turns type checking off`,
      "warning"
    )
  },
  {
    kind: "swallowed error",
    aspects: ["correctness"],
    *run(document) {
      for (const [i, line] of document.lines.entries()) {
        if (!line.code) continue
        const text = line.text.slice(0, 2_000)
        const next = document.lines[i + 1]?.text ?? ""
        if (
          /catch {0,4}(?:\([^)]{0,100}\))? {0,4}\{ {0,4}\}|\.catch\( {0,2}\( {0,2}\w{0,40} {0,2}\) {0,2}=> {0,2}\{ {0,2}\} {0,2}\)/.test(
            text
          ) ||
          (/catch {0,4}(?:\([^)]{0,100}\))? {0,4}\{ {0,4}$/.test(text) && /^\s*\}/.test(next)) ||
          (/^\s*except\b[^:]{0,100}:\s*(?:pass)?\s*$/.test(text) &&
            (/pass\s*$/.test(text) || /^\s*pass\s*$/.test(next)))
        ) {
          yield { line: line.number, message: "the error is caught and dropped", severity: "error" }
        }
      }
    }
  },
  {
    kind: "loose comparison",
    aspects: ["correctness"],
    run: inCode(/[^=!<>]==[^=]|!=[^=]/, (match) => `${quoted(match)}; a strict comparison converts nothing`, "note")
  },
  { kind: "mutable variable", aspects: ["style"], run: inCode(/^\s*var\s+\w+/, quoted, "note") },
  {
    kind: "bare number",
    aspects: ["style", "clarity"],
    run: inCode(
      /(?:setTimeout\([^,]{1,80},\s*\d{4,}|sleep\(\d{4,}|[<>]=?\s*\d{3,}\b)/,
      (match) => `${quoted(match)} has no name`,
      "note"
    )
  },
  {
    kind: "secret in the text",
    aspects: ["security"],
    run: anywhere(
      /\b(?:sk-[A-Za-z0-9_-]{16,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|xox[baprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{30,})|-----BEGIN [A-Z ]*PRIVATE KEY-----/,
      (match) => `looks like a key: ${masked(match[0])}`,
      "error"
    )
  },
  {
    kind: "password in the text",
    aspects: ["security"],
    run: anywhere(
      /\b(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?token)\b["']?\s*[:=]\s*["']([^"'\s]{4,100})["']/i,
      (match) => `${masked(match[1] ?? "")} is assigned in plain text`,
      "error"
    )
  },
  {
    kind: "query made of text",
    aspects: ["security"],
    run: inCode(
      /["'`](?:SELECT|INSERT|UPDATE|DELETE)\b[^\n]{0,200}(?:["']\s*\+|\$\{|%s|\{\w+\})/i,
      (match) => `${quoted(match)} puts values into the query`,
      "error"
    )
  },
  {
    kind: "markup made of text",
    aspects: ["security"],
    run: inCode(
      /\.innerHTML\s*=|dangerouslySetInnerHTML|document\.write\(/,
      (match) => `${quoted(match)} trusts its input`,
      "warning"
    )
  },
  {
    kind: "shell command made of text",
    aspects: ["security"],
    run: inCode(
      /\b(?:exec|execSync|spawn|system|popen)\(\s*(?:`[^`\n]{0,200}\$\{|["'][^"'\n]{0,200}["']\s*\+|f["'])|shell\s*=\s*True/,
      (match) => `${quoted(match)} passes values to a shell`,
      "error"
    )
  },
  {
    kind: "plain HTTP",
    aspects: ["security"],
    run: anywhere(
      /\bhttp:\/\/(?!localhost|127\.|0\.0\.0\.0|\[::1\]|example\.|www\.w3\.org|schemas?\.)[^\s"'`<>)]{3,200}/i,
      (match) => `${quoted(match)} is not encrypted`,
      "warning"
    )
  },
  {
    kind: "weak cryptography",
    aspects: ["security"],
    run: anywhere(
      /\b(?:createHash\(["'](?:md5|sha1)["']|hashlib\.(?:md5|sha1)|MD5|DES-CBC|RC4)\b|rejectUnauthorized:\s*false|verify\s*=\s*False/i,
      quoted,
      "warning"
    )
  },
  {
    kind: "unpredictable number",
    aspects: ["security"],
    run: inCode(/Math\.random\(\)|\brandom\.random\(\)/, (match) => `${quoted(match)} can be predicted`, "note")
  },
  {
    kind: "work in a loop",
    aspects: ["performance"],
    run: inCode(
      /\bfor\b[^\n]{0,200}\bawait\b|\.forEach\(\s*async|\bwhile\s*\(\s*true\s*\)/,
      (match) => `${quoted(match)} may wait once for each item`,
      "note"
    )
  },
  {
    kind: "blocking call",
    aspects: ["performance"],
    run: inCode(/\b\w+Sync\(/, (match) => `${quoted(match)} stops the thread`, "note")
  }
]
