/** Parallels: one input to several runners at once. They start together and stop together. It touches `Runner` only. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Result from "effect/Result"
import { InvalidDefinition } from "../RunError.ts"
import * as Runner from "../Runner.ts"

/** Every branch must succeed; the first failure interrupts the others. The default. */
export interface FailFast {
  readonly _tag: "failFast"
}
/** Every branch runs to its end; its success or its typed failure is the output. */
export interface Settle {
  readonly _tag: "settle"
}
/** The first success wins and interrupts the others. */
export interface Race {
  readonly _tag: "race"
}
/** The first `n` successes win and interrupt the others. */
export interface Quorum {
  readonly _tag: "quorum"
  readonly n: number
}
/** How branches depend on one another. */
export type Mode = FailFast | Settle | Race | Quorum

export const failFast: FailFast = { _tag: "failFast" }
export const settle: Settle = { _tag: "settle" }
export const race: Race = { _tag: "race" }
/** Needs `n` successes: a majority, a second opinion. */
export const quorum = (n: number): Quorum => ({ _tag: "quorum", n })

/** One branch that failed. */
export interface BranchFailure<out E> {
  readonly branch: string
  readonly error: E
}

/**
 * Too many branches failed for the mode. Every failure is listed, the first one first, those of branches that failed
 * while they were being interrupted included. All finalizers have run.
 */
export class ParallelError<E> extends Data.TaggedError("ParallelError")<{
  readonly name: string
  readonly failures: ReadonlyArray<BranchFailure<E>>
  /** Branches that were interrupted or never began. */
  readonly interrupted: ReadonlyArray<string>
}> {
  override get message(): string {
    const failed = this.failures.map(({ branch, error }) => `"${branch}": ${textOf(error)}`).join("; ")
    const others = this.interrupted.length === 0 ? "" : ` Interrupted: ${this.interrupted.join(", ")}.`
    return `"${this.name}": ${this.failures.length === 1 ? "a branch" : `${this.failures.length} branches`} failed: ${failed}.${others}`
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : JSON.stringify(error))

type Branches = Readonly<Record<string, Runner.Any>>
type AnyRunner = Runner.Runner<never, unknown, unknown, unknown>

/** What all branches take. */
export type Input<B extends Branches> = {
  readonly [K in keyof B]: (input: Runner.Input<B[K]>) => void
}[keyof B] extends (input: infer I) => void
  ? I
  : never
type Outputs<B extends Branches> = { readonly [K in keyof B]: Runner.Output<B[K]> }
type Errors<B extends Branches> = Runner.Error<B[keyof B]>
type Services<B extends Branches> = Runner.Services<B[keyof B]>

/** What the mode gives. */
export type Output<B extends Branches, M extends Mode> = M extends Settle
  ? { readonly [K in keyof B]: Result.Result<Runner.Output<B[K]>, Runner.Error<B[K]>> }
  : M extends Race
    ? Runner.Output<B[keyof B]>
    : M extends Quorum
      ? Partial<Outputs<B>>
      : Outputs<B>

/** How a parallel is run. */
export interface Options<M extends Mode> {
  readonly description?: string | undefined
  /** Default {@link failFast}. */
  readonly mode?: M | undefined
  /** How many branches run at once. Default: all. */
  readonly concurrency?: number | "unbounded" | undefined
}

/**
 * Makes a parallel of named branches. All get the same input; each is a nested run. When the mode is decided, the other
 * branches are interrupted, their requests aborted, and their finalizers awaited, before the outcome is seen.
 *
 * Fails with `ParallelError` (never in mode `settle`). Throws `InvalidDefinition` for no branches, or a quorum that they
 * cannot reach.
 *
 * @example
 * import { Agent, Parallel } from "troupe"
 *
 * const legal = Agent.make("legal", { instructions: "Look at it as a lawyer." })
 * const finance = Agent.make("finance", { instructions: "Look at it as an accountant." })
 * const panel = Parallel.make("panel", { legal, finance })
 */
export const make = <const B extends Branches, M extends Mode = FailFast>(
  name: string,
  branches: B,
  options: Options<M> = {}
): Runner.Runner<Input<B>, Output<B, M>, M extends Settle ? never : ParallelError<Errors<B>>, Services<B>> => {
  const mode: Mode = options.mode ?? failFast
  const entries = Object.entries(branches) as ReadonlyArray<readonly [string, AnyRunner]>
  check(name, entries.length, mode, options.concurrency)
  return Runner.workflow(name, {
    description: options.description,
    structure: () => ({
      kind: "parallel",
      note: mode._tag === "quorum" ? `quorum of ${mode.n}` : mode._tag,
      members: entries.map(([key, runner]) => ({ name: key, runner }))
    }),
    run: (input: never) => new Group(name, entries, input, options.concurrency ?? "unbounded").run(mode)
    // The group works on erased branches; this is where their types come back.
  }) as never
}

const check = (name: string, count: number, mode: Mode, concurrency: number | "unbounded" | undefined): void => {
  const refuse = (problem: string, remedy: string) => {
    throw new InvalidDefinition({ subject: `parallel "${name}"`, problem, remedy })
  }
  if (count === 0) refuse("it has no branches", "Give it at least one")
  if (mode._tag === "quorum" && !(Number.isInteger(mode.n) && mode.n >= 1 && mode.n <= count)) {
    refuse(`a quorum of ${mode.n} cannot be reached by ${count} branches`, `Use 1 to ${count}`)
  }
  if (typeof concurrency === "number" && !(concurrency >= 1)) refuse(`concurrency is ${concurrency}`, "Use 1 or more")
}

/** The branches of one run, and what has become of each. */
class Group {
  readonly #name: string
  readonly #entries: ReadonlyArray<readonly [string, AnyRunner]>
  readonly #input: never
  readonly #concurrency: number | "unbounded"
  readonly #outputs = new Map<string, unknown>()
  readonly #failures: Array<BranchFailure<unknown>> = []

  constructor(
    name: string,
    entries: ReadonlyArray<readonly [string, AnyRunner]>,
    input: never,
    concurrency: number | "unbounded"
  ) {
    this.#name = name
    this.#entries = entries
    this.#input = input
    this.#concurrency = concurrency
  }

  run(mode: Mode): Effect.Effect<unknown, unknown, unknown> {
    switch (mode._tag) {
      case "settle":
        return this.#settle()
      case "failFast":
        return Effect.map(this.#until(this.#entries.length), () => this.#named())
      case "quorum":
        return Effect.map(this.#until(mode.n), () => this.#named())
      case "race":
        return Effect.map(this.#until(1), () => [...this.#outputs.values()][0])
    }
  }

  #settle(): Effect.Effect<unknown, unknown, unknown> {
    return Effect.map(
      Effect.forEach(
        this.#entries,
        ([key, runner]) => Effect.map(Effect.result(runner.run(this.#input)), (result) => [key, result] as const),
        { concurrency: this.#concurrency }
      ),
      (results) => Object.fromEntries(results)
    )
  }

  /** Runs the branches until `needed` have succeeded, or so many have failed that they cannot any more. */
  #until(needed: number): Effect.Effect<void, ParallelError<unknown>, unknown> {
    return Effect.gen({ self: this }, function* () {
      const decided = yield* Deferred.make<void>()
      let open = true
      const allowed = this.#entries.length - needed
      const branch = ([key, runner]: readonly [string, AnyRunner]) =>
        Effect.onExit(runner.run(this.#input), (exit) => {
          if (Exit.isSuccess(exit)) {
            if (open) this.#outputs.set(key, exit.value)
          } else this.#noteFailure(key, exit.cause)
          if (!open || (this.#outputs.size < needed && this.#failures.length <= allowed)) return Effect.void
          open = false
          return Deferred.succeed(decided, undefined)
        }).pipe(Effect.exit)
      const all = Effect.forEach(this.#entries, branch, { concurrency: this.#concurrency, discard: true })
      yield* Effect.raceFirst(all, Deferred.await(decided))
      if (this.#outputs.size >= needed) return
      return yield* Effect.fail(this.#error())
    })
  }

  #noteFailure(branch: string, cause: Cause.Cause<unknown>): void {
    for (const reason of cause.reasons) {
      if (Cause.isFailReason(reason)) this.#failures.push({ branch, error: reason.error })
      else if (Cause.isDieReason(reason)) this.#failures.push({ branch, error: reason.defect })
    }
  }

  #named(): unknown {
    // In the order of the definition, whichever came first.
    return Object.fromEntries(
      this.#entries.flatMap(([key]) => (this.#outputs.has(key) ? [[key, this.#outputs.get(key)] as const] : []))
    )
  }

  #error(): ParallelError<unknown> {
    const failed = new Set(this.#failures.map(({ branch }) => branch))
    return new ParallelError({
      name: this.#name,
      failures: this.#failures,
      interrupted: this.#entries.flatMap(([key]) => (failed.has(key) || this.#outputs.has(key) ? [] : [key]))
    })
  }
}
