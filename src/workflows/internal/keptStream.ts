/**
 * Runs a stream of inputs so that a run in which some of them wait can go on: the outputs that were made are kept, and come again
 * without being made again.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { RunState } from "../../internal/runState.ts"
import type { Saved } from "../../internal/suspension.ts"
import { goOn, type Kept, suspend, type WaitingMember } from "../../internal/workflowSuspension.ts"
import { CannotResume } from "../../RunError.ts"
import * as BoundedStream from "./boundedStream.ts"
import type { Known } from "./branchGroup.ts"
import { Ends, keptEnds, restoreEnds } from "./keptBranches.ts"
import { formOf, keep, restore, saving } from "./keptValues.ts"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

type AnyStream = Stream.Stream<unknown, unknown, unknown>

/** A stream of inputs, what is done with each, and what with the outputs. Methods, so that functions of any inputs and outputs fit. */
export interface Spec {
  readonly window: BoundedStream.Settings
  work(input: unknown): AnyEffect
  /** The schema of an output; `undefined` where it is not known. */
  readonly output: Schema.Top | undefined
  inputs(input: unknown): AnyStream
  into(outputs: AnyStream): AnyEffect
  /** How many outputs are kept at most. */
  readonly keep: number
}

const State = Schema.TaggedStruct("stream", { input: Schema.Json, ended: Ends })
const decodeState = Schema.decodeUnknownOption(State)

/** What a run goes on from. */
interface Begun {
  readonly input: unknown
  /** What it was given; the messages of the run that went on. */
  readonly given: unknown
  readonly known: ReadonlyMap<string, Known>
  readonly members: ReadonlyMap<string, Saved["members"][number]>
}

/** Runs a stream from its beginning. */
export const run = (spec: Spec, input: unknown, state: RunState): AnyEffect =>
  runFrom(spec, { input, given: input, known: new Map(), members: new Map() }, state)

/** Goes on with a stream in which some inputs wait; `undefined` where what was kept is not of such a stream. */
export const resume = (spec: Spec, saved: Saved, state: RunState): AnyEffect | undefined => {
  const kept = Option.getOrUndefined(decodeState(saved.state))
  if (kept === undefined || kept.ended.length > spec.keep) return undefined
  const input = restore(kept.input)
  const known = restoreEnds(kept.ended, () => spec.output)
  if (Option.isNone(input) || known === undefined) return undefined
  if (!spec.window.settles && [...known.values()].some(({ _tag }) => _tag === "failed")) return undefined
  const members = new Map(saved.members.map((member) => [member.key, member]))
  return runFrom(spec, { input: input.value, given: saved.before, known, members }, state)
}

const runFrom = (spec: Spec, begun: Begun, state: RunState): AnyEffect =>
  Effect.suspend(() => {
    const { window } = spec
    const ends = new Ended(spec, begun)
    const left = new Set(begun.members.keys())
    const one = (input: unknown, key: string): AnyEffect => {
      const member = begun.members.get(key)
      if (member === undefined) return spec.work(input)
      left.delete(key)
      return goOn(spec.work(input), member, state)
    }
    const onItem: BoundedStream.Settings["onItem"] = (index, status, done) =>
      state.events.emit({ _tag: "ItemCompleted", item: String(index), status, done })
    const outputs = BoundedStream.make(spec.inputs(begun.input), one, { ...window, onItem, holding: ends })
    const waiting = (): AnyEffect | undefined =>
      ends.suspended && suspend(state, begun.given, ends.kept(), ends.suspended)
    return Effect.matchCauseEffect(spec.into(outputs), {
      // Outputs that end because some inputs wait are not all of them, even if they were consumed to their end.
      onSuccess: (value) => waiting() ?? unlessLeft(left, begun, state, value),
      onFailure: (cause) => (Cause.hasInterruptsOnly(cause) ? waiting() : undefined) ?? Effect.failCause(cause)
    })
  })

/** The output, unless an input that waited has not come again. */
const unlessLeft = (
  left: ReadonlySet<string>,
  { members }: Begun,
  { info: { path } }: RunState,
  value: unknown
): AnyEffect => {
  const member = [...left].map((key) => members.get(key)!)[0]
  if (member === undefined) return Effect.succeed(value)
  const problem = `its inputs ended before number ${member.key}, which waits: they have to be the same again`
  return Effect.fail(new CannotResume({ path, waiting: [...path, ...member.at], problem }))
}

/** How the inputs have ended, as far as that is kept, and which of them wait. */
class Ended implements BoundedStream.Holding {
  readonly #spec: Spec
  readonly #input: unknown
  readonly known: ReadonlyMap<string, Known>
  readonly #ends: Map<string, Known>
  /** Whether there are more than are kept. */
  #isBeyond = false
  suspended: readonly [WaitingMember, ...ReadonlyArray<WaitingMember>] | undefined

  constructor(spec: Spec, { input, known }: Begun) {
    this.#spec = spec
    this.#input = input
    this.known = known
    this.#ends = new Map(known)
  }

  onEnd(key: string, known: Known): void {
    if (this.#isBeyond) return
    this.#ends.set(key, known)
    if (this.#ends.size <= this.#spec.keep) return
    // Without all of them the others are of no use.
    this.#isBeyond = true
    this.#ends.clear()
  }

  onWaiting(suspended: readonly [WaitingMember, ...ReadonlyArray<WaitingMember>]): void {
    this.suspended = suspended
  }

  kept(): Kept {
    const most = this.#spec.keep
    if (most === 0) return { problem: "the outputs that have come are not kept: say with keep how many may be" }
    if (this.#isBeyond) return { problem: `more than ${most} outputs have come, and keep is ${most}` }
    const input = keep(this.#input)
    if (Option.isNone(input)) {
      return {
        problem: `its input cannot be kept as JSON, because it is ${formOf(this.#input)}; have inputs make the stream`
      }
    }
    return saving((): typeof State.Type => {
      return { _tag: "stream", input: input.value, ended: keptEnds(this.#ends, () => this.#spec.output) }
    })
  }
}
