/** How a function refuses its options. */
import { Cause, Effect, Exit, Layer, Stream } from "effect"
import { Agent } from "troupe"

const agent = Agent.make("agent", { description: "Answers" })

/** What a call says to its options: the problem, whether it throws it, or what it makes fails with it. */
export const answerTo = (call: () => unknown): Effect.Effect<string> =>
  Effect.gen(function* () {
    const given = call()
    // Data last.
    const made: unknown = typeof given === "function" ? given(agent) : given
    if (Layer.isLayer(made)) return yield* Effect.scoped(Layer.build(made as Layer.Layer<unknown>))
    if (Stream.isStream(made)) return yield* Stream.runDrain(made as Stream.Stream<unknown>)
    return Effect.isEffect(made) ? yield* made as Effect.Effect<unknown> : made
  }).pipe(
    Effect.timeoutOption("2 seconds"),
    Effect.exit,
    Effect.map((exit) => (Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it was accepted"))
  )
