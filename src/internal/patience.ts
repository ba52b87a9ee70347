/** Time that a person takes to answer, which limits of programs do not count. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Changes } from "./changes.ts"

/** What is asked of people at the moment. */
export class Patience {
  #open = 0
  readonly #changes = new Changes()

  /** Counts a question while its answer is awaited. */
  during<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => this.#count(1)),
      () => effect,
      () => Effect.sync(() => this.#count(-1))
    )
  }

  #count(by: number): void {
    this.#open += by
    this.#changes.notify()
  }

  /** Sleeps for so long, without the time in which a question is open. */
  readonly sleep: (duration: Duration.Duration) => Effect.Effect<void> = Effect.fnUntraced(
    { self: this as Patience },
    function* (duration) {
      let left = Duration.toMillis(duration)
      while (left > 0) {
        if (this.#open > 0) {
          yield* this.#changes.next
          continue
        }
        const began = yield* Clock.currentTimeMillis
        yield* Effect.raceFirst(Effect.sleep(left), this.#changes.next)
        left -= (yield* Clock.currentTimeMillis) - began
      }
    }
  )
}

/** What counts the questions of what runs here. Default: nothing does. */
export const CurrentPatience: Context.Reference<Patience | undefined> = Context.Reference<Patience | undefined>(
  "troupe/internal/Patience",
  { defaultValue: () => undefined }
)

/** Runs what waits for the answer of a person. */
export const patiently = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(CurrentPatience, (patience) => (patience === undefined ? effect : patience.during(effect)))
