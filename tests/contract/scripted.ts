/** Answers of `TestModel` as the contract expects. */
import { TestModel } from "troupe"
import { type Request, respond } from "./responder.ts"

const choiceOf = (choice: TestModel.Call["toolChoice"]): Request["choice"] => {
  if (typeof choice === "string") return choice === "required" ? { force: undefined } : choice
  if ("tool" in choice) return { force: choice.tool }
  return choice.mode === "required" ? { force: undefined } : "auto"
}

const read = (call: TestModel.Call): Request => {
  const messages = call.prompt.content
  const user = messages.findLast((message) => message.role === "user")
  const last = messages.at(-1)
  const result = last?.role === "tool" ? last.content.find((part) => part.type === "tool-result") : undefined
  return {
    said: user?.content.map((part) => (part.type === "text" ? part.text : "")).join("") ?? "",
    result: result === undefined ? undefined : { value: result.result },
    tools: call.tools,
    choice: choiceOf(call.toolChoice),
    json: call.output !== undefined
  }
}

/** Answers any call of the contract. */
export const script = (call: TestModel.Call): TestModel.Turn => {
  const answer = respond(read(call))
  return "text" in answer ? { text: answer.text, chunk: 7 } : TestModel.toolCall(answer.name, answer.params)
}
