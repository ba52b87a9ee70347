/** What the local OpenAI server answers: bodies and events of both APIs, shaped as the `openai` SDK types them. Pure. */

/** A call that the model makes. */
export interface Call {
  readonly name: string
  /** The raw text of the arguments. */
  readonly args: string
  /** `""` leaves the id out. Default `c0`, `c1`, ... */
  readonly id?: string | undefined
}

/** How one request is answered. */
export interface Reply {
  readonly text?: string | undefined
  readonly reasoning?: string | undefined
  /** The field that Chat Completions carries reasoning in, which servers do not agree on. */
  readonly reasoningField?: "reasoning_content" | "reasoning" | undefined
  readonly refusal?: string | undefined
  readonly calls?: ReadonlyArray<Call> | undefined
  readonly finish?: string | undefined
  readonly usage?: Record<string, unknown> | undefined
  /** Answers with this status and body instead. */
  readonly status?: number | undefined
  readonly body?: unknown
  readonly headers?: Record<string, string> | undefined
  /** Raw text instead of any answer: a body, or the data of a stream. */
  readonly raw?: string | undefined
  /** These events instead of any answer, followed by `[DONE]`. */
  readonly events?: ReadonlyArray<unknown> | undefined
  readonly delayMs?: number | undefined
  /** Waits until so many requests have come in all, this one included. */
  readonly barrier?: number | undefined
  readonly hang?: boolean | undefined
  /** Writes so many events of a stream, then stays silent. */
  readonly hangAfter?: number | undefined
  /** Leaves the connection open when the whole answer is written. */
  readonly keepOpen?: boolean | undefined
  /** Destroys the connection after so many bytes of the answer; 0 at once. */
  readonly resetAfter?: number | undefined
  /** Ends a stream without its finish. */
  readonly noFinish?: boolean | undefined
  /** Writes the answer in pieces of so many bytes. */
  readonly split?: number | undefined
  /** Compresses the answer. */
  readonly gzip?: boolean | undefined
  /** Milliseconds between the events of a stream. */
  readonly paceMs?: number | undefined
  /** Waited for before the last event of a stream that is paced. Of no use in another process. */
  readonly beforeLast?: (() => Promise<void>) | undefined
}

export const text = (text: string, more: Reply = {}): Reply => ({ text, ...more })

export const reasoning = (reasoning: string, more: Reply = {}): Reply => ({ reasoning, ...more })

export const refusal = (refusal: string, more: Reply = {}): Reply => ({ refusal, ...more })

/** Arguments are the raw text of them, or a value. */
export const toolCalls = (
  calls: ReadonlyArray<{ readonly name: string; readonly args: unknown; readonly id?: string | undefined }>,
  more: Reply = {}
): Reply => ({
  calls: calls.map(({ args, ...call }) => ({ ...call, args: typeof args === "string" ? args : JSON.stringify(args) })),
  ...more
})

export const error = (status: number, body?: unknown, headers?: Record<string, string>): Reply => ({
  status,
  body,
  headers
})

const usageOf = (reply: Reply) =>
  reply.usage ?? {
    prompt_tokens: 11,
    completion_tokens: 7,
    input_tokens: 11,
    output_tokens: 7,
    total_tokens: 18
  }

const pieces = (text: string): ReadonlyArray<string> => text.match(/[\s\S]{1,3}/g) ?? []

// -- Chat Completions -------------------------------------------------------------------------------------------------

const idOf = (call: Call, index: number) => (call.id === "" ? {} : { id: call.id ?? `c${index}` })

const reasoningField = (reply: Reply, reasoning: string) => ({
  [reply.reasoningField ?? "reasoning_content"]: reasoning
})

export const chatAnswer = (reply: Reply): unknown => ({
  id: "chat_1",
  object: "chat.completion",
  created: 1_700_000_000,
  model: "served",
  unknown_field: { nested: true },
  choices: [
    {
      index: 0,
      finish_reason: reply.finish ?? (reply.calls === undefined ? "stop" : "tool_calls"),
      logprobs: null,
      message: {
        role: "assistant",
        content: reply.text ?? null,
        refusal: reply.refusal ?? null,
        annotations: [],
        ...(reply.reasoning === undefined ? {} : reasoningField(reply, reply.reasoning)),
        ...(reply.calls === undefined
          ? {}
          : {
              tool_calls: reply.calls.map((call, n) => ({
                ...idOf(call, n),
                type: "function",
                function: { name: call.name, arguments: call.args }
              }))
            })
      }
    }
  ],
  usage: usageOf(reply)
})

/** One chunk of a streamed chat answer. */
export const chunk = (delta: unknown, finish_reason: string | null = null): unknown => ({
  id: "chat_1",
  object: "chat.completion.chunk",
  created: 1_700_000_000,
  model: "served",
  surprise: 1,
  choices: [{ index: 0, delta, logprobs: null, finish_reason }]
})

export const chatEvents = (reply: Reply): ReadonlyArray<unknown> => {
  const calls = reply.calls ?? []
  // Fragments of several calls come interleaved.
  const fragments = calls.map((call) => pieces(call.args))
  const longest = Math.max(0, ...fragments.map((some) => some.length))
  return [
    chunk({ role: "assistant", content: "" }),
    ...pieces(reply.reasoning ?? "").map((some) => chunk(reasoningField(reply, some))),
    ...pieces(reply.text ?? "").map((content) => chunk({ content })),
    ...pieces(reply.refusal ?? "").map((refusal) => chunk({ refusal })),
    ...calls.map((call, index) =>
      chunk({
        tool_calls: [{ index, ...idOf(call, index), type: "function", function: { name: call.name, arguments: "" } }]
      })
    ),
    ...Array.from({ length: longest }, (_, n) =>
      fragments.flatMap((some, index) =>
        some[n] === undefined ? [] : [chunk({ tool_calls: [{ index, function: { arguments: some[n] } }] })]
      )
    ).flat(),
    ...(reply.noFinish === true
      ? []
      : [
          chunk({}, reply.finish ?? (calls.length > 0 ? "tool_calls" : "stop")),
          { id: "chat_1", object: "chat.completion.chunk", model: "served", choices: [], usage: usageOf(reply) }
        ])
  ]
}

// -- Responses --------------------------------------------------------------------------------------------------------

interface Item {
  readonly type: string
  readonly id: string
  readonly [key: string]: unknown
}

const contentOf = (reply: Reply) =>
  reply.refusal === undefined
    ? { type: "output_text", text: reply.text ?? "", annotations: [], logprobs: [] }
    : { type: "refusal", refusal: reply.refusal }

const outputItems = (reply: Reply): ReadonlyArray<Item> => [
  ...(reply.reasoning === undefined
    ? []
    : [
        {
          type: "reasoning",
          id: "rs_1",
          encrypted_content: "sealed",
          summary: reply.reasoning === "" ? [] : [{ type: "summary_text", text: reply.reasoning }]
        }
      ]),
  ...(reply.text === undefined && reply.refusal === undefined
    ? []
    : [{ type: "message", id: "msg_1", status: "completed", role: "assistant", content: [contentOf(reply)] }]),
  ...(reply.calls ?? []).map((call, n) => ({
    type: "function_call",
    id: `fc_${n}`,
    status: "completed",
    ...(call.id === "" ? {} : { call_id: call.id ?? `c${n}` }),
    name: call.name,
    arguments: call.args
  }))
]

const incompleteReasons: Record<string, string> = { length: "max_output_tokens", content_filter: "content_filter" }

/** A whole answer of the Responses API. */
export const response = (reply: Reply): Record<string, unknown> => {
  const reason = incompleteReasons[reply.finish ?? ""]
  return {
    id: "resp_1",
    object: "response",
    created_at: 1_700_000_000,
    model: "served",
    unknown_field: [1],
    status: reason === undefined ? "completed" : "incomplete",
    incomplete_details: reason === undefined ? null : { reason },
    error: null,
    parallel_tool_calls: true,
    output: outputItems(reply),
    usage: usageOf(reply)
  }
}

const itemEvents = (item: Item, output_index: number): ReadonlyArray<object> => {
  const at = { item_id: item.id, output_index }
  const added = (item: object) => ({ type: "response.output_item.added", output_index, item })
  const done = { type: "response.output_item.done", output_index, item }
  if (item.type === "reasoning") {
    const summary = item["summary"] as ReadonlyArray<{ readonly text: string }>
    return [
      added({ ...item, encrypted_content: "", summary: [] }),
      ...summary.flatMap((part, summary_index) => [
        { type: "response.reasoning_summary_part.added", ...at, summary_index, part: { ...part, text: "" } },
        ...pieces(part.text).map((delta) => ({
          type: "response.reasoning_summary_text.delta",
          ...at,
          summary_index,
          delta
        })),
        { type: "response.reasoning_summary_text.done", ...at, summary_index, text: part.text },
        { type: "response.reasoning_summary_part.done", ...at, summary_index, part }
      ]),
      done
    ]
  }
  if (item.type === "message") {
    const [part] = item["content"] as ReadonlyArray<{ readonly type: string; text?: string; refusal?: string }>
    const said = part?.text ?? part?.refusal ?? ""
    const kind = part?.type === "refusal" ? "refusal" : "output_text"
    const inPart = { ...at, content_index: 0 }
    return [
      added({ ...item, status: "in_progress", content: [] }),
      {
        type: "response.content_part.added",
        ...inPart,
        part: { ...part, [part?.type === "refusal" ? "refusal" : "text"]: "" }
      },
      ...pieces(said).map((delta) => ({ type: `response.${kind}.delta`, ...inPart, delta, logprobs: [] })),
      { type: `response.${kind}.done`, ...inPart, [kind === "refusal" ? "refusal" : "text"]: said },
      { type: "response.content_part.done", ...inPart, part },
      done
    ]
  }
  return [
    added({ ...item, status: "in_progress", arguments: "" }),
    ...pieces(item["arguments"] as string).map((delta) => ({
      type: "response.function_call_arguments.delta",
      ...at,
      delta
    })),
    { type: "response.function_call_arguments.done", ...at, name: item["name"], arguments: item["arguments"] },
    done
  ]
}

export const responseEvents = (reply: Reply): ReadonlyArray<object> => {
  const whole = response(reply)
  const begun = { ...whole, status: "in_progress", incomplete_details: null, output: [], usage: null }
  return [
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    { type: "response.something_new", payload: 1 },
    ...outputItems(reply).flatMap(itemEvents),
    ...(reply.noFinish === true ? [] : [{ type: `response.${String(whole["status"])}`, response: whole }])
  ].map((event, sequence_number) => ({ ...event, sequence_number }))
}
