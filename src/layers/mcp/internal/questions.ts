/** What a server asks its client: each question is passed on to the other side, which answers or refuses it. */
import type { Client } from "@modelcontextprotocol/sdk/client/index.js"
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js"
import type { CreateMessageRequest, ServerNotification, ServerRequest } from "@modelcontextprotocol/sdk/types.js"
import type { Capabilities } from "./protocol.ts"
import type { SdkConnection } from "./sdkConnection.ts"

/** The questions that wait for an answer. */
export interface Questions {
  /** Has a client answer the questions that its capabilities declare. */
  readonly handle: (client: Client, capabilities: Capabilities) => void
  readonly answer: (id: number, result: unknown) => void
  readonly refuse: (id: number, error: Error & { readonly code?: number }) => void
  readonly refuseAll: (reason: string) => void
}

interface Asked {
  readonly method: string
  readonly params?: unknown
}
type Extra = Pick<RequestHandlerExtra<ServerRequest, ServerNotification>, "_meta" | "requestId" | "signal">

type SamplingParams = CreateMessageRequest["params"]

/** Whether a question about an answer of the model has tools in it, or uses of them. */
const usesTools = ({ messages, toolChoice, tools }: SamplingParams): boolean => {
  const isToolContent = ({ type }: { readonly type: string }) => type === "tool_use" || type === "tool_result"
  const isAbout = messages.some(({ content }) => [content].flat().some(isToolContent))
  return tools !== undefined || toolChoice !== undefined || isAbout
}

export const make = ({ post, relations, sdk: { types } }: SdkConnection): Questions => {
  const waiting = new Map<
    number,
    { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }
  >()
  let nextId = 0
  const ask = ({ method, params }: Asked, { _meta, requestId, signal }: Extra): Promise<never> =>
    new Promise<never>((resolve, reject) => {
      const id = nextId++
      const call = relations.callOf(requestId, _meta?.[types.RELATED_TASK_META_KEY]?.taskId)
      waiting.set(id, { resolve, reject })
      signal.addEventListener("abort", () => {
        if (!waiting.delete(id)) return
        post({ type: "askEnded", id })
        reject(new types.McpError(types.ErrorCode.ConnectionClosed, "the server cancelled its request"))
      })
      post({ type: "ask", id, method, params, call })
    })
  return {
    handle: (client, capabilities) => {
      if (capabilities.sampling !== undefined) {
        const { tools } = capabilities.sampling
        client.setRequestHandler(types.CreateMessageRequestSchema, (request, extra) => {
          if (tools !== undefined || !usesTools(request.params)) return ask(request, extra)
          const problem = "this client has not declared sampling.tools: ask without tools"
          throw new types.McpError(types.ErrorCode.InvalidParams, problem)
        })
      }
      if (capabilities.elicitation !== undefined) {
        client.setRequestHandler(types.ElicitRequestSchema, ask)
      }
      if (capabilities.roots !== undefined) {
        client.setRequestHandler(types.ListRootsRequestSchema, ask)
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
