/**
 * A local server that speaks Chat Completions and Responses, scripted by the model's name or by data, strict about what
 * it is sent. It runs in a process of its own (see `startOpenAiServer`), because `Effect.runSync` blocks the test's.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"

/** How one request is answered. */
export interface Reply {
  readonly text?: string | undefined
  readonly reasoning?: string | undefined
  readonly refusal?: string | undefined
  /** `args` is the raw text of the arguments. `id: ""` leaves the id out. */
  readonly calls?: ReadonlyArray<{ readonly name: string; readonly args: string; readonly id?: string }> | undefined
  readonly finish?: string | undefined
  readonly usage?: Record<string, unknown> | undefined
  /** Answers with this status and body instead. */
  readonly status?: number | undefined
  readonly body?: unknown
  readonly headers?: Record<string, string> | undefined
  /** Raw text instead of any answer: a body, or the data of a stream. */
  readonly raw?: string | undefined
  readonly delayMs?: number | undefined
  readonly hang?: boolean | undefined
  /** Destroys the connection after so many bytes of the answer; 0 at once. */
  readonly resetAfter?: number | undefined
  /** Ends a stream without its finish. */
  readonly noFinish?: boolean | undefined
  /** Writes the answer in pieces of so many bytes. */
  readonly split?: number | undefined
  /** Milliseconds between the events of a stream. */
  readonly paceMs?: number | undefined
}

/** What the server has seen. */
export interface Seen {
  readonly path: string
  readonly headers: Record<string, string | undefined>
  readonly body: Record<string, any>
  aborted: boolean
}

const usageOf = (reply: Reply) =>
  reply.usage ?? { prompt_tokens: 11, completion_tokens: 7, input_tokens: 11, output_tokens: 7 }

/** What is wrong with a request, as a strict server would say; `undefined` when it is fine. */
export const problemWith = (path: string, body: Record<string, any>): string | undefined =>
  path.endsWith("/responses") ? problemWithInput(body) : problemWithMessages(body)

const problemWithTools = (tools: ReadonlyArray<any> | undefined, of: (tool: any) => any): string | undefined => {
  for (const tool of tools ?? []) {
    const fn = of(tool)
    if (tool.type !== "function" || !/^[\w-]{1,64}$/.test(fn?.name ?? "")) return "bad tool"
    if (fn.parameters?.type !== "object") return `parameters of ${fn.name} are not an object`
  }
  return undefined
}

const problemWithMessages = (body: Record<string, any>): string | undefined => {
  if (!Array.isArray(body["messages"]) || body["messages"].length === 0) return "no messages"
  let waiting: Array<string> = []
  for (const message of body["messages"]) {
    if (message.role === "tool") {
      if (message.tool_call_id !== waiting.shift()) return `unexpected result ${message.tool_call_id}`
      if (typeof message.content !== "string") return "a result is no text"
      continue
    }
    if (waiting.length > 0) return `no result for ${waiting.join()}`
    if (!["system", "user", "assistant"].includes(message.role)) return `role ${message.role}`
    if (message.role === "assistant") {
      for (const call of message.tool_calls ?? []) {
        JSON.parse(call.function.arguments)
        waiting.push(call.id)
      }
      if (message.content === null && waiting.length === 0) return "an assistant message without content"
    }
    if (
      Array.isArray(message.content) &&
      !message.content.every((part: any) => part.type in { text: 1, image_url: 1, file: 1, input_audio: 1 })
    ) {
      return "bad content part"
    }
  }
  if (waiting.length > 0) return `no result for ${waiting.join()}`
  const format = body["response_format"]
  if (format !== undefined && format.json_schema?.schema?.type !== "object") return "the output schema is no object"
  return problemWithTools(body["tools"], (tool) => tool.function)
}

const problemWithInput = (body: Record<string, any>): string | undefined => {
  if (!Array.isArray(body["input"]) || body["input"].length === 0) return "no input"
  const waiting = new Set<string>()
  for (const item of body["input"]) {
    if (item.type === "function_call") waiting.add(item.call_id)
    else if (item.type === "function_call_output") {
      if (!waiting.delete(item.call_id)) return `unexpected output ${item.call_id}`
    } else if (item.type !== "reasoning" && !["system", "user", "assistant"].includes(item.role)) return "bad item"
  }
  if (waiting.size > 0) return `no output for ${[...waiting].join()}`
  const format = body["text"]?.format
  if (format !== undefined && format.schema?.type !== "object") return "the output schema is no object"
  return problemWithTools(body["tools"], (tool) => tool)
}

const chatAnswer = (reply: Reply): unknown => ({
  id: "chat_1",
  object: "chat.completion",
  model: "served",
  unknown_field: { nested: true },
  choices: [
    {
      index: 0,
      finish_reason: reply.finish ?? (reply.calls === undefined ? "stop" : "tool_calls"),
      message: {
        role: "assistant",
        content: reply.text ?? null,
        refusal: reply.refusal ?? null,
        ...(reply.reasoning === undefined ? {} : { reasoning_content: reply.reasoning }),
        ...(reply.calls === undefined
          ? {}
          : {
              tool_calls: reply.calls.map((call, n) => ({
                ...(call.id === "" ? {} : { id: call.id ?? `c${n}` }),
                type: "function",
                function: { name: call.name, arguments: call.args }
              }))
            })
      }
    }
  ],
  usage: usageOf(reply)
})

const pieces = (text: string): ReadonlyArray<string> => text.match(/[\s\S]{1,3}/g) ?? []

const chatEvents = (reply: Reply): ReadonlyArray<unknown> => {
  const delta = (delta: unknown, finish_reason: string | null = null) => ({
    id: "chat_1",
    object: "chat.completion.chunk",
    model: "served",
    surprise: 1,
    choices: [{ index: 0, delta, finish_reason }]
  })
  const calls = reply.calls ?? []
  // Fragments of several calls come interleaved.
  const fragments = calls.map((call) => pieces(call.args))
  const longest = Math.max(0, ...fragments.map((some) => some.length))
  return [
    delta({ role: "assistant", content: "" }),
    ...pieces(reply.reasoning ?? "").map((reasoning_content) => delta({ reasoning_content })),
    ...pieces(reply.text ?? "").map((content) => delta({ content })),
    ...pieces(reply.refusal ?? "").map((refusal) => delta({ refusal })),
    ...calls.map((call, index) =>
      delta({
        tool_calls: [
          {
            index,
            ...(call.id === "" ? {} : { id: call.id ?? `c${index}` }),
            type: "function",
            function: { name: call.name, arguments: "" }
          }
        ]
      })
    ),
    ...Array.from({ length: longest }, (_, n) =>
      fragments.flatMap((some, index) =>
        some[n] === undefined ? [] : [delta({ tool_calls: [{ index, function: { arguments: some[n] } }] })]
      )
    ).flat(),
    ...(reply.noFinish === true
      ? []
      : [
          delta({}, reply.finish ?? (calls.length > 0 ? "tool_calls" : "stop")),
          { id: "chat_1", choices: [], usage: usageOf(reply) }
        ])
  ]
}

const outputItems = (reply: Reply): ReadonlyArray<any> => [
  ...(reply.reasoning === undefined
    ? []
    : [
        {
          type: "reasoning",
          id: "rs_1",
          encrypted_content: "sealed",
          summary: [{ type: "summary_text", text: reply.reasoning }]
        }
      ]),
  ...(reply.text === undefined && reply.refusal === undefined
    ? []
    : [
        {
          type: "message",
          id: "msg_1",
          role: "assistant",
          content: [
            reply.refusal === undefined
              ? { type: "output_text", text: reply.text, annotations: [] }
              : { type: "refusal", refusal: reply.refusal }
          ]
        }
      ]),
  ...(reply.calls ?? []).map((call, n) => ({
    type: "function_call",
    id: `fc_${n}`,
    ...(call.id === "" ? {} : { call_id: call.id ?? `c${n}` }),
    name: call.name,
    arguments: call.args
  }))
]

const response = (reply: Reply): any => ({
  id: "resp_1",
  object: "response",
  model: "served",
  unknown_field: [1],
  status: reply.finish === "length" || reply.finish === "content_filter" ? "incomplete" : "completed",
  incomplete_details:
    reply.finish === "length"
      ? { reason: "max_output_tokens" }
      : reply.finish === "content_filter"
        ? { reason: "content_filter" }
        : null,
  error: null,
  output: outputItems(reply),
  usage: usageOf(reply)
})

const responseEvents = (reply: Reply): ReadonlyArray<any> => {
  const whole = response(reply)
  return [
    { type: "response.created", response: { id: "resp_1", model: "served", status: "in_progress" } },
    { type: "response.something_new", payload: 1 },
    ...whole.output.flatMap((item: any, output_index: number) => [
      { type: "response.output_item.added", output_index, item: { ...item, arguments: "", content: [], summary: [] } },
      ...(item.type === "reasoning"
        ? pieces(item.summary[0].text).map((delta) => ({
            type: "response.reasoning_summary_text.delta",
            item_id: item.id,
            summary_index: 0,
            delta
          }))
        : item.type === "message"
          ? pieces(item.content[0].text ?? item.content[0].refusal).map((delta) => ({
              type: item.content[0].type === "refusal" ? "response.refusal.delta" : "response.output_text.delta",
              item_id: item.id,
              content_index: 0,
              delta
            }))
          : pieces(item.arguments).map((delta) => ({
              type: "response.function_call_arguments.delta",
              item_id: item.id,
              delta
            }))),
      { type: "response.output_item.done", output_index, item }
    ]),
    ...(reply.noFinish === true
      ? []
      : [{ type: whole.status === "incomplete" ? "response.incomplete" : "response.completed", response: whole }])
  ]
}

const send = async (res: ServerResponse, text: string, reply: Reply): Promise<void> => {
  const bytes = Buffer.from(text)
  const size = reply.split ?? bytes.length
  let sent = 0
  for (let at = 0; at < bytes.length; at += Math.max(1, size)) {
    const piece = bytes.subarray(at, at + Math.max(1, size))
    if (reply.resetAfter !== undefined && sent + piece.length > reply.resetAfter) {
      res.write(piece.subarray(0, reply.resetAfter - sent))
      await new Promise((resolve) => setTimeout(resolve, 10))
      res.destroy()
      return
    }
    res.write(piece)
    sent += piece.length
    if (reply.split !== undefined) await new Promise((resolve) => setImmediate(resolve))
  }
}

const sse = (events: ReadonlyArray<unknown>): string =>
  `${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")}data: [DONE]\n\n`

const respond = async (seen: Seen, reply: Reply, res: ServerResponse): Promise<void> => {
  if (reply.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, reply.delayMs))
  if (reply.hang === true) return
  if (reply.resetAfter === 0) {
    res.destroy()
    return
  }
  const streams = seen.body["stream"] === true
  const isResponses = seen.path.endsWith("/responses")
  if (reply.status !== undefined) {
    res.writeHead(reply.status, { "content-type": "application/json", ...reply.headers })
    res.end(
      typeof reply.body === "string"
        ? reply.body
        : JSON.stringify(reply.body ?? { error: { message: `status ${reply.status}` } })
    )
    return
  }
  res.writeHead(200, { "content-type": streams ? "text/event-stream" : "application/json", ...reply.headers })
  if (reply.raw !== undefined) await send(res, reply.raw, reply)
  else if (!streams) await send(res, JSON.stringify(isResponses ? response(reply) : chatAnswer(reply)), reply)
  else {
    const events = isResponses ? responseEvents(reply) : chatEvents(reply)
    if (reply.paceMs === undefined) await send(res, sse(events), reply)
    else {
      for (const event of events) {
        if (res.destroyed) return
        res.write(`data: ${JSON.stringify(event)}\n\n`)
        await new Promise((resolve) => setTimeout(resolve, reply.paceMs))
      }
    }
  }
  if (!res.destroyed) res.end()
}

/** Starts the server. `script` answers requests in order; the last reply is repeated. */
export const serve = (script: ReadonlyArray<Reply>) =>
  new Promise<{ readonly url: string; readonly seen: Array<Seen>; readonly close: () => void }>((resolve) => {
    const seen: Array<Seen> = []
    const server = createServer((req: IncomingMessage, res) => {
      const chunks: Array<Buffer> = []
      req.on("data", (chunk: Buffer) => chunks.push(chunk))
      req.on("end", () => {
        const one: Seen = {
          path: req.url ?? "",
          headers: req.headers as Seen["headers"],
          body: JSON.parse(Buffer.concat(chunks).toString("utf8") || "{}") as Record<string, any>,
          aborted: false
        }
        const reply = script[Math.min(seen.length, script.length - 1)]!
        seen.push(one)
        res.on("close", () => {
          if (!res.writableEnded) one.aborted = true
        })
        const problem = problemWith(one.path, one.body)
        void respond(
          one,
          problem === undefined ? reply : { status: 400, body: { error: { message: `STRICT: ${problem}` } } },
          res
        )
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      resolve({
        url: `http://127.0.0.1:${port}/v1`,
        seen,
        close: () => {
          server.closeAllConnections()
          server.close()
        }
      })
    })
  })

// In a process of its own: the script comes as a message, and what was seen is told when asked.
if (process.send !== undefined && process.argv[1]?.endsWith("openAiServer.ts") === true) {
  let server: Awaited<ReturnType<typeof serve>> | undefined
  process.on("message", async (message: { readonly script?: ReadonlyArray<Reply>; readonly ask?: true }) => {
    if (message.script === undefined) {
      process.send!({ seen: server?.seen ?? [] })
      return
    }
    server?.close()
    server = await serve(message.script)
    process.send!({ url: server.url })
  })
}
