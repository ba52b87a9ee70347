/** Time limits by the clock of a program, without a fiber for each. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** The clock of a program that has set no other. */
const live: Clock.Clock = Context.get(Context.empty(), Clock.Clock)

/** The longest that the platform's timers can wait: 24.8 days. A longer limit never fires. */
const longest = 2 ** 31 - 1

const nothing = (): void => {}

/**
 * Calls `fire` after so many milliseconds, unless the function that it returns is called before. Effect's own clock is
 * the platform's timer; a test's clock and that of the sync edge are asked.
 */
export const after = (context: Context.Context<never>, ms: number, fire: () => void): (() => void) => {
  if (ms > longest) return nothing
  const clock = Context.get(context, Clock.Clock)
  if (clock === live) {
    const timer = setTimeout(fire, ms)
    return () => clearTimeout(timer)
  }
  const waiting = Effect.flatMap(clock.sleep(Duration.millis(ms)), () => Effect.sync(fire))
  const sleeper = Effect.runForkWith(context)(waiting)
  return () => sleeper.interruptUnsafe()
}
