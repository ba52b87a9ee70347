/** Runs an evaluation: cases times runners times trials, so many at once, each by itself. */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { hash } from "../../internal/fingerprint.ts"
import { textOfJson, toJson } from "../../internal/json.ts"
import { inputOf } from "../../internal/runnerSchemas.ts"
import { cut, oneLine } from "../../internal/text.ts"
import * as Runner from "../../Runner.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"
import * as Cache from "./cache.ts"
import { inputJson, keep, type Outcome, restore, runCase } from "./caseRun.ts"
import { fingerprintOf } from "./fingerprint.ts"
import * as Reports from "./report.ts"
import { scoreEach, type Scorer } from "./scorer.ts"
import type { Case, Scored } from "./types.ts"

type AnyRunner = Runner.Runner<unknown, unknown, unknown, unknown>
type AnyScorer = Scorer<never, never, never, unknown>

/** An evaluation, with its types erased. */
export interface Definition {
  readonly name: string
  readonly runners: ReadonlyArray<readonly [name: string, runner: AnyRunner]>
  readonly data: Stream.Stream<Case<unknown>, unknown, unknown>
  readonly scorers: ReadonlyArray<AnyScorer>
  readonly trials: number
  readonly version: string
  readonly concurrency: number
  readonly timeout: Duration.Duration | undefined
  readonly maxFailures: number
}

/** How far an evaluation is. */
export interface Progress {
  readonly done: number
  /** How many runs there will be; `undefined` while the data has not ended. */
  readonly total: number | undefined
  readonly failed: number
  readonly cached: number
  readonly runner: string
  /** The run that has just ended. */
  readonly last: Reports.CaseReport
}

/** How an evaluation is run this time. */
export interface Settings {
  readonly concurrency: number
  readonly limit: number | undefined
  readonly onProgress: (progress: Progress) => Effect.Effect<void>
}

/** One run to make. */
interface Job {
  readonly runner: string
  readonly using: AnyRunner
  readonly fingerprint: string
  readonly one: Case<unknown>
  readonly id: string
  readonly index: number
  readonly trial: number
}

interface Done {
  readonly job: Job
  readonly report: Reports.CaseReport
}

/** Runs it. It fails where its data cannot be read, and else gives a report. */
export const execute = (definition: Definition, settings: Settings): Effect.Effect<Reports.Report, unknown, unknown> =>
  Effect.gen(function* () {
    const at = yield* Clock.currentTimeMillis
    const runners = yield* runnersOf(definition)
    const progress = follow(definition, settings)
    const idOf = ids()
    const limited = settings.limit === undefined ? definition.data : Stream.take(definition.data, settings.limit)
    const cases = limited.pipe(
      Stream.map((one, index) => {
        progress.began(index)
        return jobsOf(one, index, idOf(one), runners, definition.trials)
      }),
      Stream.onEnd(Effect.sync(progress.noMore))
    )
    yield* Stream.flattenIterable(cases).pipe(
      Stream.mapEffect((job) => Effect.map(runJob(job, definition.scorers), (report): Done => ({ job, report })), {
        concurrency: settings.concurrency,
        unordered: true
      }),
      Stream.runForEach(progress.ended)
    )
    const reports = runners.map(({ fingerprint, runner }) =>
      Reports.ofRunner(runner, fingerprint, progress.of(runner), definition.scorers)
    )
    return {
      v: 1,
      name: definition.name,
      at,
      durationMs: (yield* Clock.currentTimeMillis) - at,
      runners: reports,
      maxFailures: definition.maxFailures,
      passed: Reports.passes(reports, definition.maxFailures)
    }
  })

/** The runners as they are run, each with what a change of it changes: an outcome kept for another one does not count. */
const runnersOf = (definition: Definition) =>
  Effect.map(modelName, (model) =>
    definition.runners.map(([runner, using]) => {
      const timed = definition.timeout === undefined ? using : Runner.withTimeout(using, definition.timeout)
      return { runner, using: timed, fingerprint: hash([definition.version, runner, model, fingerprintOf(using)]) }
    })
  )

/** What is done so far, and the calls of `onProgress`. How much there is in all is known when the data has ended. */
const follow = (definition: Definition, settings: Settings) => {
  const done: Array<Done> = []
  const counts = { failed: 0, cached: 0, cases: 0, isEnded: false }
  return {
    began: (index: number) => {
      counts.cases = index + 1
    },
    noMore: () => {
      counts.isEnded = true
    },
    ended: (one: Done) =>
      Effect.suspend(() => {
        done.push(one)
        if (one.report.status === "failed") counts.failed++
        if (one.report.cached) counts.cached++
        const total = counts.isEnded ? counts.cases * definition.runners.length * definition.trials : undefined
        const { cached, failed } = counts
        const { runner } = one.job
        return settings.onProgress({ done: done.length, total, failed, cached, runner, last: one.report })
      }),
    /** The reports of a runner, in the order of the data. */
    of: (runner: string) =>
      done
        .filter(({ job }) => job.runner === runner)
        .toSorted((a, b) => a.job.index - b.job.index || a.job.trial - b.job.trial)
        .map(({ report }) => report)
  }
}

/** The model around the evaluation, which is another evaluation with another model. */
const modelName: Effect.Effect<string> = Effect.map(ModelInfo.get, (info) =>
  info === undefined ? "" : `${info.provider}:${info.model}`
)

const jobsOf = (
  one: Case<unknown>,
  index: number,
  id: string,
  runners: ReadonlyArray<Pick<Job, "runner" | "using" | "fingerprint">>,
  trials: number
): ReadonlyArray<Job> =>
  runners.flatMap((runner) =>
    Array.from({ length: trials }, (_, trial) => ({ ...runner, one, id, index, trial: trial + 1 }))
  )

/** Names cases so that another run of the evaluation finds them again; a second one of the same name has a number. */
const ids = () => {
  const seen = new Map<string, number>()
  return ({ input, name }: Case<unknown>): string => {
    const id = name ?? hash(toJson(input)).slice(0, 12)
    const count = (seen.get(id) ?? 0) + 1
    seen.set(id, count)
    return count === 1 ? id : `${id} (${count})`
  }
}

const runJob = (job: Job, scorers: ReadonlyArray<AnyScorer>): Effect.Effect<Reports.CaseReport, never, unknown> =>
  Effect.gen(function* () {
    const { fingerprint, id, one, trial, using } = job
    const input = inputJson(inputOf(using), one.input)
    // The input may be too much for the name of a key, and some stores have files for keys.
    const key = hash([1, fingerprint, input, trial])
    const kept = yield* Cache.get(`run-${key}`)
    const restored = kept === undefined ? undefined : restore(using, kept)
    const outcome = restored ?? (yield* runCase(using, one.input))
    if (restored === undefined) {
      const text = keep(using, outcome)
      if (text !== undefined) yield* Cache.set(`run-${key}`, text)
    }
    const isFailure = outcome.failure !== undefined
    const scores = yield* scoreEach(scorers, scoredOf(one, outcome), isFailure, ({ name, version }, made) => {
      const own = hash([key, name, version, toJson(one.expected), one.metadata ?? null])
      // What a failed run did is not kept, and neither are scores of it.
      return Cache.score(isFailure ? undefined : `score-${own}`, made)
    })
    return {
      id,
      name: one.name ?? cut(oneLine(textOfJson(input)), 80),
      trial,
      status: outcome.failure === undefined ? "completed" : "failed",
      input: shortened(input),
      ...(one.expected === undefined ? {} : { expected: shortened(toJson(one.expected)) }),
      ...(one.metadata === undefined ? {} : { metadata: shortened(one.metadata) }),
      ...(outcome.failure === undefined ? { output: shortened(outcome.outputJson) } : { error: outcome.failure }),
      scores,
      ...(outcome.runId === undefined ? {} : { runId: outcome.runId }),
      cached: restored !== undefined,
      ...spentOf(outcome)
    }
  })

const scoredOf = (one: Case<unknown>, { events, output, outputJson, spent }: Outcome): Scored => ({
  input: one.input,
  output,
  ...(one.expected === undefined ? {} : { expected: one.expected }),
  metadata: one.metadata,
  outputJson,
  events,
  spent
})

const spentOf = ({ spent: { cost, tokens: _tokens, ...spent } }: Outcome) => ({
  ...spent,
  ...(cost === undefined ? {} : { cost })
})

const maxJson = 100_000

/** JSON of a bounded length; what is longer becomes a text. */
const shortened = (json: Reports.CaseReport["input"]): Reports.CaseReport["input"] => {
  const text = textOfJson(json)
  return text.length <= maxJson ? json : `${text.slice(0, maxJson)}… (${text.length - maxJson} characters left out)`
}
