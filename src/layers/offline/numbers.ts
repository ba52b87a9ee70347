/** Finds the number of one property: by the words beside it, by its unit, or else in order. Pure. */
import type { NumberFact } from "./facts.ts"
import { concept } from "./concepts.ts"
import { free, type Property, type Source, take } from "./source.ts"
import { num, type Schema, typeOf } from "./schema.ts"
import { identifierWords, keyStems, stem, words } from "./text.ts"
import { overlaps } from "./facts.ts"

const units: ReadonlyArray<readonly [name: RegExp, unit: RegExp]> = [
  [/age|years?/i, /^(?:years?|yrs?|yo|year-old|y)$/i],
  [
    /price|cost|amount|budget|total|fee|salary|balance|pay/i,
    /^(?:[$€£¥₹]|usd|eur|gbp|dollars?|euros?|pounds?|bucks|yen|brl|reais)$/i
  ],
  [
    /distance|km|kilometers?|mile|length|height|width|depth/i,
    /^(?:km|kilomet\w+|miles?|mi|m|met(?:er|re)s?|cm|ft|feet|foot|inch\w*|yards?)$/i
  ],
  [/temp|celsius|fahrenheit|degree/i, /^(?:°\s?[cfk]|degrees?|celsius|fahrenheit|kelvin|[cf])$/i],
  [/weight|mass|kg|kilo/i, /^(?:kg|kilos?|kilograms?|g|grams?|lbs?|pounds?|oz|ounces?|tons?|tonnes?)$/i],
  [/percent|rate|discount|tip|tax|interest|share|ratio/i, /^(?:%|percent|‰|pct)$/i],
  [/minutes?|duration/i, /^(?:min|mins|minutes?)$/i],
  [/hours?|duration/i, /^(?:h|hrs?|hours?)$/i],
  [/seconds?|timeout|duration/i, /^(?:s|secs?|seconds?)$/i],
  [/days?|duration/i, /^days?$/i],
  [/nights?/i, /^nights?$/i],
  [/months?|term/i, /^months?$/i],
  [
    /people|guests?|party|persons?|passengers?|attendees|seats|adults/i,
    /^(?:people|guests?|persons?|passengers?|attendees|adults?|of|seats?)$/i
  ],
  [/quantity|count|items?|qty|units/i, /^(?:items?|pieces?|units?|copies|boxes|pcs|bottles?|x)$/i]
]

const inRange = (value: number, schema: Schema): boolean =>
  value >= (num(schema, "minimum") ?? -Infinity) &&
  value <= (num(schema, "maximum") ?? Infinity) &&
  value > (num(schema, "exclusiveMinimum") ?? -Infinity) &&
  value < (num(schema, "exclusiveMaximum") ?? Infinity) &&
  (typeOf(schema) !== "integer" || Number.isInteger(value))

/** How strongly the words around a number point at the property. */
const closeness = (fact: NumberFact, property: Property, source: Source): number => {
  const text = source.facts.text
  const name = identifierWords(property.name)
  const wanted = new Set(name.filter((word) => word.length > 1).map(stem))
  const near = new Set([...wanted].flatMap((item) => [...concept(item)]))
  const before = words(
    text
      .slice(Math.max(0, fact.start - 40), fact.start)
      .split(/[.;,\n]/)
      .at(-1) ?? ""
  )
    .slice(-3)
    .toReversed()
  const behind = words(text.slice(fact.end, fact.end + 40).split(/[.;,\n]/)[0] ?? "").slice(0, 2)
  let score = 0
  before.forEach((word, i) => {
    if (wanted.has(stem(word))) score = Math.max(score, 4 - i)
    else if (near.has(stem(word))) score = Math.max(score, 1.5 - i * 0.4)
  })
  behind.forEach((word, i) => {
    if (wanted.has(stem(word))) score = Math.max(score, 3.5 - i)
    else if (near.has(stem(word))) score = Math.max(score, 1.2 - i * 0.4)
  })
  const unit = fact.unit
  if (unit !== undefined) {
    if (units.some(([pattern, of]) => pattern.test(property.name) && of.test(unit))) score = Math.max(score, 3)
  }
  return score
}

/** True for a date that is written as one; the date library also takes `5 from 20` for a time. */
export const isWritten = (text: string): boolean =>
  /\d{4}[-/.]\d|\d[/.]\d{1,2}[/.]\d|\d:\d\d|\d\s?[ap]\.?m\b|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun/i.test(
    text
  )

/** Finds a number for a property. With `strict`, only one that the text ties to the property's name. */
export const pickNumber = (property: Property, schema: Schema, source: Source, strict: boolean): number | undefined => {
  if (strict && source.given.length > 0) return undefined
  const all = free(source.facts.numbers, source)
  const adjust = (fact: NumberFact): number => {
    const maximum = num(schema, "maximum")
    return fact.unit === "%" && ((maximum !== undefined && maximum <= 1) || /fraction|probability/i.test(property.name))
      ? fact.value / 100
      : fact.value
  }
  const fitting = all.filter((fact) => inRange(adjust(fact), schema))
  const scored = fitting
    .map((fact) => ({ fact, score: closeness(fact, property, source) }))
    .toSorted((a, b) => b.score - a.score || a.fact.start - b.fact.start)
  const best = scored[0]
  if (best !== undefined && best.score >= 1.2) {
    take(best.fact, source)
    return adjust(best.fact)
  }
  if (strict) return undefined
  const given = source.given.findIndex((value) => inRange(value, schema))
  if (given !== -1) return source.given.splice(given, 1)[0]
  if (source.mode === "output") {
    // A number of the text that nothing ties to the property is taken only when it is the only one.
    const described = new Set(keyStems(`${property.description} ${source.task}`))
    const near = fitting.find((fact) =>
      words(source.facts.text.slice(Math.max(0, fact.start - 40), fact.end + 25)).some(
        (word) => described.has(stem(word)) && stem(word).length > 2
      )
    )
    const only = near ?? (fitting.length === 1 ? fitting[0] : undefined)
    return only === undefined ? undefined : adjust(take(only, source) ?? only)
  }
  const dated = source.facts.dates.filter((date) => isWritten(date.text))
  const chosen = fitting.find((fact) => !dated.some((date) => overlaps(fact, date)))
  // An optional number is left out when no word names it, unless nothing else could take it.
  if (chosen === undefined || (!property.required && property.siblings.length > 0)) return undefined
  take(chosen, source)
  return adjust(chosen)
}
