/** Fills the JSON schema of a structured answer from a conversation. Pure; the result is checked before it is given. */
import { answer, material } from "./answer.ts"
import type { Conversation } from "./conversation.ts"
import { facts } from "./facts.ts"
import { find } from "./fill.ts"
import { force, type Found } from "./force.ts"
import { validator } from "./libraries.ts"
import { prepare as rank, type Ranked } from "./rank.ts"
import { aspectsOf, type Finding, prepare, review } from "./review.ts"
import type { Schema } from "./schema.ts"
import type { Source } from "./source.ts"

const once = <A>(make: () => A): (() => A) => {
  let made: { readonly value: A } | undefined
  return () => (made ??= { value: make() }).value
}

const numbersIn = (value: unknown, out: Array<number> = []): Array<number> => {
  if (typeof value === "number" && Number.isFinite(value)) out.push(value)
  else if (typeof value === "object" && value !== null)
    for (const item of Object.values(value).slice(0, 100)) numbersIn(item, out)
  return out
}

/** An instance of `schema`; `undefined` when none was found by rule. `now` is the clock in milliseconds. */
export const fillOutput = (schema: Schema, conversation: Conversation, now: number): Found | undefined => {
  const text = material(conversation)
  const about = `${conversation.task} ${conversation.instructions}`
  const shared = {
    mode: "output",
    root: schema,
    facts: facts(text, now),
    text,
    task: conversation.task,
    instructions: conversation.instructions,
    toolStems: new Set<string>(),
    knownStems: new Set<string>(),
    ranked: once<Ranked>(() => rank(text)),
    findings: once<ReadonlyArray<Finding>>(() => review(prepare(text), aspectsOf(about))),
    answer: once(() => answer(conversation))
  } as const
  const fresh = (): Source => ({
    ...shared,
    used: [],
    given: conversation.results.flatMap((result) => (result.isFailure ? [] : numbersIn(result.result))).slice(0, 100)
  })
  const property = { name: "", description: "", required: true, siblings: [] }
  const attempts: ReadonlyArray<() => unknown> = [
    () => {
      const source = fresh()
      return force(schema, property, source, 0, find(schema, property, source, 0))
    },
    () => force(schema, property, fresh(), 0)
  ]
  for (const attempt of attempts) {
    const value = attempt()
    if (isInstance(schema, value)) return { value }
  }
  return undefined
}

const isInstance = (schema: Schema, value: unknown): boolean => {
  try {
    return new (validator())(schema, "2020-12").validate(value).valid
  } catch {
    // A schema that cannot be checked is left to the caller's decoder.
    return true
  }
}
