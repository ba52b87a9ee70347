/** Calls to the server by the SDK's client: each ends with a result or a failure, and can be cancelled. */
import type { Client } from "@modelcontextprotocol/sdk/client/index.js"
import * as Limits from "./limits.ts"
import type { Authorization } from "./oauthProvider.ts"
import { longest } from "./opening.ts"
import type { ToHost } from "./protocol.ts"
import type { SdkConnection } from "./sdkConnection.ts"

type Call = Extract<ToHost, { readonly type: "call" }>

/** The calls that are under way. */
export interface Calls {
  readonly call: (message: Call) => Promise<void>
  readonly cancel: (id: number, reason: string) => void
}

/** How long the server may take to show that it is still there. Milliseconds. */
const pingTimeout = 5000

/** One connection of many may be lost while the server is well; other calls are not given up for it. */
const isThere = async (connection: SdkConnection): Promise<boolean> => {
  const attempt = connection.attempt
  if (attempt?.http === undefined) return false
  return attempt.client.ping({ timeout: pingTimeout }).then(
    () => true,
    () => false
  )
}

/** A tool that only runs as a task: the SDK starts it, asks for its status and fetches its result. */
const runTask = async (
  { relations, sdk }: SdkConnection,
  client: Client,
  { id, params }: Call,
  options: object
): Promise<unknown> => {
  const stream = client.experimental.tasks.callToolStream(params as never, sdk.types.ResultSchema as never, {
    ...options,
    task: {}
  })
  for await (const message of stream) {
    if (message.type === "taskCreated") relations.runs(id, message.task.taskId)
    if (message.type === "result") return message.result
    if (message.type === "error") throw message.error
  }
  throw new Error("the task ended without a result")
}

export const make = (connection: SdkConnection, authorization: Authorization): Calls => {
  const { post, relations, sdk } = connection
  const running = new Map<number, AbortController>()

  const attempt = async (message: Call, options: object): Promise<unknown> => {
    const client = connection.attempt?.client
    if (client === undefined) throw new Error("Not connected")
    if (message.task) return runTask(connection, client, message, options)
    const { id, method, params } = message
    return relations.sending(id, () => client.request({ method, params } as never, sdk.types.ResultSchema, options))
  }

  /** Makes the call once more when the server wants more authorization than it got: it has not acted. */
  const authorized = async (message: Call, options: object): Promise<unknown> => {
    try {
      return await attempt(message, options)
    } catch (error) {
      const pending = authorization.pending()
      if (!(error instanceof sdk.UnauthorizedError) || pending === undefined) throw error
      await pending
      return attempt(message, options)
    }
  }

  const fail = async (id: number, error: unknown): Promise<void> => {
    const problem = connection.problemOf(error)
    const isLost = problem.kind === "session" || problem.kind === "connection"
    const ends = connection.isUp && isLost && (problem.kind === "session" || !(await isThere(connection)))
    if (ends) connection.isUp = false
    post({ type: "failed", id, problem, ends })
  }

  return {
    call: async (message) => {
      const { id, method, progress } = message
      const controller = new AbortController()
      running.set(id, controller)
      const onprogress = (value: unknown) => post({ type: "progress", id, progress: value })
      try {
        const result = await authorized(message, {
          signal: controller.signal,
          timeout: longest,
          ...(progress ? { onprogress } : {})
        })
        const excess = Limits.excess(result, method === "tools/call" ? Limits.maxResultDepth : Limits.maxDepth)
        if (excess === undefined) return post({ type: "result", id, result })
        const problem = `the server's answer is ${excess}`
        post({
          type: "failed",
          id,
          problem: { message: problem, code: undefined, kind: "invalid", executed: "unknown" },
          ends: false
        })
      } catch (error) {
        if (!controller.signal.aborted) await fail(id, error)
      } finally {
        running.delete(id)
        relations.ended(id)
      }
    },
    cancel: (id, reason) => running.get(id)?.abort(reason)
  }
}
