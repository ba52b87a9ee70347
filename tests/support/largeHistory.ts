/** A conversation of 1 MB, and what it takes an agent to compact it apart from the model, which answers at once. */
import { Effect, Layer, Stream } from "effect"
import { LanguageModel, Prompt } from "effect/ai"
import { Agent, Compaction, Middleware } from "troupe"

const model = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: () => Effect.succeed([{ type: "text", text: "done" }]),
    streamText: () => Stream.empty
  })
)
const compacting = Compaction.make({
  window: 128_000,
  policies: [Compaction.offload({ above: 2_000 }), Compaction.dropOldest]
})
const idle = Middleware.make("idle", { model: (request, next) => next(request) })

/** New messages each time: what is known of messages is kept by them. */
export const largeHistory = (): Prompt.Prompt =>
  Prompt.fromMessages([
    Prompt.userMessage({ content: [Prompt.textPart({ text: "the task" })] }),
    ...Array.from({ length: 240 }, (_, n) => [
      Prompt.assistantMessage({
        content: [Prompt.toolCallPart({ id: `c${n}`, name: "look", params: { n }, providerExecuted: false })]
      }),
      Prompt.toolMessage({
        content: [
          Prompt.toolResultPart({
            id: `c${n}`,
            name: "look",
            isFailure: false,
            providerExecuted: false,
            result: `${n} line `.repeat(n % 8 === 0 ? 4_000 : 450)
          })
        ]
      })
    ]).flat()
  ])

/** What this thread has worked so far, in milliseconds: a machine that is busy with others does not count. */
const worked = (): number => {
  const { system, user } = process.threadCpuUsage()
  return (user + system) / 1000
}

const timeOf = async (middleware: Middleware.Middleware, input: Prompt.Prompt): Promise<number> => {
  const program = Effect.provide(Agent.make("agent", { middleware: [middleware] }).run(input), model)
  const begun = worked()
  await Effect.runPromise(program)
  return worked() - begun
}

/**
 * The best of several runs, in milliseconds: of an agent that compacts the history without one that does not, and of writing the
 * history as JSON, which a server does with each request.
 */
export const measure = async (runs: number): Promise<{ readonly compactMs: number; readonly writeMs: number }> => {
  const best = { compact: Number.POSITIVE_INFINITY, idle: Number.POSITIVE_INFINITY, write: Number.POSITIVE_INFINITY }
  for (let n = 0; n < runs; n++) {
    const [one, other] = [largeHistory(), largeHistory()]
    best.compact = Math.min(best.compact, await timeOf(compacting, one))
    best.idle = Math.min(best.idle, await timeOf(idle, other))
    // Several times: some machines count the time of processes in steps of 10 ms.
    const begun = worked()
    for (let times = 0; times < 8; times++) JSON.stringify(other.content)
    best.write = Math.min(best.write, (worked() - begun) / 8)
  }
  return { compactMs: best.compact - best.idle, writeMs: best.write }
}
