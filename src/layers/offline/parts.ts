/** Makes `effect/ai` response parts of an answer: text in word-sized chunks, tool calls, usage. Pure. */
import type * as Response from "effect/ai/Response"
import type * as Prompt from "effect/ai/Prompt"
import type { Planned } from "./tools.ts"
import { hash } from "./text.ts"

/** What one model call gives. */
export type Reply =
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "Calls"; readonly calls: ReadonlyArray<Planned> }

/** An estimate: a token for every four UTF-8 bytes, at least one for a text that is not empty. */
export const estimateTokens = (text: string): number => Math.ceil(Buffer.byteLength(text, "utf8") / 4)

const textOf = (part: Prompt.Part): string => {
  switch (part.type) {
    case "text":
    case "reasoning":
      return part.text
    case "file":
      return typeof part.data === "string"
        ? part.data
        : part.data instanceof Uint8Array
          ? "x".repeat(part.data.length)
          : part.data.href
    case "tool-call":
      return part.name + safeJson(part.params)
    case "tool-result":
      return part.name + safeJson(part.result)
    default:
      return ""
  }
}

const safeJson = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? ""
  } catch {
    return String(value)
  }
}

/** The tokens of a prompt, estimated, and a hash of all that it says. */
export const weigh = (prompt: Prompt.Prompt): { readonly tokens: number; readonly hash: string } => {
  let tokens = 0
  let seed = ""
  for (const message of prompt.content) {
    const texts = typeof message.content === "string" ? [message.content] : message.content.map(textOf)
    for (const text of texts) {
      tokens += estimateTokens(text)
      seed = hash(`${seed}:${message.role}:${text}`)
    }
  }
  return { tokens, hash: seed === "" ? hash("") : seed }
}

const replyText = (reply: Reply): string =>
  reply._tag === "Text" ? reply.text : reply.calls.map((call) => call.name + safeJson(call.params)).join("")

const finish = (reply: Reply, inputTokens: number): Response.FinishPartEncoded => {
  const outputTokens = estimateTokens(replyText(reply))
  return {
    type: "finish",
    reason: reply._tag === "Calls" ? "tool-calls" : "stop",
    usage: {
      inputTokens: { uncached: inputTokens, total: inputTokens, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: {
        total: outputTokens,
        text: reply._tag === "Text" ? outputTokens : undefined,
        reasoning: undefined
      }
    },
    response: undefined
  }
}

const callParts = (calls: ReadonlyArray<Planned>, seed: string): Array<Response.ToolCallPartEncoded> =>
  calls.map((call, i) => ({ type: "tool-call", id: `offline_${seed}_${i}`, name: call.name, params: call.params }))

/** The reply as a whole. `seed` makes ids that are the same for the same prompt. */
export const parts = (reply: Reply, inputTokens: number, seed: string): Array<Response.PartEncoded> => [
  { type: "response-metadata", id: `offline_${seed}`, modelId: "offline" },
  ...(reply._tag === "Text" ? [{ type: "text" as const, text: reply.text }] : callParts(reply.calls, seed)),
  finish(reply, inputTokens)
]

/** Words with the white space that follows them. */
export const chunks = (text: string): Array<string> => text.match(/\S{1,200}\s{0,200}|\s{1,200}/g) ?? []

/** The reply as it streams. */
export const streamParts = (reply: Reply, inputTokens: number, seed: string): Array<Response.StreamPartEncoded> => {
  const id = `offline_${seed}_text`
  return [
    { type: "response-metadata", id: `offline_${seed}`, modelId: "offline" },
    ...(reply._tag === "Text"
      ? [
          { type: "text-start" as const, id },
          ...chunks(reply.text).map((delta) => ({ type: "text-delta" as const, id, delta })),
          { type: "text-end" as const, id }
        ]
      : callParts(reply.calls, seed)),
    finish(reply, inputTokens)
  ]
}
