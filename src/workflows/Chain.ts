/** Chains: runners one after the other, each given what the one before it gave. It touches `Runner` only. */
import * as Effect from "effect/Effect"
import type { Member } from "../internal/structure.ts"
import { InvalidDefinition } from "../RunError.ts"
import * as Runner from "../Runner.ts"

/** A step of a chain: any runner, or a function that gives an Effect. */
export type Step<I, A, E, R> = Runner.Runner<I, A, E, R> | ((input: I) => Effect.Effect<A, E, R>)

interface Options {
  readonly description?: string | undefined
}

/**
 * Makes a chain. The output of each step is the input of the next; a step that does not fit is a compile error. The
 * steps are nested runs of one run: it fails with the error of the step that failed, and interrupting it interrupts the
 * step under way. A chain in a chain does what its steps would.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Chain } from "troupe"
 *
 * const writer = Agent.make("writer", { instructions: "Write a paragraph on the topic." })
 * const editor = Agent.make("editor", { instructions: "Make it shorter." })
 * const pipeline = Chain.make("pipeline", [writer, editor, (text: string) => Effect.succeed(text.trim())])
 */
export const make: {
  <I, A, E1, R1>(name: string, steps: readonly [Step<I, A, E1, R1>], options?: Options): Runner.Runner<I, A, E1, R1>
  <I, A, B, E1, R1, E2, R2>(
    name: string,
    steps: readonly [Step<I, A, E1, R1>, Step<A, B, E2, R2>],
    options?: Options
  ): Runner.Runner<I, B, E1 | E2, R1 | R2>
  <I, A, B, C, E1, R1, E2, R2, E3, R3>(
    name: string,
    steps: readonly [Step<I, A, E1, R1>, Step<A, B, E2, R2>, Step<B, C, E3, R3>],
    options?: Options
  ): Runner.Runner<I, C, E1 | E2 | E3, R1 | R2 | R3>
  <I, A, B, C, D, E1, R1, E2, R2, E3, R3, E4, R4>(
    name: string,
    steps: readonly [Step<I, A, E1, R1>, Step<A, B, E2, R2>, Step<B, C, E3, R3>, Step<C, D, E4, R4>],
    options?: Options
  ): Runner.Runner<I, D, E1 | E2 | E3 | E4, R1 | R2 | R3 | R4>
  <I, A, B, C, D, F, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5>(
    name: string,
    steps: readonly [
      Step<I, A, E1, R1>,
      Step<A, B, E2, R2>,
      Step<B, C, E3, R3>,
      Step<C, D, E4, R4>,
      Step<D, F, E5, R5>
    ],
    options?: Options
  ): Runner.Runner<I, F, E1 | E2 | E3 | E4 | E5, R1 | R2 | R3 | R4 | R5>
  <I, A, B, C, D, F, G, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5, E6, R6>(
    name: string,
    steps: readonly [
      Step<I, A, E1, R1>,
      Step<A, B, E2, R2>,
      Step<B, C, E3, R3>,
      Step<C, D, E4, R4>,
      Step<D, F, E5, R5>,
      Step<F, G, E6, R6>
    ],
    options?: Options
  ): Runner.Runner<I, G, E1 | E2 | E3 | E4 | E5 | E6, R1 | R2 | R3 | R4 | R5 | R6>
} = (name: string, steps: ReadonlyArray<Step<never, unknown, unknown, unknown>>, options?: Options) => {
  const last = steps.at(-1)
  if (last === undefined) {
    throw new InvalidDefinition({
      subject: `chain "${name}"`,
      problem: "it has no steps",
      remedy: "Give it at least one"
    })
  }
  return Runner.workflow(name, {
    description: options?.description,
    structure: () => ({ kind: "chain", members: steps.map(memberOf) }),
    encodedLike: last,
    run: (input: never) =>
      // The overloads have checked that each step takes what the one before it gives.
      steps.reduce<Effect.Effect<unknown, unknown, unknown>>(
        (before, step) => Effect.flatMap(before, (value) => run(step, value as never)),
        Effect.succeed(input)
      )
  }) as never
}

const memberOf = (step: Step<never, unknown, unknown, unknown>, index: number): Member =>
  Runner.isRunner(step) ? { name: step.name, runner: step } : { name: step.name || `step ${index + 1}` }

const run = (step: Step<never, unknown, unknown, unknown>, input: never): Effect.Effect<unknown, unknown, unknown> =>
  Runner.isRunner(step) ? step.run(input) : step(input)
