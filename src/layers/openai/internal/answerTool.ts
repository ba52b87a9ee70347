/** Decodes answers that come by a tool. */
import type * as Response from "effect/ai/Response"
import { isProblem, type Problem } from "../../internal/model/problems.ts"
import { answered, AnswerReader } from "../../internal/model/typedOutput.ts"
import type { Decoder } from "./decoding.ts"

/** Reads the calls of the answer's tool, if there is one, as texts. */
export const answeringBy = (tool: string | undefined, decoder: Decoder): Decoder => {
  if (tool === undefined) return decoder
  return {
    whole: (document) => {
      const parts = decoder.whole(document)
      return isProblem(parts) ? parts : answered(parts, tool)
    },
    stream: () => {
      const stream = decoder.stream()
      const reader = new AnswerReader(tool)
      const read = (parts: ReadonlyArray<Response.StreamPartEncoded> | Problem) =>
        isProblem(parts) ? parts : parts.flatMap((part) => reader.read(part))
      return {
        get complete() {
          return stream.complete
        },
        get finished() {
          return stream.finished
        },
        push: (event) => read(stream.push(event)),
        end: (isDone) => read(stream.end(isDone))
      }
    }
  }
}
