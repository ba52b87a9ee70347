/** Random conversations: what users say, answers, and tool calls with results of any size. */
import { Schema } from "effect"
import { Prompt } from "effect/ai"
import { Compaction } from "troupe"

const Size = Schema.Literals([0, 1, 12, 400, 4_000])

/** One thing that is said or done. */
export const Happening = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("user"), size: Size, pinned: Schema.Boolean }),
  Schema.Struct({ kind: Schema.Literal("answer"), size: Size, pinned: Schema.Boolean }),
  Schema.Struct({
    kind: Schema.Literal("calls"),
    results: Schema.Array(Size).check(Schema.isMinLength(1), Schema.isMaxLength(3)),
    apart: Schema.Boolean,
    pinned: Schema.Boolean
  })
])
/** A conversation. */
export const Happenings = Schema.Array(Happening).check(Schema.isMaxLength(24))

const words = (size: number, seed: number) =>
  `${seed} lorem ipsum dolor `.repeat(Math.ceil(size / 10)).slice(0, size + 4)

/** The messages of a conversation, which begins with the user. */
export const messagesOf = (happenings: typeof Happenings.Type): ReadonlyArray<Prompt.Message> => {
  let seed = 0
  const pinned = <M extends Prompt.Message>(message: M, isPinned: boolean): M =>
    isPinned ? Compaction.pin(message) : message
  const first = Prompt.userMessage({ content: [Prompt.textPart({ text: "the task" })] })
  return [
    first,
    ...happenings.flatMap((one): ReadonlyArray<Prompt.Message> => {
      seed++
      if (one.kind === "user") {
        const content = [Prompt.textPart({ text: words(one.size, seed) })]
        return [pinned(Prompt.userMessage({ content }), one.pinned)]
      }
      if (one.kind === "answer") {
        const content = [Prompt.textPart({ text: words(one.size, seed) })]
        return [pinned(Prompt.assistantMessage({ content }), one.pinned)]
      }
      const ids = one.results.map((_, index) => `call_${seed}_${index}`)
      const call = Prompt.assistantMessage({
        content: ids.map((id) => Prompt.toolCallPart({ id, name: "look", params: { id }, providerExecuted: false }))
      })
      const results = one.results.map((size, index) =>
        Prompt.toolResultPart({
          id: ids[index]!,
          name: "look",
          isFailure: false,
          result: size === 12 ? { size, words: words(size, seed) } : words(size, seed),
          providerExecuted: false
        })
      )
      const answers = one.apart
        ? results.map((result) => Prompt.toolMessage({ content: [result] }))
        : [Prompt.toolMessage({ content: results })]
      return [pinned(call, one.pinned), ...answers]
    })
  ]
}
