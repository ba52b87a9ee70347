/** Two reports side by side: what became better, what became worse, and whether that is more than chance. */
import { cut, oneLine } from "../../internal/text.ts"
import type { CaseReport, Report, RunnerReport } from "./report.ts"
import { columns, percent } from "./table.ts"

/** One score of a case that changed. */
export interface Change {
  readonly id: string
  readonly name: string
  readonly before: number
  readonly after: number
}

/** One scorer in two reports. */
export interface ScorerComparison {
  readonly scorer: string
  /** The means over the cases that both have a score for. */
  readonly before: number | null
  readonly after: number | null
  /** How many cases both have a score for. */
  readonly compared: number
  readonly better: ReadonlyArray<Change>
  readonly worse: ReadonlyArray<Change>
  /**
   * How likely so uneven a number of better and worse cases is by chance alone (a sign test, from 0 to 1): below 0.05 the change is
   * hardly chance.
   */
  readonly chance: number
}

/** One runner in two reports, or two runners of one. */
export interface RunnerComparison {
  readonly before: string
  readonly after: string
  readonly scorers: ReadonlyArray<ScorerComparison>
  readonly tokens: { readonly before: number; readonly after: number }
  readonly cost: { readonly before: number | undefined; readonly after: number | undefined }
  readonly durationMs: { readonly before: number; readonly after: number }
  /** Cases that only one of them has. */
  readonly added: number
  readonly removed: number
}

/** Two reports, compared. */
export interface Comparison {
  readonly before: string
  readonly after: string
  readonly runners: ReadonlyArray<RunnerComparison>
}

/** Compares the runners of two reports that have one name; a single runner is compared with a single one of any name. */
export const compare = (before: Report, after: Report): Comparison => {
  const isSingle = before.runners.length === 1 && after.runners.length === 1
  const runners = after.runners.flatMap((now) => {
    const then = isSingle ? before.runners[0] : before.runners.find(({ runner }) => runner === now.runner)
    return then === undefined ? [] : [compareRunners(then, now)]
  })
  return { before: before.name, after: after.name, runners }
}

/** Compares two runners, such as those of one report. */
export const compareRunners = (before: RunnerReport, after: RunnerReport): RunnerComparison => {
  const keyOf = ({ id, trial }: CaseReport) => JSON.stringify([id, trial])
  const then = new Map(before.cases.map((one) => [keyOf(one), one]))
  const pairs = after.cases.flatMap((now) => {
    const old = then.get(keyOf(now))
    return old === undefined ? [] : [[old, now] as const]
  })
  const names = [...new Set([...before.scorers, ...after.scorers].map(({ scorer }) => scorer))]
  return {
    before: before.runner,
    after: after.runner,
    scorers: names.map((scorer) => compareScorer(scorer, pairs)),
    tokens: { before: before.inputTokens + before.outputTokens, after: after.inputTokens + after.outputTokens },
    cost: { before: before.cost, after: after.cost },
    durationMs: { before: before.durationMs, after: after.durationMs },
    added: after.cases.length - pairs.length,
    removed: before.cases.length - pairs.length
  }
}

type Pair = readonly [before: CaseReport, after: CaseReport]

const compareScorer = (scorer: string, pairs: ReadonlyArray<Pair>): ScorerComparison => {
  const scoreOf = (one: CaseReport) => one.scores.find((score) => score.scorer === scorer)?.score ?? undefined
  const changes = pairs.flatMap(([old, now]): ReadonlyArray<Change> => {
    const [before, after] = [scoreOf(old), scoreOf(now)]
    return before === undefined || after === undefined ? [] : [{ id: now.id, name: now.name, before, after }]
  })
  const mean = (field: "before" | "after") =>
    changes.length === 0 ? null : changes.reduce((sum, one) => sum + one[field], 0) / changes.length
  const better = changes.filter(({ after, before }) => after > before)
  const worse = changes.filter(({ after, before }) => after < before)
  return {
    scorer,
    before: mean("before"),
    after: mean("after"),
    compared: changes.length,
    better,
    worse,
    chance: signTest(better.length, worse.length)
  }
}

/** The two-sided sign test, by the logarithms of the binomial's terms. */
const signTest = (a: number, b: number): number => {
  const n = a + b
  let term = -n * Math.LN2
  let sum = 0
  for (let k = 0; k <= Math.min(a, b); k++) {
    sum += Math.exp(term)
    term += Math.log((n - k) / (k + 1))
  }
  return Math.min(1, 2 * sum)
}

const signed = (delta: number): string => `${delta >= 0 ? "+" : ""}${(delta * 100).toFixed(1)}`

/** The table of a comparison, at most `width` characters wide. */
export const comparisonTable = ({ runners }: Comparison, width: number): string => {
  if (runners.length === 0) return "the reports have no runner in common"
  return runners
    .flatMap((one) => {
      const rows = one.scorers.map((scorer) => [
        cut(oneLine(scorer.scorer), 40),
        percent(scorer.before),
        percent(scorer.after),
        scorer.before === null || scorer.after === null ? "-" : signed(scorer.after - scorer.before),
        String(scorer.better.length),
        String(scorer.worse.length),
        scorer.chance.toFixed(3)
      ])
      const head = [oneLine(one.after), "before", "after", "change", "better", "worse", "chance"]
      const tokens = ["tokens", String(one.tokens.before), String(one.tokens.after), "", "", "", ""]
      const worse = one.scorers.flatMap(({ scorer, worse }) =>
        worse
          .slice(0, 10)
          .map(
            (change) =>
              `- ${oneLine(change.name)}: ${oneLine(scorer)} ${percent(change.before)} -> ${percent(change.after)}`
          )
      )
      const others = [
        ...(one.added === 0 ? [] : [`- ${one.added} cases are new`]),
        ...(one.removed === 0 ? [] : [`- ${one.removed} cases are gone`])
      ]
      return [...columns([head, ...rows, tokens]), ...worse, ...others]
    })
    .map((line) => cut(line, width))
    .join("\n")
}
