/** A server object whose one tool runs only as a task. */
import { InMemoryTaskMessageQueue, InMemoryTaskStore } from "@modelcontextprotocol/sdk/experimental/tasks"
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js"
import type { ServerNotification, ServerRequest } from "@modelcontextprotocol/sdk/types.js"

type SendRequest = RequestHandlerExtra<ServerRequest, ServerNotification>["sendRequest"]

/** `work` gives the text of the tool's result; what it sends to the client names the task. */
export const taskServer = (work: (send: SendRequest) => Promise<string>) => (): McpServer => {
  const taskStore = new InMemoryTaskStore()
  const server = new McpServer(
    { name: "tasks", version: "1" },
    {
      capabilities: { tasks: { requests: { tools: { call: {} } } } },
      taskStore,
      taskMessageQueue: new InMemoryTaskMessageQueue()
    }
  )
  server.experimental.tasks.registerToolTask(
    "research",
    { execution: { taskSupport: "required" } },
    {
      createTask: async (extra) => {
        const task = await extra.taskStore.createTask({ ttl: 60_000, pollInterval: 5 })
        // The SDK takes it, and its types do not say so.
        const ofTask: object = { relatedTask: { taskId: task.taskId } }
        const send: SendRequest = (request, schema, options) =>
          extra.sendRequest(request, schema, { ...options, ...ofTask })
        void work(send).then((text) =>
          extra.taskStore.storeTaskResult(task.taskId, "completed", { content: [{ type: "text", text }] })
        )
        return { task }
      },
      getTask: (extra) => extra.taskStore.getTask(extra.taskId),
      getTaskResult: (extra) => extra.taskStore.getTaskResult(extra.taskId) as never
    }
  )
  Object.assign(server.server, { onclose: () => taskStore.cleanup() })
  return server
}
