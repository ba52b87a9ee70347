/** Answers requests of both APIs of OpenAI as the contract expects. */
import * as Server from "../support/openAiServer.ts"
import { type Request, respond } from "./responder.ts"

type Body = Server.Seen["body"]

const choiceOf = (choice: any): Request["choice"] => {
  if (choice === undefined) return "auto"
  if (typeof choice === "string") return choice === "required" ? { force: undefined } : (choice as "auto" | "none")
  return { force: choice.function?.name ?? choice.name }
}

const saidIn = (content: any): string =>
  typeof content === "string" ? content : content.map((part: { readonly text?: string }) => part.text ?? "").join("")

const json = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const read: Record<"chat" | "responses", (body: Body) => Request> = {
  chat: (body) => {
    const last = body["messages"].at(-1)
    return {
      said: saidIn(body["messages"].findLast((message: any) => message.role === "user").content),
      result: last.role === "tool" ? { value: json(last.content) } : undefined,
      tools: (body["tools"] ?? []).map((tool: any) => tool.function.name),
      choice: choiceOf(body["tool_choice"]),
      json: body["response_format"]?.type === "json_schema"
    }
  },
  responses: (body) => {
    const last = body["input"].at(-1)
    return {
      said: saidIn(body["input"].findLast((item: any) => item.role === "user").content),
      result: last.type === "function_call_output" ? { value: json(last.output) } : undefined,
      tools: (body["tools"] ?? []).map((tool: any) => tool.name),
      choice: choiceOf(body["tool_choice"]),
      json: body["text"]?.format?.type === "json_schema"
    }
  }
}

/** The answer of an API, in pieces that end in the middle of events, and of characters. */
export const replyBy =
  (api: "chat" | "responses") =>
  ({ body }: Server.Seen): Server.Reply => {
    const answer = respond(read[api](body))
    return "text" in answer
      ? Server.text(answer.text, { split: 97 })
      : Server.toolCalls([{ name: answer.name, args: answer.params }], { split: 97 })
  }
