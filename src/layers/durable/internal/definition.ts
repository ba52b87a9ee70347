/** What a durable definition is made of: its fingerprint, and how its inputs, outputs and errors become JSON and back. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { assertFunction, assertName, assertOptions, assertText } from "../../../internal/definition.ts"
import { exactJson, hash } from "../../../internal/fingerprint.ts"
import { encodeError } from "../../../internal/json.ts"
import { codec } from "../../../internal/jsonForm.ts"
import { decodeKnown } from "../../../internal/knownErrors.ts"
import { messageOf } from "../../../internal/message.ts"
import { inputOf, outputOf } from "../../../internal/runnerSchemas.ts"
import { isStorable } from "../../../internal/storable.ts"
import type { Drawable, Structure } from "../../../internal/structure.ts"
import { DurableError, InvalidDefinition, type OutcomeUnknown } from "../../../RunError.ts"
import * as Runner from "../../../Runner.ts"
import type { Answer, Kind } from "./engine.ts"

/** A durable definition, with its types erased. */
export interface Definition extends Kind {
  readonly runner: Runner.Any
  readonly keyOf: (input: unknown) => Effect.Effect<string, DurableError>
  readonly input: Coding
  readonly output: Coding
  readonly encodeError: (error: unknown) => Schema.Json
  readonly decodeError: (json: Schema.Json) => unknown
  readonly onUnknown: (question: OutcomeUnknown) => Effect.Effect<Answer | undefined>
}

/** How values of a run become JSON and back. The key is for errors. */
export interface Coding {
  readonly encode: (key: string, value: unknown) => Effect.Effect<Schema.Json, DurableError>
  readonly decode: (key: string, json: Schema.Json) => Effect.Effect<unknown, DurableError>
}

/** The options of a definition, with their types erased. */
export interface Options {
  readonly name: string
  readonly version: string
  readonly key: (input: never) => string
  readonly input?: unknown
  readonly output?: unknown
  readonly error?: unknown
  readonly onUnknown?: unknown
}

const known: ReadonlySet<string> = new Set(["error", "input", "key", "name", "onUnknown", "output", "version"])

/** How long keys and names may be. */
const maxKey = 512
/** How long an input, an output or a value that is given may be, as JSON: a kept run is read again and again. */
export const maxJson = 8_000_000

/** Makes a definition. Throws `InvalidDefinition` for options that are not valid. */
export const define = (runner: unknown, options: Options): Definition => {
  assertOptions("a durable run", options, known)
  const subject = `durable run "${options.name}"`
  assertName("a durable run", options.name, 'Give it one: Durable.make(runner, { name: "orders", version: "1", key })')
  if (!isStorable(options.name)) {
    throw new InvalidDefinition({
      subject,
      problem: "its name has a NUL or half of a surrogate pair in it, which databases do not keep",
      remedy: "Give it another name"
    })
  }
  assertText(subject, "version", options.version)
  assertFunction(subject, "key", options.key)
  if (!Runner.isRunner(runner)) {
    throw new InvalidDefinition({
      subject,
      problem: "its first argument is not a runner",
      remedy: "Give it an agent, a workflow or Runner.make(...)"
    })
  }
  const key = options.key as (input: unknown) => string
  const error = schemaOf(subject, "error", options.error, undefined)
  return {
    name: options.name,
    fingerprint: fingerprintOf(runner, options),
    runner,
    onUnknown: onUnknownOf(subject, options.onUnknown),
    keyOf: (input) =>
      Effect.flatMap(
        Effect.sync(() => key(input)),
        (given) => checkedKey(options.name, given)
      ),
    input: codingOf("input", schemaOf(subject, "input", options.input, inputOf(runner))),
    output: codingOf("output", schemaOf(subject, "output", options.output, outputOf(runner))),
    encodeError: (value) =>
      error !== undefined && Schema.is(error)(value)
        ? { own: Schema.encodeUnknownSync(error as Schema.Codec<unknown, Schema.Json>)(value) }
        : encodeError(value),
    decodeError: (json) =>
      error !== undefined && Predicate.hasProperty(json, "own")
        ? Schema.decodeUnknownSync(error as Schema.Codec<unknown, unknown>)(json.own)
        : decodeKnown(json)
  }
}

/** Its services are those of the process, which are given with the call. */
const onUnknownOf = (subject: string, given: unknown): Definition["onUnknown"] => {
  if (given === undefined) return () => Effect.succeed(undefined)
  assertFunction(subject, "onUnknown", given)
  return given as Definition["onUnknown"]
}

const schemaOf = (
  subject: string,
  option: string,
  given: unknown,
  found: Schema.Top | undefined
): Schema.Top | undefined => {
  const schema = (given as Schema.Top | undefined) ?? found
  return schema === undefined ? undefined : codec(subject, schema, option)
}

const checkedKey = (name: string, key: unknown): Effect.Effect<string, DurableError> =>
  typeof key === "string" && key !== "" && key.length <= maxKey && isStorable(key)
    ? Effect.succeed(key)
    : Effect.fail(
        new DurableError({
          reason: "engine",
          key: "",
          problem: `the key of this run of "${name}" is not a text of 1 to ${maxKey} whole characters without NUL`,
          remedy: "Return one from the option key"
        })
      )

const codingOf = (what: string, schema: Schema.Top | undefined): Coding => {
  const fail = (key: string, cause: unknown) =>
    new DurableError({
      reason: "engine",
      key,
      problem: `the ${what} cannot be kept as JSON: ${messageOf(cause)}`,
      remedy: `Give Durable.make a schema for the ${what}`
    })
  const limited = (key: string, json: Schema.Json | undefined): Effect.Effect<Schema.Json, DurableError> => {
    if (json === undefined) return Effect.fail(fail(key, new Error("it is not JSON, and no schema is known")))
    const length = JSON.stringify(json).length
    return length <= maxJson
      ? Effect.succeed(json)
      : Effect.fail(fail(key, new Error(`it has ${length} characters, and at most ${maxJson} are kept`)))
  }
  const by = schema as Schema.Codec<unknown, Schema.Json> | undefined
  return {
    encode: (key, value) =>
      by === undefined
        ? limited(key, value === undefined ? null : exactJson(value))
        : Effect.flatMap(
            Effect.mapError(Schema.encodeUnknownEffect(by)(value), (cause) => fail(key, cause)),
            (json) => limited(key, json)
          ),
    decode: (key, json) =>
      by === undefined
        ? Effect.succeed(json)
        : Effect.mapError(Schema.decodeUnknownEffect(by)(json), (cause) => fail(key, cause))
  }
}

/** Equal for definitions of the same name, version, structure and tools. */
const fingerprintOf = (runner: Runner.Any, { name, version }: Options): string =>
  hash([name, version, structureOf(runner, [])])

const structureOf = (runner: Drawable, above: ReadonlyArray<Drawable>): Schema.Json => {
  if (above.includes(runner)) return runner.name
  const { kind, members, note }: Structure = runner.definition.structure()
  return {
    name: runner.name,
    kind,
    note: note ?? null,
    members: members.map((member) => ({
      name: member.name,
      role: member.role ?? null,
      handsOffTo: member.handsOffTo ?? null,
      parameters: member.parameters?.() ?? null,
      runner: member.runner === undefined ? null : structureOf(member.runner, [...above, runner])
    }))
  }
}
