/** Runs branches so that a run in which some of them wait can go on: those that have ended are kept, and not run again. */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RunState } from "../../internal/runState.ts"
import type { Saved } from "../../internal/suspension.ts"
import { goOn, type Kept, suspend } from "../../internal/workflowSuspension.ts"
import { RunSuspended } from "../../RunError.ts"
import * as Group from "./branchGroup.ts"
import { keep, kept, restore, saving } from "./keptValues.ts"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/** A branch that can be run with any input of its kind. */
export interface Branch {
  readonly key: string
  // A method, so that a branch of any input fits: it is run with an input that was given to it, or with a transcript.
  run(input: unknown): AnyEffect
  /** The schema of its output; `undefined` where it is not known. */
  readonly output: Schema.Top | undefined
}

const Ended = Schema.Union([
  Schema.TaggedStruct("output", { value: Schema.Json }),
  Schema.TaggedStruct("failed", { errors: Schema.NonEmptyArray(Schema.Json) })
])
/** How branches have ended, by their keys. */
export const Ends = Schema.Array(Schema.Tuple([Schema.String, Ended]))
type Ends = typeof Ends.Type
const State = Schema.TaggedStruct("branches", {
  keys: Schema.Array(Schema.String),
  ended: Ends,
  /** Inputs of branches that wait, where they can be kept: agents do not need them, functions do. */
  inputs: Schema.Array(Schema.Tuple([Schema.String, Schema.Json]))
})
const decodeState = Schema.decodeUnknownOption(State)

type Outputs = Effect.Effect<ReadonlyArray<readonly [key: string, output: unknown]>, unknown, unknown>

/** Runs the branches, each with its input. */
export const run = (
  branches: ReadonlyArray<Branch & { readonly input: unknown }>,
  settings: Omit<Group.Settings, "known" | "onWaiting">,
  given: unknown
): Outputs =>
  Group.run(
    branches.map((branch): Group.Entry => [branch.key, branch.run(branch.input)]),
    {
      ...settings,
      onWaiting: (waiting) =>
        suspend(settings.state, given, save(waiting, branches, inputsOf(waiting, branches)), waiting.suspended)
    }
  )

/** Goes on with branches of which some wait; `undefined` where what was kept is not of these branches. */
export const resume = (
  saved: Saved,
  branchOf: (key: string) => Branch | undefined,
  settingsFor: (count: number) => Omit<Group.Settings, "known" | "onWaiting">
): Outputs | undefined => {
  const state = Option.getOrUndefined(decodeState(saved.state))
  if (state === undefined || new Set(state.keys).size !== state.keys.length) return undefined
  const branches = state.keys.map(branchOf)
  if (!branches.every((branch) => branch !== undefined)) return undefined
  const settings = settingsFor(branches.length)
  const outputs = new Map(branches.map(({ key, output }) => [key, output]))
  if (!state.ended.every(([key]) => outputs.has(key))) return undefined
  const known = restoreEnds(state.ended, (key) => outputs.get(key))
  if (known === undefined) return undefined
  const members = new Map(saved.members.map((member) => [member.key, member]))
  const inputs = new Map(state.inputs)
  const entries: Array<Group.Entry> = []
  for (const branch of branches) {
    const { key } = branch
    const member = members.get(key)
    if (known.has(key)) entries.push([key, Effect.void])
    else if (member === undefined) return undefined
    else {
      const input = inputs.has(key) ? Option.getOrUndefined(restore(inputs.get(key)!)) : undefined
      entries.push([key, goOn(branch.run(input ?? member.transcript), member, settings.state)])
    }
  }
  return Group.run(entries, {
    ...settings,
    known,
    onWaiting: (waiting) =>
      suspend(settings.state, saved.before, save(waiting, branches, state.inputs), waiting.suspended)
  })
}

type Inputs = (typeof State.Type)["inputs"]

const inputsOf = (
  { suspended }: Group.Waiting,
  branches: ReadonlyArray<Branch & { readonly input: unknown }>
): Inputs => {
  const given = new Map(branches.map(({ input, key }) => [key, input]))
  return suspended.flatMap(({ key }) =>
    Option.match(keep(given.get(key)), { onNone: () => [], onSome: (input) => [[key, input] as const] })
  )
}

const save = ({ known }: Group.Waiting, branches: ReadonlyArray<Branch>, inputs: Inputs): Kept => {
  const outputs = new Map(branches.map(({ key, output }) => [key, output]))
  const keys = branches.map(({ key }) => key)
  return saving((): typeof State.Type => {
    return { _tag: "branches", keys, ended: keptEnds(known, (key) => outputs.get(key)), inputs }
  })
}

type OutputOf = (key: string) => Schema.Top | undefined

/** How branches have ended, as JSON, for the state that `saving` makes. */
export const keptEnds = (known: Iterable<readonly [key: string, known: Group.Known]>, outputOf: OutputOf): Ends =>
  Array.from(known, ([key, one]) =>
    one._tag === "output"
      ? [key, { _tag: "output", value: kept(`the output of "${key}"`, one.output, outputOf(key)) }]
      : [key, { _tag: "failed", errors: Arr.map(one.errors, (error) => kept(`the failure of "${key}"`, error)) }]
  )

/** How branches have ended; `undefined` for JSON that {@link keptEnds} did not make of such branches. */
export const restoreEnds = (ended: Ends, outputOf: OutputOf): ReadonlyMap<string, Group.Known> | undefined => {
  const known = new Map<string, Group.Known>()
  for (const [key, one] of ended) {
    if (one._tag === "output") {
      const output = restore(one.value, outputOf(key))
      if (Option.isNone(output)) return undefined
      known.set(key, { _tag: "output", output: output.value })
    } else {
      const errors = Option.all(one.errors.map((error) => restore(error)))
      if (Option.isNone(errors)) return undefined
      const [first, ...others] = errors.value
      known.set(key, { _tag: "failed", errors: [first, ...others] })
    }
  }
  return known
}

/**
 * Runs one part of a workflow. When it is suspended, so is the workflow, under the name `key`, with what `save` returns of its
 * state.
 */
export const keeping = (effect: AnyEffect, key: string, state: RunState, given: unknown, save: () => Kept): AnyEffect =>
  Effect.catchIf(
    effect,
    (error) => error instanceof RunSuspended,
    (error) => suspend(state, given, save(), [{ key, error: error as RunSuspended }])
  )
