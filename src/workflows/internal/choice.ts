/**
 * Asks a model for a choice by name, and decodes its answer leniently: an invalid part that decides nothing does not
 * void the choice.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { parseJson } from "../../internal/json.ts"
import { lenient, readBy } from "../../internal/reading.ts"

/** A route as the classifier named it, and how sure it was. */
export interface Choice {
  readonly route: string
  /** From 0 to 1; 0 where the answer has no confidence that can be read. */
  readonly confidence: number
}

/** No route was named. */
export const none: Choice = { route: "", confidence: 0 }

type Names = ReadonlyArray<string>

/** The name of `names` that a text matches: exactly, or as the only one up to case and surrounding space. */
export const nameIn = (names: Names, given: string): string | undefined => {
  if (names.includes(given)) return given
  const plain = plainOf(given)
  const alike = names.filter((name) => plainOf(name) === plain)
  return alike.length === 1 ? alike[0] : undefined
}

const plainOf = (name: string): string =>
  name
    .trim()
    .replace(/^(["'`])(.*)\1$/s, "$2")
    .trim()
    .toLowerCase()

const isConfidence = (value: number | undefined): value is number => value !== undefined && value >= 0 && value <= 1

const Confidence = Schema.Finite.annotate({ description: "How sure you are, from 0 to 1" })
/** Unread, it says nothing. */
const Unsure = lenient(Schema.Finite, 0)
const Sure = Schema.Finite.check(
  Schema.makeFilter((n) => (isConfidence(n) ? undefined : "Expected a number from 0 to 1"))
)

const noRoute = (names: Names): string => `Expected one of: ${names.join(", ")}`
const problemOf = (names: Names, route: string): string | undefined =>
  nameIn(names, route) === undefined ? noRoute(names) : undefined

/**
 * The schema of one choice. With a threshold the confidence decides too, so an answer without one is refused. The range
 * is in words: some servers refuse `minimum` and `maximum`.
 */
export const one = (names: Names, description: string, threshold: number) =>
  readBy(
    Schema.Struct({ route: Schema.Literals(names).annotate({ description }), confidence: Confidence }),
    Schema.Struct({
      route: Schema.String.check(Schema.makeFilter((route) => problemOf(names, route))),
      confidence: threshold > 0 ? Sure : Unsure
    })
  )

/** The schema of several choices. An item that cannot be read is left out; an answer of such items alone is refused. */
export const several = (names: Names, description: string) =>
  readBy(
    Schema.Struct({
      routes: Schema.Array(Schema.Struct({ route: Schema.Literals(names), confidence: Confidence })).annotate({
        description
      })
    }),
    Schema.Struct({
      routes: Schema.Array(
        Schema.Struct({ route: Schema.String, confidence: Unsure }).pipe(
          Schema.catchDecoding(() => Effect.succeed(Option.some(none)))
        )
      ).check(
        Schema.makeFilter((items) =>
          items.length === 0 || items.some(({ route }) => nameIn(names, route) !== undefined)
            ? undefined
            : noRoute(names)
        )
      )
    })
  )

/** The choice in an answer that fits its schema. A number out of range is ignored: 9 may mean 9 of 10. */
export const read = (
  names: Names,
  { confidence, route }: { readonly route: string; readonly confidence?: number | undefined }
): Choice => ({ route: nameIn(names, route) ?? route.trim(), confidence: isConfidence(confidence) ? confidence : 0 })

/** The choice in an answer that does not fit its schema: the route that it names, or else the whole answer. */
export const readText = (names: Names, text: string): Choice => {
  const given = parseJson(text)
  const route = Predicate.hasProperty(given, "route") && typeof given.route === "string" ? given.route : text
  return { route: nameIn(names, route) ?? text.trim(), confidence: 0 }
}
