import { Effect, Redacted } from "effect"
import { OpenAi } from "troupe"
import * as Server from "../support/openAiServer.ts"
import { suite } from "./model.ts"
import { type Request, respond, text } from "./responder.ts"

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

for (const api of ["chat", "responses"] as const) {
  const reply = ({ body }: Server.Seen): Server.Reply => {
    const answer = respond(read[api](body))
    // Pieces end in the middle of events, and of characters.
    return "text" in answer
      ? Server.text(answer.text, { split: 97 })
      : Server.toolCalls([{ name: answer.name, args: answer.params }], { split: 97 })
  }
  const on = (script: Server.Script) =>
    Effect.map(Server.make(script), (server) => ({
      server,
      layer: OpenAi.layer({ model: "m", baseUrl: server.url, api, apiKey: Redacted.make("k"), retry: "none" })
    }))
  suite(`OpenAi by ${api}`, () => Effect.map(on(reply), ({ layer }) => layer), {
    readsTheRequest: true,
    endless: Effect.map(
      on(({ body }) => (body["stream"] === true ? Server.text(text, { hangAfter: 6 }) : { hang: true })),
      ({ layer, server }) => ({
        layer,
        running: Effect.sync(() => server.requests.length - server.aborted())
      })
    )
  })
}
