/** Reports as text: a table for a terminal, and JUnit's XML for servers that build. */
import { seconds } from "../../internal/render.ts"
import { cut, oneLine } from "../../internal/text.ts"
import type { CaseReport, Report, RunnerReport, ScorerReport } from "./report.ts"

/** A score for people. */
export const percent = (score: number | null): string => (score === null ? "-" : `${(score * 100).toFixed(1)}%`)

const dollars = (cost: number | undefined): string => (cost === undefined ? "$?" : `$${Number(cost.toPrecision(3))}`)

/** Rows whose cells stand under each other; the first column is left, all others right unless `isLeft`. */
export const columns = (rows: ReadonlyArray<ReadonlyArray<string>>, isLeft = false): ReadonlyArray<string> => {
  const widths = rows.reduce<ReadonlyArray<number>>(
    (widths, row) => row.map((cell, index) => Math.max(cell.length, widths[index] ?? 0)),
    []
  )
  return rows.map((row) =>
    row
      .map((cell, index) => (index === 0 || isLeft ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!)))
      .join("  ")
      .trimEnd()
  )
}

const gateText = ({ gate, passed }: ScorerReport): string => {
  if (gate === undefined) return ""
  const parts = [
    ...(gate.mean === undefined ? [] : [`mean >= ${percent(gate.mean)}`]),
    ...(gate.each === undefined ? [] : [`each >= ${percent(gate.each)}`])
  ]
  return `${passed ? "pass" : "FAIL"} (${parts.join(", ")})`
}

/** The table of a report, at most `width` characters wide. */
export const table = (report: Report, width: number): string => {
  const names = report.runners.map(({ runner }) => cut(oneLine(runner), 24))
  const scorers = report.runners[0]?.scorers ?? []
  const rows = scorers.map(({ scorer }, index) => [
    cut(oneLine(scorer), 40),
    ...report.runners.map((runner) => {
      const own = runner.scorers[index]!
      return [percent(own.mean), gateText(own)].filter((part) => part !== "").join(" ")
    })
  ])
  const totals = [
    ["runs", ...report.runners.map(runsText)],
    ["tokens", ...report.runners.map(({ inputTokens, outputTokens }) => String(inputTokens + outputTokens))],
    ["cost", ...report.runners.map(({ cost }) => dollars(cost))],
    ["time", ...report.runners.map(({ durationMs }) => seconds(durationMs))]
  ]
  const [head, ...body] = columns([["", ...names], ...rows, ...totals], true)
  const problems = report.runners.flatMap((runner) => problemsOf(runner, report.runners.length > 1))
  return [oneLine(report.name), head!, ...body, ...problems, verdictOf(report)]
    .map((line) => cut(line, width))
    .join("\n")
}

const runsText = ({ cases, failed }: RunnerReport): string => {
  const cached = cases.filter(({ cached }) => cached).length
  const more = [...(failed === 0 ? [] : [`${failed} failed`]), ...(cached === 0 ? [] : [`${cached} kept`])]
  return more.length === 0 ? String(cases.length) : `${cases.length} (${more.join(", ")})`
}

const maxProblems = 20

/** What did not go well, a line for each. */
const problemsOf = ({ cases, runner, scorers }: RunnerReport, isNamed: boolean): ReadonlyArray<string> => {
  const lines = cases
    .flatMap((one) => problemsIn(one, scorers))
    .map((line) => `- ${isNamed ? `${runner}: ` : ""}${line}`)
  const shown = lines.slice(0, maxProblems)
  return lines.length > shown.length ? [...shown, `- and ${lines.length - shown.length} more`] : shown
}

const problemsIn = (one: CaseReport, scorers: ReadonlyArray<ScorerReport>): ReadonlyArray<string> => {
  const name = oneLine(one.trial === 1 ? one.name : `${one.name} (${one.trial})`)
  if (one.error !== undefined) return [`${name}: ${one.error.tag}: ${oneLine(one.error.message)}`]
  return one.scores.flatMap(({ error, reason, score, scorer }) => {
    if (error !== undefined) return [`${name}: ${oneLine(scorer)} failed: ${oneLine(error)}`]
    const each = scorers.find((other) => other.scorer === scorer)?.gate?.each
    const isLow = score !== null && score < (each ?? 0.5)
    if (!isLow && !(score === null && each !== undefined)) return []
    return [`${name}: ${oneLine(scorer)} ${percent(score)}${reason === undefined ? "" : `: ${oneLine(reason)}`}`]
  })
}

const verdictOf = (report: Report): string => {
  if (report.passed) return "passed"
  const gates = report.runners.flatMap(({ runner, scorers }) =>
    scorers.filter(({ passed }) => !passed).map(({ scorer }) => `${oneLine(scorer)} of ${oneLine(runner)}`)
  )
  const failed = report.runners.reduce((sum, one) => sum + one.failed, 0)
  const runs = failed > report.maxFailures ? [`${failed} runs failed, ${report.maxFailures} may`] : []
  return `FAILED: ${[...gates, ...runs].join("; ")}`
}

/** A report as JUnit's XML: a suite for each runner, a test for each case; a case fails by its run and by its gates. */
export const junit = (report: Report): string => {
  const suites = report.runners.map((runner) => suiteOf(report.name, runner))
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="${xml(report.name)}" time="${report.durationMs / 1000}">\n${suites.join("\n")}\n</testsuites>\n`
}

const suiteOf = (name: string, runner: RunnerReport): string => {
  const cases = runner.cases.map((one) => testOf(one, runner))
  const gates = runner.scorers
    .filter(({ gate }) => gate?.mean !== undefined)
    .map((scorer) => {
      const failure = scorer.passed ? "" : `<failure message="${xml(`${percent(scorer.mean)}, ${gateText(scorer)}`)}"/>`
      return `    <testcase classname="${xml(`${name}.${runner.runner}`)}" name="${xml(`mean of ${scorer.scorer}`)}" time="0">${failure}</testcase>`
    })
  const all = [...cases, ...gates]
  const failures = all.filter((test) => test.includes("<failure ")).length
  const errors = all.filter((test) => test.includes("<error ")).length
  return `  <testsuite name="${xml(`${name}.${runner.runner}`)}" tests="${all.length}" failures="${failures}" errors="${errors}" time="${runner.durationMs / 1000}">\n${all.join("\n")}\n  </testsuite>`
}

const testOf = (one: CaseReport, { runner, scorers }: RunnerReport): string => {
  const name = one.trial === 1 ? one.name : `${one.name} (${one.trial})`
  const gated = one.scores.flatMap(({ error, reason, score, scorer }) => {
    const each = scorers.find((other) => other.scorer === scorer)?.gate?.each
    if (each === undefined || (score !== null && score >= each)) return []
    const why = error ?? reason
    return [`${scorer}: ${percent(score)}, at least ${percent(each)}${why === undefined ? "" : `: ${why}`}`]
  })
  const inside = [
    ...(one.error === undefined ? [] : [`<error type="${xml(one.error.tag)}" message="${xml(one.error.message)}"/>`]),
    ...(one.error === undefined && gated.length > 0 ? [`<failure message="${xml(gated.join("; "))}"/>`] : []),
    `<system-out>${xml(one.scores.map(({ score, scorer }) => `${scorer} ${percent(score)}`).join("\n"))}</system-out>`
  ]
  return `    <testcase classname="${xml(runner)}" name="${xml(name)}" time="${one.durationMs / 1000}">${inside.join("")}</testcase>`
}

/** Text for XML 1.0, which has no control characters and no half of a character. */
const xml = (text: string): string =>
  text
    .toWellFormed()
    // oxlint-disable-next-line no-control-regex -- such characters are what this is about
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
