/** Work that goes on when a test says so. */
import { Effect } from "effect"
import { Runner } from "troupe"

/** A runner `slow` that returns its input once `release` was called. */
export const gated = () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const slow = Runner.make("slow", {
    run: (text: string) =>
      Effect.as(
        Effect.promise(() => promise),
        text
      )
  })
  return { slow, release: () => resolve() }
}
