/**
 * Messages for a run that is under way: steer it, or queue what it is to do next. The agent that has the conversation takes
 * them.
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Prompt from "effect/ai/Prompt"
import * as Stream from "effect/Stream"
import { CurrentMail, type Delivery, Mail } from "./internal/inbox.ts"

export type { Delivery } from "./internal/inbox.ts"

const TypeId = "~troupe/Inbox"

/** Takes messages for the runs that listen to it. */
export interface Inbox {
  readonly [TypeId]: typeof TypeId
  /**
   * Sends a message that the agent takes before its next model call, after the tool calls that are under way. One that comes
   * while the agent gives its last answer is taken as well: the run goes on. Succeeds once it is known what became of the
   * message: `"undelivered"` where the run ended without it, or none listens any more. Before a first run listens, it waits.
   *
   * Interrupting it takes the message back, unless it was taken. In a tool of the run itself it does not wait. A message that
   * is not a user's is a defect.
   */
  readonly steer: (prompt: Prompt.RawInput) => Effect.Effect<Delivery>
  /**
   * Sends a message that the agent takes when its run would end, in place of ending: the run goes on with it, and its output is
   * the answer to the last message. Messages are taken one by one, in the order sent, each with as many steps as a run has.
   * Otherwise as `steer`.
   */
  readonly queue: (prompt: Prompt.RawInput) => Effect.Effect<Delivery>
  /** @internal */
  readonly mail: Mail
}

/**
 * Makes an inbox.
 *
 * @example
 * import { Effect, Fiber } from "effect"
 * import { Agent, Inbox } from "troupe"
 *
 * const agent = Agent.make("writer", { instructions: "You write." })
 * const program = Effect.gen(function* () {
 *   const inbox = yield* Inbox.make
 *   const fiber = yield* Effect.forkChild(agent.run("Write a report.").pipe(Inbox.listen(inbox)))
 *   const delivery = yield* inbox.steer("Keep it short.")
 *   return [delivery, yield* Fiber.join(fiber)]
 * })
 */
export const make: Effect.Effect<Inbox> = Effect.sync(() => {
  const mail = new Mail()
  return {
    [TypeId]: TypeId,
    steer: (prompt) => mail.send("steer", prompt),
    queue: (prompt) => mail.send("queue", prompt),
    mail
  }
})

type Run = Effect.Effect<unknown, unknown, unknown> | Stream.Stream<unknown, unknown, unknown>

/**
 * Has a run listen to an inbox: an Effect or a stream of a runner. The agent that has the conversation listens: the agent that
 * is run, in `Handoffs` the current one, in `Runner.orElse` the one at work. Agents that are tools, branches, steps or judges
 * do not. Each message that is taken is an `InputReceived` event and stands in the transcript. In a run that is retried the
 * next attempt takes it again.
 *
 * @example
 * import { Effect, Stream } from "effect"
 * import { Agent, Inbox } from "troupe"
 *
 * const agent = Agent.make("writer", {})
 * const events = Effect.map(Inbox.make, (inbox) => agent.stream("Hello").pipe(Inbox.listen(inbox), Stream.runCollect))
 */
export const listen: {
  (inbox: Inbox): <T extends Run>(run: T) => T
  <T extends Run>(run: T, inbox: Inbox): T
} = dual(2, (run: Run, { mail }: Inbox): Run => {
  const open = Effect.sync(() => mail.open())
  const close = () => Effect.sync(() => mail.close())
  return Effect.isEffect(run)
    ? Effect.acquireUseRelease(open, () => Effect.provideService(run, CurrentMail, mail), close)
    : Stream.unwrap(Effect.as(Effect.acquireRelease(open, close), Stream.provideService(run, CurrentMail, mail)))
})
