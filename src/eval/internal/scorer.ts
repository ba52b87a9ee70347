/** Scorers: how they are made of functions, and how one scores one run without taking anything else down. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import { cut } from "../../internal/text.ts"
import { assertFunction, assertName, assertOptions, kindOf } from "../../internal/definition.ts"
import { hash } from "../../internal/fingerprint.ts"
import { toJson } from "../../internal/json.ts"
import { messageOf } from "../../internal/message.ts"
import { InvalidDefinition } from "../../RunError.ts"
import type { Gate, Scored, ScorerFunction, Verdict } from "./types.ts"

const TypeId = "~troupe/Eval/Scorer"

/** Scores runs. `R`: the services that it needs. */
export interface Scorer<in I, in A, in X, out R = never> extends Pipeable {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  readonly gate: Gate | undefined
  /** @internal Tells versions apart, for the cache. */
  readonly version: string
  /** @internal Whether a run that failed is scored too. */
  readonly onFailure: "zero" | "score"
  /** @internal */
  readonly score: (scored: Scored<I, A, X>) => Effect.Effect<Verdict, unknown, R>
}

/** Options of a scorer. */
export interface ScorerOptions {
  /**
   * A run that failed has no output: it counts as 0 (`"zero"`, default), or the scorer is asked all the same (`"score"`), with
   * `output` as `undefined`: for scorers of events.
   */
  readonly onFailure?: "zero" | "score" | undefined
  /** Set another one where the scorer has changed and its text has not: scores that are kept are then not taken. */
  readonly version?: string | undefined
}

/** True for a scorer. */
export const isScorer = (u: unknown): u is Scorer<never, never, never, unknown> => Predicate.hasProperty(u, TypeId)

function pipe(this: unknown): unknown {
  // oxlint-disable-next-line prefer-rest-params -- Pipeable's own protocol
  return pipeArguments(this, arguments)
}

/** What a scorer is made of. Declarations of a build leave out the internal fields of a scorer. */
interface Parts<I, A, X, R> {
  readonly name: string
  readonly version: string
  readonly onFailure: "zero" | "score"
  readonly gate?: Gate | undefined
  readonly score: (scored: Scored<I, A, X>) => Effect.Effect<Verdict, unknown, R>
}

/** A scorer of parts that were checked. */
export const make = <I, A, X, R>(parts: Parts<I, A, X, R>): Scorer<I, A, X, R> => ({
  [TypeId]: TypeId,
  gate: undefined,
  ...parts,
  pipe
})

const known: ReadonlySet<string> = new Set(["onFailure", "version"])

/** A scorer of a function. Throws `InvalidDefinition` for what is not one. */
export const fromFunction = <I, A, X>(
  name: string,
  f: ScorerFunction<I, A, X>,
  options: ScorerOptions = {}
): Scorer<I, A, X, unknown> => {
  assertName("a scorer", name, 'Give it one: Eval.scorer("short", ({ output }) => output.length < 80)')
  const subject = `scorer "${name}"`
  assertFunction(subject, "its function", f)
  assertOptions(subject, options, known)
  return make({
    name,
    version: options.version ?? hash(String(f)),
    onFailure: options.onFailure ?? "zero",
    score: (scored) => Effect.suspend(() => settled(f(scored)))
  })
}

type Returned = ReturnType<ScorerFunction<never, never, never>>

const settled = (returned: Returned): Effect.Effect<Verdict, unknown, unknown> => {
  if (Effect.isEffect(returned)) return returned
  return Predicate.hasProperty(returned, "then")
    ? Effect.tryPromise({ try: async () => returned as PromiseLike<Verdict>, catch: (error) => error })
    : Effect.succeed(returned as Verdict)
}

/** The scorers of a definition, with names for functions that have none. Throws `InvalidDefinition` for two with one name. */
export const scorersOf = (
  subject: string,
  given: ReadonlyArray<unknown>
): ReadonlyArray<Scorer<never, never, never, unknown>> => {
  const scorers = given.map((one, index) => {
    if (isScorer(one)) return one
    if (typeof one === "function") {
      const f = one as ScorerFunction<never, never, never>
      return fromFunction(f.name === "" ? `scorer ${index + 1}` : f.name, f)
    }
    throw new InvalidDefinition({
      subject,
      problem: `scorers[${index}] is ${kindOf(one)}, not a scorer`,
      remedy: "Give it a function of { input, output, expected }, or a scorer such as Eval.exact"
    })
  })
  const names = scorers.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return scorers
  throw new InvalidDefinition({
    subject,
    problem: `two of its scorers are named "${twice}"`,
    remedy: 'Rename one: Eval.named(scorer, "another name")'
  })
}

/** A score, or the reason why the scorer could not say. */
export interface Score {
  /** `null` where the scorer could not say. */
  readonly score: number | null
  readonly reason?: string
  readonly metadata?: Schema.Json
  /** The scorer failed. */
  readonly error?: string
}

const maxText = 4000
const maxMetadata = 20_000

/** Scores one run. It does not fail. */
const scoreOf = <R>({ score }: Scorer<never, never, never, R>, scored: Scored): Effect.Effect<Score, never, R> =>
  Effect.map(Effect.exit(score(scored as Scored<never, never, never>)), (exit) => {
    if (Exit.isSuccess(exit)) return readVerdict(exit.value)
    return { score: null, error: textOf(Cause.squash(exit.cause)) }
  })

/** A score, with the name of its scorer. */
export interface Named extends Score {
  readonly scorer: string
}

/** Scores one run by each scorer; a run that failed is 0 where the scorer looks at outputs. `kept` may know a score already. */
export const scoreEach = (
  scorers: ReadonlyArray<Scorer<never, never, never, unknown>>,
  scored: Scored,
  isFailure: boolean,
  kept: <R>(
    scorer: Scorer<never, never, never, R>,
    made: Effect.Effect<Score, never, R>
  ) => Effect.Effect<Score, never, R> = (_, made) => made
): Effect.Effect<ReadonlyArray<Named>, never, unknown> =>
  Effect.forEach(scorers, (scorer): Effect.Effect<Named, never, unknown> => {
    const { name, onFailure } = scorer
    if (isFailure && onFailure === "zero") return Effect.succeed({ scorer: name, score: 0, reason: "the run failed" })
    return Effect.map(kept(scorer, scoreOf(scorer, scored)), (score) => ({ scorer: name, ...score }))
  })

/** What an error says, of a bounded length. */
export const textOf = (error: unknown): string => cut(messageOf(error), maxText)

const readVerdict = (verdict: unknown): Score => {
  const isWhole = Predicate.isObject(verdict) && "score" in verdict
  const value = isWhole ? verdict["score"] : verdict
  const more = isWhole ? detailsOf(verdict as Readonly<Record<string, unknown>>) : {}
  if (value === null || value === undefined) return { score: null, ...more }
  const score = typeof value === "boolean" ? Number(value) : value
  if (typeof score === "number" && score >= 0 && score <= 1) return { score, ...more }
  const what = typeof score === "number" ? String(score) : kindOf(value)
  return { score: null, error: `it gave ${what}: a score is a number from 0 to 1, true, false or null` }
}

const detailsOf = ({ error, metadata, reason }: Readonly<Record<string, unknown>>): Partial<Score> => {
  const json = metadata === undefined || metadata === null ? undefined : toJson(metadata)
  const isSmall = json !== undefined && JSON.stringify(json).length <= maxMetadata
  return {
    ...(typeof reason === "string" ? { reason: cut(reason, maxText) } : {}),
    ...(isSmall ? { metadata: json } : {}),
    ...(error === undefined || error === null ? {} : { error: textOf(error) })
  }
}
