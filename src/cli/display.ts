/** The live region of a terminal that shows what runs: drawn below the cursor's line, and erased before other output. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { RunEvent } from "../RunEvent.ts"
import { lineOf } from "../internal/render.ts"
import { Progress } from "./progress.ts"
import { err } from "./terminal.ts"

/** Shows what runs. */
export interface Display {
  readonly show: (event: RunEvent) => Effect.Effect<void>
  /** Keeps the region away while `effect` uses the terminal. */
  readonly away: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Shows nothing. */
export const silent: Display = { show: () => Effect.void, away: (effect) => effect }

const redrawEvery = "100 millis"

/** Moves to the first column of the first of `lines` lines above, wherever in its line the cursor is, and erases all below. */
export const erase = (lines: number): string => (lines === 0 ? "" : `\r\x1b[${lines}A\x1b[0J`)

/** A live region on a terminal, plain lines elsewhere. `busy` is true while standard output is in the middle of a line. */
export const progress = (busy: () => boolean): Effect.Effect<Display, never, Scope.Scope> =>
  Effect.gen(function* () {
    const state = new Progress()
    const { stderr } = process
    if (stderr.isTTY !== true || process.env["TERM"] === "dumb") {
      const show = (event: RunEvent) => {
        const line = lineOf(event)
        return line === undefined ? Effect.void : err(`${line}\n`)
      }
      return { show, away: (effect) => effect }
    }
    let drawn = 0
    let others = 0
    const take = () => {
      const text = erase(drawn)
      drawn = 0
      return text
    }
    const clear = Effect.suspend(() => (drawn === 0 ? Effect.void : err(take())))
    const draw = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (busy() || others > 0) return Effect.void
      const before = take()
      const lines = state.render(now, (stderr.columns ?? 80) - 1, Math.min(12, (stderr.rows ?? 24) - 1))
      drawn = lines.length
      return err(`${before}${lines.join("\n")}\n`)
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(draw, Effect.sleep(redrawEvery))))
    yield* Effect.addFinalizer(() => clear)
    return {
      show: (event) => {
        state.push(event)
        const writes = event.path.length === 1 && (event._tag === "TextDelta" || event._tag === "RunCompleted")
        return writes ? clear : Effect.void
      },
      away: (effect) =>
        Effect.acquireUseRelease(
          Effect.suspend(() => {
            others++
            return clear
          }),
          () => effect,
          () => Effect.sync(() => others--)
        )
    }
  })
