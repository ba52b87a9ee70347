/** What a server asks its client: each question is passed on to the other side, which answers or refuses it. */
import type { Client } from "@modelcontextprotocol/sdk/client/index.js"
import type { CreateMessageRequest } from "@modelcontextprotocol/sdk/types.js"
import type { Capabilities } from "./protocol.ts"
import type { Post } from "./sdkConnection.ts"
import type { Sdk } from "./sdkParts.ts"

/** The questions that wait for an answer. */
export interface Questions {
  /** Has a client answer the questions that its capabilities declare. */
  readonly handle: (client: Client, capabilities: Capabilities) => void
  readonly answer: (id: number, result: unknown) => void
  readonly refuse: (id: number, error: Error & { readonly code?: number }) => void
  readonly refuseAll: (reason: string) => void
}

type SamplingParams = CreateMessageRequest["params"]

/** Whether a question about an answer of the model has tools in it, or uses of them. */
const usesTools = ({ messages, toolChoice, tools }: SamplingParams): boolean => {
  const isToolContent = ({ type }: { readonly type: string }) => type === "tool_use" || type === "tool_result"
  const isAbout = messages.some(({ content }) => [content].flat().some(isToolContent))
  return tools !== undefined || toolChoice !== undefined || isAbout
}

export const make = ({ types }: Sdk, post: Post): Questions => {
  const waiting = new Map<
    number,
    { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }
  >()
  let nextId = 0
  const ask = (method: string, params: unknown, signal: AbortSignal): Promise<never> =>
    new Promise<never>((resolve, reject) => {
      const id = nextId++
      waiting.set(id, { resolve, reject })
      signal.addEventListener("abort", () => {
        if (!waiting.delete(id)) return
        post({ type: "askEnded", id })
        reject(new types.McpError(types.ErrorCode.ConnectionClosed, "the server cancelled its request"))
      })
      post({ type: "ask", id, method, params })
    })
  return {
    handle: (client, capabilities) => {
      if (capabilities.sampling !== undefined) {
        const { tools } = capabilities.sampling
        client.setRequestHandler(types.CreateMessageRequestSchema, ({ method, params }, { signal }) => {
          if (tools !== undefined || !usesTools(params)) return ask(method, params, signal)
          const problem = "this client has not declared sampling.tools: ask without tools"
          throw new types.McpError(types.ErrorCode.InvalidParams, problem)
        })
      }
      if (capabilities.elicitation !== undefined) {
        client.setRequestHandler(types.ElicitRequestSchema, ({ method, params }, { signal }) =>
          ask(method, params, signal)
        )
      }
      if (capabilities.roots !== undefined) {
        client.setRequestHandler(types.ListRootsRequestSchema, ({ method, params }, { signal }) =>
          ask(method, params, signal)
        )
      }
    },
    answer: (id, result) => {
      waiting.get(id)?.resolve(result as never)
      waiting.delete(id)
    },
    refuse: (id, error) => {
      waiting.get(id)?.reject(error)
      waiting.delete(id)
    },
    refuseAll: (reason) => {
      for (const { reject } of waiting.values()) reject(new Error(reason))
      waiting.clear()
    }
  }
}
