/**
 * Checks of what a definition is given, for programs that the compiler has not checked: values in the shapes of other
 * libraries, and schemas of another copy of effect. Everything here throws `InvalidDefinition`.
 */
import * as ByteSize from "effect/ByteSize"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as Version from "effect/Version"
import { InvalidDefinition } from "./invalidDefinition.ts"

/** The kind of a value, for a message. */
export const kindOf = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return "a list"
  if (typeof value === "string") return value === "" ? "an empty text" : "a text"
  if (typeof value === "object") return "an object"
  return `a ${typeof value}`
}

/** A value, for a message: a text cannot be taken for the number in it. */
export const inWords = (value: unknown): string => {
  if (typeof value === "string")
    return `the text ${JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}...` : value)}`
  if (typeof value === "bigint") return `the bigint ${value}`
  return typeof value === "number" || typeof value === "boolean" ? String(value) : kindOf(value)
}

/** What is wrong with a definition, to be thrown. `remedy` is the next step. */
export const invalid = (subject: string, problem: string, remedy: string): InvalidDefinition =>
  new InvalidDefinition({ subject, problem, remedy })

/** Throws unless `value` is a text with something in it. */
export const assertName = (subject: string, value: unknown, remedy: string): void => {
  if (typeof value !== "string") throw invalid(subject, `its name is ${kindOf(value)}, not a text`, remedy)
  if (value.trim() === "") throw invalid(subject, "it has no name", remedy)
}

/** Throws unless `value` is an object with options, all of them known; `hints` names the option to use in place of an unknown one. */
export const assertOptions = (
  subject: string,
  value: unknown,
  known: ReadonlySet<string>,
  hints: Readonly<Record<string, string>> = {}
): void => {
  if (!Predicate.isObject(value)) {
    throw invalid(
      subject,
      `its options are ${kindOf(value)}, not an object`,
      "Give it an object, which may be empty: {}"
    )
  }
  for (const key of Object.keys(value)) {
    if (known.has(key) || (value as Record<string, unknown>)[key] === undefined) continue
    throw invalid(subject, `it has no option "${key}"`, hints[key] ?? `Its options are: ${[...known].join(", ")}`)
  }
}

/** The names of the options `O`. The compiler asks for each of them. */
export const namesOf = <O>(names: { readonly [K in keyof Required<O>]: true }): ReadonlySet<string> =>
  new Set(Object.keys(names))

/** Throws unless `value` is a function. */
export const assertFunction = (subject: string, option: string, value: unknown): void => {
  if (typeof value !== "function") {
    throw invalid(subject, `${option} is ${kindOf(value)}, not a function`, `Give it a function as ${option}`)
  }
}

/** Throws unless `value` is a text, or not given. */
export const assertText = (subject: string, option: string, value: unknown): void => {
  if (value !== undefined && typeof value !== "string") {
    throw invalid(subject, `${option} is ${kindOf(value)}, not a text`, `Give it a text as ${option}`)
  }
}

/** Throws unless `value` is one of `values`, or not given. */
export const assertOneOf = (
  subject: string,
  option: string,
  value: unknown,
  values: ReadonlyArray<string | boolean>
): void => {
  if (value === undefined || values.includes(value as string)) return
  const given = typeof value === "string" || typeof value === "boolean" ? JSON.stringify(value) : kindOf(value)
  throw invalid(subject, `${option} is ${given}`, `Use one of: ${values.map((one) => JSON.stringify(one)).join(", ")}`)
}

/** Throws unless `value` is a list of what `isOne` accepts, or not given. `what` names one of them. */
export const assertList = (
  subject: string,
  option: string,
  value: unknown,
  isOne: (one: unknown) => boolean,
  { remedy, what }: { readonly what: string; readonly remedy: string }
): void => {
  if (value === undefined) return
  if (!Array.isArray(value)) throw invalid(subject, `${option} is ${kindOf(value)}, not a list`, remedy)
  const other = value.findIndex((one) => !isOne(one))
  if (other >= 0) throw invalid(subject, `${option}[${other}] is ${kindOf(value[other])}, not ${what}`, remedy)
}

/** Returns `value` if it is a whole number from `least`, and throws otherwise. */
export const countOf = (subject: string, option: string, value: number, least = 1): number => {
  if (Number.isInteger(value) && value >= least) return value
  throw invalid(subject, `${option} is ${inWords(value)}`, `Use a whole number from ${least}`)
}

/** As {@link countOf}, of a limit that `Infinity` lifts. */
export const limitOf = (subject: string, option: string, value: number, least = 1): number =>
  value === Infinity ? value : countOf(subject, option, value, least)

/** Returns `value` if it is a number from `least` to `most`, and throws otherwise. */
export const numberOf = (subject: string, option: string, value: number, least = 0, most = Infinity): number => {
  if (typeof value === "number" && value >= least && value <= most) return value
  const remedy =
    most === Infinity ? `Use ${least} or more` : `Use a number from ${least} to ${most}, such as ${most * 0.8}`
  throw invalid(subject, `${option} is ${inWords(value)}`, remedy)
}

/** As {@link durationOf}. Throws for one that is not above 0, too. */
export const positiveDurationOf = (subject: string, option: string, input: Duration.Input): Duration.Duration => {
  const duration = durationOf(subject, option, input)
  if (Duration.isPositive(duration)) return duration
  throw invalid(subject, `its ${option} is not above 0`, 'Use milliseconds, or a text such as "30 seconds"')
}

/** Returns the duration that `input` is, and throws for what is not one, or is below 0. */
export const durationOf = (subject: string, option: string, input: Duration.Input): Duration.Duration => {
  const duration = isUnclear(input) ? undefined : Option.getOrUndefined(Duration.fromInput(input))
  if (duration !== undefined && !Duration.isNegative(duration)) return duration
  const problem =
    duration === undefined ? `its ${option} is not a duration: ${inWords(input)}` : `its ${option} is negative`
  throw invalid(subject, problem, 'Use milliseconds, or a text such as "30 seconds"')
}

/** As {@link durationOf}, in milliseconds that a timer of the platform can wait: 24.8 days. It would not wait at all for longer. */
export const timerOf = (subject: string, option: string, input: Duration.Input): number =>
  Math.min(Duration.toMillis(durationOf(subject, option, input)), longest)

/** With room for what is added to a time. */
const longest = 2 ** 31 - 1 - 60_000

const units: ReadonlySet<string> = new Set([
  "weeks",
  "days",
  "hours",
  "minutes",
  "seconds",
  "milliseconds",
  "microseconds",
  "nanoseconds"
])

/** What Effect takes for no time at all: NaN, and an object with a unit that does not exist. */
const isUnclear = (input: unknown): boolean =>
  Number.isNaN(input) ||
  (Predicate.isObject(input) &&
    !Duration.isDuration(input) &&
    Object.entries(input).some(([unit, value]) => !units.has(unit) || Number.isNaN(value)))

/** Returns the number of bytes that `input` is, and throws for what is not a size above 0. */
export const byteSizeOf = (subject: string, option: string, input: ByteSize.Input): bigint => {
  const bytes = Option.getOrUndefined(ByteSize.fromInput(input))
  if (bytes !== undefined && bytes > 0n) return bytes
  throw invalid(subject, `its ${option} is not a size above 0`, 'Use bytes, or a text such as "64 MiB"')
}

const ours = new WeakSet<object>()

/** Throws unless `value` is a schema, made by the copy of effect that we use. */
export const assertSchema = (subject: string, option: string, value: unknown): void => {
  if (!Schema.isSchema(value)) throw notASchema(subject, option, value)
  if (ours.has(value.ast)) return
  if (!isOurs(value.ast, new Set())) {
    throw invalid(
      subject,
      `${option} is a schema of another copy of effect than the one that troupe uses (${Version.getCurrentVersion()})`,
      `Have one copy installed: "npm ls effect" shows who brings which, and effect@${Version.getCurrentVersion()} suits troupe`
    )
  }
  ours.add(value.ast)
}

const notASchema = (subject: string, option: string, value: unknown): InvalidDefinition => {
  const vendor = vendorOf(value)
  if (vendor !== undefined) {
    return invalid(
      subject,
      `${option} is a schema of ${vendor}, not an Effect Schema`,
      "Write it with Schema of effect, such as Schema.Struct({ name: Schema.String })"
    )
  }
  if (Predicate.isObject(value) && Object.values(value).some((field) => Schema.isSchema(field))) {
    return invalid(subject, `${option} is an object of schemas, not a schema`, "Write Schema.Struct({ ... }) around it")
  }
  if (Predicate.isObject(value) && ["type", "properties", "$schema", "anyOf"].some((key) => key in value)) {
    return invalid(
      subject,
      `${option} is a JSON schema, not an Effect Schema`,
      "Write it with Schema of effect, such as Schema.Struct({ name: Schema.String })"
    )
  }
  return invalid(
    subject,
    `${option} is ${kindOf(value)}, not an Effect Schema`,
    "Write it with Schema of effect, such as Schema.Struct({ name: Schema.String })"
  )
}

/** The library whose schema this is, by the mark of Standard Schema, or as Zod's schemas look. */
const vendorOf = (value: unknown): string | undefined => {
  if (Predicate.hasProperty(value, "~standard") && Predicate.hasProperty(value["~standard"], "vendor")) {
    return String(value["~standard"].vendor)
  }
  return Predicate.hasProperty(value, "parse") || Predicate.hasProperty(value, "safeParse")
    ? "another library, perhaps Zod"
    : undefined
}

/** What all nodes of our copy of effect are instances of; one of another copy has the same fields and another class. */
const Node = Object.getPrototypeOf(SchemaAST.Null) as abstract new () => SchemaAST.AST

const isOurs = (ast: SchemaAST.AST, seen: Set<SchemaAST.AST>): boolean => {
  if (seen.has(ast)) return true
  seen.add(ast)
  if (!(ast instanceof Node)) return false
  const links = ast.encoding?.map(({ to }) => to) ?? []
  return [...links, ...partsOf(ast)].every((part) => isOurs(part, seen))
}

const partsOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> => {
  switch (ast._tag) {
    case "Declaration":
      return ast.typeParameters
    case "TemplateLiteral":
      return ast.parts
    case "Arrays":
      return [...ast.elements, ...ast.rest]
    case "Objects":
      return [
        ...ast.propertySignatures.map(({ type }) => type),
        ...ast.indexSignatures.flatMap(({ parameter, type }) => [parameter, type])
      ]
    case "Union":
      return ast.types
    case "Suspend":
      return [ast.thunk()]
    default:
      return []
  }
}
