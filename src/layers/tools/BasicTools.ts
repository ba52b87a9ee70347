/**
 * Tools that need nothing but a processor and a clock: a calculator, the time, and the time elsewhere. The toolkit holds
 * definitions of `effect/ai`; the Layer brings their handlers.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { assertOptions, namesOf } from "../../internal/definition.ts"
import { messageOf } from "../../internal/message.ts"
import { InvalidDefinition } from "../../RunError.ts"
import { calculate, maxLength, names } from "./internal/calculate.ts"

/** The expression has no value: it cannot be read, divides by zero, is too large. */
export class CalculatorError extends Schema.TaggedError<CalculatorError>()("CalculatorError", {
  expression: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `"${this.expression}" has no value: ${this.detail}`
  }
}

/** A text that is not a time, or not a time zone. */
export class TimeError extends Schema.TaggedError<TimeError>()("TimeError", { detail: Schema.String }) {
  override get message(): string {
    return this.detail
  }
}

const Zone = Schema.String.check(Schema.isMaxLength(64)).annotate({
  description: "An IANA time zone such as Europe/London, or an offset such as +02:00"
})
const Moment = Schema.Struct({
  time: Schema.String.annotate({ description: "ISO 8601, with the offset" }),
  timeZone: Schema.String,
  weekday: Schema.String
})

/** Calculates. */
export const Calculate = Tool.make("calculate", {
  description: `Calculates exactly. Operators + - * / % ^ !, brackets, constants pi tau e, functions ${names.join(" ")}; angles are in radians`,
  parameters: Schema.Struct({ expression: Schema.String.annotate({ description: `Up to ${maxLength} characters` }) }),
  success: Schema.Struct({ result: Schema.String }),
  failure: CalculatorError,
  failureMode: "return"
}).annotate(Tool.Readonly, true)

/** Tells the time. */
export const CurrentTime = Tool.make("current_time", {
  description: "Tells the date and the time now",
  parameters: Schema.Struct({ timeZone: Schema.optional(Zone) }),
  success: Moment,
  failure: TimeError,
  failureMode: "return"
}).annotate(Tool.Readonly, true)

/** Tells what time it is elsewhere at a given time. */
export const ConvertTime = Tool.make("convert_time", {
  description: "Tells a date and time in another time zone",
  parameters: Schema.Struct({
    time: Schema.String.check(Schema.isMaxLength(64)).annotate({
      description: "ISO 8601, such as 2026-03-29T02:30 or 2026-03-29T02:30:00Z"
    }),
    from: Schema.optional(
      Zone.annotate({ description: "The time zone of a time without offset. Default: as the clock" })
    ),
    to: Zone
  }),
  success: Moment,
  failure: TimeError,
  failureMode: "return"
}).annotate(Tool.Readonly, true)

/** The calculator and the clock. */
export const toolkit = Toolkit.make(Calculate, CurrentTime, ConvertTime)

/** Options of {@link layer}. */
export interface Options {
  /** The zone of results, and of times that are given without an offset. Default: the machine's. */
  readonly timeZone?: string | undefined
}

const known = namesOf<Options>({ timeZone: true })

/**
 * Handlers for {@link toolkit}. They work at both edges and use Effect's clock.
 *
 * The calculator reads expressions with a parser and calls nothing but what its description lists; decimals are exact to
 * 40 digits, expressions have at most 1000 characters, and no result is larger than 10^5000. Throws `InvalidDefinition` for
 * an unknown time zone.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, BasicTools, DemoModel } from "troupe"
 *
 * const agent = Agent.make("agent", { toolkit: BasicTools.toolkit })
 * const answer = agent.run("What is 0.1 + 0.2?").pipe(Effect.provide([DemoModel.layer, BasicTools.layer()]))
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Tool.Handler<"calculate"> | Tool.Handler<"convert_time"> | Tool.Handler<"current_time">> => {
  assertOptions("BasicTools.layer", options, known)
  if (options.timeZone !== undefined && findZone(options.timeZone) === undefined) {
    throw new InvalidDefinition({
      subject: "BasicTools.layer",
      problem: `"${options.timeZone}" is not a time zone`,
      remedy: "Use an IANA name such as Europe/London, or an offset such as +02:00"
    })
  }
  return toolkit.toLayer(
    toolkit.of({
      calculate: ({ expression }) =>
        Effect.try({
          try: () => ({ result: calculate(expression) }),
          catch: (cause) => {
            const detail = messageOf(cause)
            return new CalculatorError({ expression: expression.slice(0, maxLength), detail })
          }
        }),
      current_time: ({ timeZone }) =>
        Effect.flatMap(DateTime.now, (now) =>
          Effect.map(zoneOf(timeZone ?? options.timeZone), (zone) => moment(now, zone))
        ),
      convert_time: ({ from, time, to }) =>
        Effect.gen(function* () {
          const target = yield* zoneOf(to)
          const source = yield* zoneOf(from ?? options.timeZone)
          const at = parse(time.trim(), source)
          if (at !== undefined) return moment(at, target)
          return yield* new TimeError({ detail: `"${time}" is not a time in ISO 8601, or does not exist` })
        })
    })
  )
}

/** An offset has at most 14 hours, though Effect would calculate with more. */
const findZone = (zone: string): DateTime.TimeZone | undefined =>
  /^[+-]/.test(zone) && !/^[+-](0\d|1[0-4]):?[0-5]\d$/.test(zone)
    ? undefined
    : Option.getOrUndefined(DateTime.zoneFromString(zone))

const zoneOf = (zone: string | undefined): Effect.Effect<DateTime.TimeZone, TimeError> => {
  if (zone === undefined) return Effect.sync(DateTime.zoneMakeLocal)
  const found = findZone(zone)
  return found === undefined
    ? Effect.fail(new TimeError({ detail: `"${zone}" is not a time zone: use an IANA name such as Europe/London` }))
    : Effect.succeed(found)
}

const weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

const moment = (time: DateTime.DateTime, zone: DateTime.TimeZone): typeof Moment.Type => {
  const zoned = DateTime.setZone(time, zone)
  const weekday = weekdays[DateTime.toParts(zoned).weekDay]!
  return { time: DateTime.formatIsoOffset(zoned), timeZone: DateTime.zoneToString(zone), weekday }
}

const iso = /^(\d{4})-(\d{2})-(\d{2})([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?(Z|[+-]\d{2}:?\d{2})?$/i

/**
 * A time without offset is on the clock of `zone`; one in an hour that a change of the clock leaves out is read as if
 * the clock had not been changed yet.
 */
const parse = (text: string, zone: DateTime.TimeZone): DateTime.DateTime | undefined => {
  const match = iso.exec(text)
  if (match === null) return undefined
  const [, year, month, day, time, , , offset] = match
  if (Number(day) > daysIn(Number(year), Number(month))) return undefined
  const absolute = offset !== undefined
  const made = absolute
    ? DateTime.make(text.replace(" ", "T"))
    : DateTime.makeZoned(`${text.replace(" ", "T")}${time === undefined ? "T00:00" : ""}Z`, {
        timeZone: zone,
        adjustForTimeZone: true,
        disambiguation: "compatible"
      })
  return Option.getOrUndefined<DateTime.DateTime>(made)
}

/** Days of a month beyond its last would be taken for those of the next one. The calendar repeats in 400 years. */
const daysIn = (year: number, month: number): number => new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate()
