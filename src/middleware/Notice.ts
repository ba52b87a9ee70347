/**
 * Notices: tells the model what time it is, where it works, and what is left of steps and budget. A notice stands at the end of a
 * request and is not kept, so that what comes before it stays as it is, for a provider's cache.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import { assertOptions, assertText, invalid, namesOf, numberOf } from "../internal/definition.ts"
import { loopMessage } from "../internal/input.ts"
import * as Middleware from "../Middleware.ts"
import * as Runner from "../Runner.ts"
import * as RunScoped from "./internal/runScoped.ts"

/** Options of {@link make}. */
export interface Options {
  /** From which part of steps or budget on it says what is left, 0 to 1. Default 0.8. 0: at every step. */
  readonly at?: number | undefined
  /** Whether it says the date and the time. Default true. */
  readonly date?: boolean | undefined
  /** The time zone, such as "Europe/Berlin". Default: that of the process. */
  readonly zone?: string | undefined
  /** The directory that the agent works in. Default: it says none. */
  readonly directory?: string | undefined
  /** More to say at each step; `undefined` for nothing. It must be quick. */
  readonly text?: ((request: Middleware.ModelRequest) => string | undefined) | undefined
}

const known = namesOf<Options>({ at: true, date: true, zone: true, directory: true, text: true })

type Remaining = Effect.Success<typeof Runner.remaining>

/**
 * Makes the middleware that adds notices. What is left of budgets is that of `Runner.withBudget`, as it was when the run began.
 * Throws `InvalidDefinition` for an `at` that is not a part, and for an unknown time zone.
 *
 * @example
 * import { Agent, Notice } from "troupe"
 *
 * const agent = Agent.make("agent", { middleware: [Notice.make({ at: 0.8, zone: "Europe/Berlin", directory: "/srv/app" })] })
 */
export const make = (options: Options = {}): Middleware.Middleware => {
  const { at = 0.8, date = true, directory, text, zone } = options
  const subject = "notice"
  assertOptions(subject, options, known)
  assertText(subject, "directory", directory)
  assertText(subject, "zone", zone)
  numberOf(subject, "at", at, 0, 1)
  const clock = date ? clockOf(subject, zone) : undefined
  const given = RunScoped.make<{ readonly atStart: Remaining }>("notice")
  return Middleware.make("notice", {
    run: (run, next) => Effect.flatMap(Runner.remaining, (atStart) => given.provide(next(run), { atStart })),
    model: (request, next) =>
      Effect.gen(function* () {
        const left = yield* Runner.remaining
        const { atStart = left } = (yield* given.get) ?? {}
        const lines = [
          clock === undefined ? undefined : clock(yield* Clock.currentTimeMillis),
          directory === undefined ? undefined : `The working directory is ${directory}.`,
          ...leftOf(request, left, atStart, at),
          text?.(request)
        ].filter((line) => line !== undefined && line !== "")
        if (lines.length === 0) return yield* next(request)
        const notice = loopMessage(`[Notice] ${lines.join(" ")}`)
        return yield* next({ ...request, prompt: Prompt.fromMessages([...request.prompt.content, notice]) })
      })
  })
}

/** Says the time, to the minute. */
const clockOf = (subject: string, zone: string | undefined): ((now: number) => string) => {
  try {
    const format = new Intl.DateTimeFormat("en-GB", {
      dateStyle: "full",
      timeStyle: "short",
      ...(zone === undefined ? {} : { timeZone: zone })
    })
    const { timeZone } = format.resolvedOptions()
    return (now) => `It is ${format.format(now)} (${timeZone}).`
  } catch {
    throw invalid(subject, `there is no time zone "${zone}"`, 'Give the name of one, such as "Europe/Berlin"')
  }
}

/** What is left of steps and budget, as far as the part `at` of it is used. */
const leftOf = (
  { maxSteps, step }: Middleware.ModelRequest,
  left: Remaining,
  atStart: Remaining,
  at: number
): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const isLow = (now: number, before: number) => before <= 0 || now <= before * (1 - at)
  if (maxSteps !== undefined && (step >= maxSteps || isLow(maxSteps - step + 1, maxSteps))) {
    lines.push(`This is step ${step} of ${maxSteps}.${step === maxSteps ? " It is the last one." : ""}`)
  }
  const say = (now: number | undefined, before: number | undefined, what: (now: number) => string) => {
    if (now !== undefined && before !== undefined && isLow(now, before)) lines.push(`${what(now)} left in the budget.`)
  }
  say(left.tokens, atStart.tokens, (now) => `${Math.max(0, Math.floor(now))} tokens are`)
  say(left.cost, atStart.cost, (now) => `${Math.max(0, now).toFixed(4)} US dollars are`)
  say(left.steps, atStart.steps, (now) => `${Math.max(0, now)} steps are`)
  say(left.toolCalls, atStart.toolCalls, (now) => `${Math.max(0, now)} tool calls are`)
  const { time } = left
  if (time !== undefined && atStart.time !== undefined) {
    say(
      Duration.toSeconds(time),
      Duration.toSeconds(atStart.time),
      (now) => `${Math.max(0, Math.floor(now))} seconds are`
    )
  }
  return lines
}
