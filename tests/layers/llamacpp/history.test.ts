/** Conversations as a model of llama.cpp reads them: files that it cannot be shown are said in words. */
import { assert, it } from "@effect/vitest"
import { Prompt } from "effect/ai"
import { historyOf } from "../../../src/layers/llamacpp/internal/history.ts"

const file = (mediaType: string, data: Uint8Array) => Prompt.filePart({ mediaType, data })

it("has the text of files of a tool's result, and says of others what they are", () => {
  const result = (...modelOutput: ReadonlyArray<Prompt.ToolModelOutputPart>) =>
    historyOf(
      Prompt.fromMessages([
        Prompt.assistantMessage({
          content: [Prompt.toolCallPart({ id: "c", name: "shoot", params: {}, providerExecuted: false })]
        }),
        Prompt.toolMessage({
          content: [
            Prompt.toolResultPart({
              id: "c",
              name: "shoot",
              isFailure: false,
              result: "r",
              modelOutput,
              providerExecuted: false
            })
          ]
        })
      ])
    )
  const image = file("image/png", new Uint8Array([1, 2, 3]))
  const said = JSON.stringify([
    result(image),
    result(Prompt.textPart({ text: "done" }), image, file("text/plain", new TextEncoder().encode("words")))
  ])
  assert.include(said, '"result":"[file: image/png, 3 bytes; it cannot be shown here]"')
  const broken = Prompt.filePart({ mediaType: "image/png", data: "data:image/png,%" })
  assert.include(JSON.stringify(result(broken)), "[file: image/png; its data cannot be read]")
  assert.include(said, '"result":"done\\n[file: image/png, 3 bytes; it cannot be shown here]\\nfile:\\nwords"')
})

it("says of a file of an answer what it is", () => {
  const content = [file("image/png", new Uint8Array([1, 2, 3]))]
  assert.deepStrictEqual(historyOf(Prompt.fromMessages([Prompt.assistantMessage({ content })])), [
    { type: "model", response: ["[file: image/png, 3 bytes; it cannot be shown here]"] }
  ])
})
