/** Answers of compatible servers as their users have reported them. Data, and functions of the request where it matters. */

/** One answer: `events` to a request for a stream, `whole` to any other; where one is left out the other stands for both. */
export interface Reply {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** An object is sent as JSON, a text as it is. */
  readonly whole?: unknown
  readonly events?: ReadonlyArray<unknown>
  /** What is done with the connection after the body. Default `end`. */
  readonly ending?: "end" | "reset" | "silence"
}
export type Answer = Reply | ((body: Record<string, any>) => Reply)

type Fields = Record<string, unknown>

const chunk = (delta: unknown, finish_reason: string | null = null, more: Fields = {}) => ({
  choices: [{ index: 0, delta, finish_reason }],
  ...more
})
const answer = (message: Fields, finish_reason = "stop", more: Fields = {}) => ({
  choices: [{ index: 0, message, finish_reason }],
  ...more
})
const W = '{"eur":5}'
const stop = [chunk({}, "stop"), "[DONE]"]
const calls = [chunk({}, "tool_calls"), "[DONE]"]
const call = { id: "A", type: "function", function: { name: "pay", arguments: W } }
const said: Reply = { whole: answer({ content: "done" }), events: [chunk({ content: "done" }), ...stop] }
const hi = [chunk({ content: "Hi" }), ...stop]

const item = (args: string, more: Fields = {}) => ({
  type: "function_call",
  id: "fc",
  call_id: "c1",
  name: "pay",
  arguments: args,
  ...more
})
const message = (text: string, more: Fields = {}) => ({
  type: "message",
  id: "m",
  role: "assistant",
  content: [{ type: "output_text", text, annotations: [] }],
  ...more
})
const completed = (...output: ReadonlyArray<unknown>) => ({
  type: "response.completed",
  response: { id: "r", status: "completed", output }
})
const response = (...output: ReadonlyArray<unknown>) => ({ id: "r", status: "completed", output })
const itemAdded = (it: unknown) => ({ type: "response.output_item.added", output_index: 0, item: it })
const itemDone = (it: unknown) => ({ type: "response.output_item.done", output_index: 0, item: it })
const argsDelta = (delta: string) => ({
  type: "response.function_call_arguments.delta",
  item_id: "fc",
  output_index: 0,
  delta
})
const doneResponse: Reply = { whole: response(message("done")), events: [completed(message("done"))] }

const emptyError = (error: unknown): ReadonlyArray<Answer> => [
  { whole: answer({ content: "Hi" }, "stop", { error }), events: [chunk({ content: "Hi" }, null, { error }), ...stop] }
]
const callChunks = (...fragments: ReadonlyArray<Fields>) => [
  ...fragments.map((fragment) => chunk({ tool_calls: [fragment] })),
  ...calls
]
const fragment = (id: string | undefined, name: string | undefined, args: string, index = 0) => ({
  index,
  ...(id === undefined ? {} : { id }),
  function: { ...(name === undefined ? {} : { name }), arguments: args }
})
const badRequest = (text: string): Reply => ({
  status: 400,
  whole: { error: { message: text, type: "invalid_request_error" } }
})
const city = '{"city":"Paris","temp":20}'
const madeUp = '{"city":"Paris","temp":-999}'
const instructionsOf = (body: Record<string, any>): string => {
  const first = (body["messages"] ?? body["input"])[0]
  return first.role === "system" ? JSON.stringify(first.content) : ""
}
const hasResult = (body: Record<string, any>): boolean =>
  (body["messages"] ?? body["input"]).some(
    (one: Fields) => one["role"] === "tool" || one["type"] === "function_call_output"
  )
const answerCall = { id: "B", type: "function", function: { name: "answer", arguments: city } }

export const cases = {
  // -- capabilities -------------------------------------------------------------------------------------------------
  "no schema format": [
    (body) =>
      body["response_format"]?.type === "json_schema"
        ? badRequest("This response_format type is unavailable now")
        : { whole: answer({ content: city }) }
  ],
  "JSON mode that wants the word and the shape": [
    (body) => {
      const format = body["response_format"]?.type
      if (format === "json_schema") return badRequest("This response_format type is unavailable now")
      const instructions = instructionsOf(body)
      if (format === "json_object" && !instructions.includes("json"))
        return badRequest("Prompt must contain the word 'json'")
      return { whole: answer({ content: instructions.includes('\\"city\\"') ? city : "{}" }) }
    }
  ],
  "a format that silences tools": [
    (body) => ({
      whole:
        body["response_format"] !== undefined
          ? answer({ content: madeUp })
          : hasResult(body)
            ? answer({ content: city })
            : answer({ content: null, tool_calls: [call] }, "tool_calls")
    })
  ],
  "typed output by a tool": [
    (body) => {
      const tool = body["tools"]?.find((one: any) => one.function.name === "answer")
      if (tool === undefined || body["response_format"] !== undefined) return badRequest("no tool to answer by")
      const others = body["tools"].length > 1
      if (others && body["tool_choice"] !== "required") return badRequest("the choice is free")
      return others && !hasResult(body)
        ? {
            whole: answer({ content: null, tool_calls: [call] }, "tool_calls"),
            events: callChunks({ index: 0, ...call })
          }
        : {
            whole: answer({ content: null, tool_calls: [answerCall] }, "tool_calls"),
            events: callChunks(
              fragment("B", "answer", '{"city":'),
              fragment(undefined, undefined, '"Paris","temp":20}')
            )
          }
    }
  ],
  "typed output by a tool of Responses": [
    () => ({
      whole: response(item(city, { name: "answer" })),
      events: [itemAdded(item("", { name: "answer" })), itemDone(item(city, { name: "answer" })), completed()]
    })
  ],
  "refuses stream options": [
    (body) => (body["stream_options"] === undefined ? { events: hi } : badRequest("Unknown field: stream_options"))
  ],

  // -- alongside the answer --------------------------------------------------------------------------------------------
  "a bill after the answer": [
    { events: [chunk({ content: "Hi" }), chunk({}, "stop"), { object: "billing.summary", billing: {} }, "[DONE]"] }
  ],
  "sources before the answer": [{ events: [{ sources: [{ name: "doc" }] }, ...hi] }],
  "words before the answer": [{ events: [{ message: "queued" }, "data: ping\n\n", null, ...hi] }],
  "broken events after the answer": [
    { events: [chunk({ content: "Hi" }), chunk({}, "stop"), "data: {oops\n\n", { choices: "none" }, "[DONE]"] }
  ],
  "an error of empty texts": emptyError({ message: "", type: "", param: "", code: null }),
  "an error that is an empty text": emptyError(""),
  "an error without fields": emptyError({}),
  "an error that is false": emptyError(false),
  "an error with code 0": emptyError({ code: 0, message: "" }),
  "an empty error in a choice": [
    {
      whole: { choices: [{ message: { content: "Hi" }, finish_reason: "stop", error: { message: "" } }] },
      events: [{ choices: [{ delta: { content: "Hi" }, error: { message: "" } }] }, ...stop]
    }
  ],
  "an empty error of Responses": [
    {
      whole: { ...response(message("Hi")), error: { message: "", code: "" } },
      events: [{ type: "response.completed", response: { ...response(message("Hi")), error: { message: "" } } }]
    }
  ],
  "an event named error that says nothing": [{ events: ["event: error\ndata: {}\n\n"] }],
  "an empty error with a status": [{ status: 500, whole: { error: { message: "" } } }],
  "events called JSON": [{ headers: { "content-type": "application/json" }, events: hi }],
  "events called a page": [{ headers: { "content-type": "text/html" }, events: [": hello\n\n", ...hi] }],
  "a bill among events of Responses": [
    { events: [{ object: "billing.summary" }, completed(message("Hi")), { object: "billing.summary" }] }
  ],

  // -- empty and absent ---------------------------------------------------------------------------------------------
  "empty reasoning that has to go back": [
    {
      whole: answer({ content: "", reasoning_content: "", tool_calls: [call] }, "tool_calls"),
      events: [chunk({ reasoning_content: "" }), chunk({ tool_calls: [{ index: 0, ...call }] }), ...calls]
    },
    (body) =>
      body["messages"].find((one: Fields) => one["tool_calls"]).reasoning_content === ""
        ? said
        : badRequest("The `reasoning_content` in the thinking mode must be passed back to the API.")
  ],
  "empty reasoning by its other name": [
    {
      whole: answer({ content: "I pay.", reasoning: "", tool_calls: [call] }, "tool_calls"),
      events: [chunk({ reasoning: "", content: "I pay." }), chunk({ tool_calls: [{ index: 0, ...call }] }), ...calls]
    },
    (body) =>
      body["messages"].find((one: Fields) => one["tool_calls"]).reasoning === "" ? said : badRequest("no reasoning")
  ],

  // -- the end and what came before ---------------------------------------------------------------------------------
  "an empty final item": [
    { events: [itemAdded(item("")), argsDelta(W), itemDone(item("")), completed()] },
    doneResponse
  ],
  "an empty object as the final item": [
    { events: [itemAdded(item("")), argsDelta(W), itemDone(item("{}")), completed(item("{}"))] },
    doneResponse
  ],
  "arguments in the last response only": [
    { events: [itemAdded(item("")), itemDone(item("")), completed(item(W))] },
    doneResponse
  ],
  "arguments in the event that ends them only": [
    {
      events: [
        itemAdded(item("")),
        { type: "response.function_call_arguments.done", item_id: "fc", output_index: 0, arguments: W },
        itemDone({ ...item(""), arguments: undefined }),
        completed()
      ]
    },
    doneResponse
  ],
  "a call in the last response only": [
    { events: [itemAdded(message("")), itemDone(message("I pay.")), completed(message("I pay."), item(W))] },
    doneResponse
  ],
  "text in the event that ends it only": [
    { events: [{ type: "response.output_text.done", item_id: "m", content_index: 0, text: "Hi" }, completed()] }
  ],
  "the rest of a text in the last response": [
    {
      events: [
        { type: "response.output_text.delta", item_id: "m", output_index: 0, content_index: 0, delta: "H" },
        completed(message("Hi"))
      ]
    }
  ],
  "encrypted reasoning in the last response only": [
    {
      events: [
        itemDone({ type: "reasoning", id: "rs", encrypted_content: null, summary: [] }),
        { type: "response.output_item.done", output_index: 1, item: item(W) },
        completed({ type: "reasoning", id: "rs", encrypted_content: "sealed", summary: [] }, item(W))
      ]
    },
    doneResponse
  ],

  // -- sent again ---------------------------------------------------------------------------------------------------
  "a call twice": [
    {
      whole: answer({ content: null, tool_calls: [call, call] }, "tool_calls"),
      events: callChunks({ index: 0, ...call }, { index: 1, ...call })
    },
    said
  ],
  "a call again with nothing": [
    {
      whole: answer(
        { content: null, tool_calls: [{ ...call, function: { name: "pay", arguments: "" } }, call] },
        "tool_calls"
      ),
      events: callChunks(fragment("A", "pay", ""), fragment("A", "pay", W, 1))
    },
    said
  ],
  "a call again with spaces": [
    { events: callChunks(fragment("A", "pay", W), fragment("A", "pay", '{ "eur": 5 }', 1)) },
    said
  ],
  "two calls under one id": [
    { events: callChunks(fragment("A", "pay", W), fragment("A", "pay", '{"eur":6}', 1)) },
    said
  ],
  "arguments again": [
    (body) =>
      body["messages"].filter((one: Fields) => one["role"] === "tool").length > 2
        ? said
        : {
            whole: answer({ tool_calls: [{ ...call, function: { name: "pay", arguments: W + W } }] }, "tool_calls"),
            events: callChunks(
              fragment("A", "pay", '{"eur":'),
              fragment(undefined, undefined, "5}"),
              fragment("A", "pay", W)
            )
          },
    said
  ],
  "arguments three times on lines": [
    {
      whole: answer(
        { tool_calls: [{ ...call, function: { name: "pay", arguments: `${W}\n${W}\n${W}` } }] },
        "tool_calls"
      )
    },
    said
  ],
  "an empty object before the arguments": [
    {
      whole: answer({ tool_calls: [{ ...call, function: { name: "pay", arguments: `{}${W}` } }] }, "tool_calls"),
      events: callChunks(fragment("A", "pay", "{}"), fragment(undefined, undefined, W))
    },
    said
  ],
  "two objects on one index": [
    { events: callChunks(fragment("A", "pay", W), fragment(undefined, "", '{"eur":6}')) },
    said
  ],
  "a call of Responses twice": [
    { whole: response(item(W), item(W)), events: [itemDone(item(W)), itemDone(item(W)), completed(item(W), item(W))] },
    doneResponse
  ],
  "a message of Responses twice": [
    { whole: response(message("Hi"), message("Hi")), events: [itemDone(message("Hi")), completed(message("Hi"))] }
  ],

  // -- what goes back -----------------------------------------------------------------------------------------------
  "wants the full form": [
    { whole: response(message("Let me pay."), item(W)) },
    (body) =>
      body["input"].some((one: Fields) => one["role"] !== undefined && one["type"] !== "message")
        ? badRequest("Cannot determine type of 'item'")
        : body["input"].some((one: Fields) => one["role"] === "assistant" && !(one["id"] && one["status"]))
          ? badRequest("id and status are missing")
          : doneResponse
  ],

  // -- ways of their own --------------------------------------------------------------------------------------------
  "says not to ask again": [
    { status: 429, headers: { "x-should-retry": "false" }, whole: { error: { message: "no" } } }
  ],
  "says not to ask again after a fault": [
    { status: 500, headers: { "x-should-retry": "false" }, whole: { error: { message: "no" } } }
  ],
  "says to ask again": [
    { status: 400, headers: { "x-should-retry": "true", "retry-after-ms": "1" }, whole: { error: { message: "no" } } },
    said
  ],
  "counts the cache its own way": [
    {
      whole: answer({ content: "Hi" }, "stop", {
        usage: { prompt_tokens: 100, completion_tokens: 5, prompt_cache_hit_tokens: 80 }
      })
    }
  ],
  "counts in the choice": [
    {
      events: [
        chunk({ content: "Hi" }),
        {
          choices: [{ index: 0, delta: {}, finish_reason: "stop", usage: { prompt_tokens: 10, completion_tokens: 5 } }]
        },
        "[DONE]"
      ]
    }
  ],
  "thinks in its content": [
    {
      whole: answer({
        content: [
          { type: "thinking", thinking: [{ type: "text", text: "hm" }] },
          { type: "text", text: "Hi" }
        ]
      }),
      events: [chunk({ content: [{ type: "thinking", thinking: "hm" }] }), ...hi]
    }
  ],

  // -- its own words ------------------------------------------------------------------------------------------------
  "a code and a message": [
    { whole: { code: 1002, message: "rate limited" }, events: [{ code: 1002, message: "rate limited" }, "[DONE]"] }
  ],
  "a status and no choices": [
    {
      whole: { id: "x", choices: null, base_resp: { status_code: 1008, status_msg: "insufficient balance" } },
      events: [{ id: "x", choices: null, base_resp: { status_code: 1008, status_msg: "insufficient balance" } }]
    }
  ],
  "a field called error": [{ events: ['error: {"code":500,"message":"slot unavailable"}\n\n'] }],
  "no choice": [{ whole: { choices: [] }, events: [{ choices: [] }, "[DONE]"] }],
  "a limit in words": [
    { status: 429, whole: { error: { message: "Limit 30000 tokens per minute, try again in 12 s" } } }
  ],
  "a long page": [
    {
      status: 502,
      headers: { "content-type": "text/html" },
      whole: `<html><head><title>502 Bad Gateway</title></head><body>${"<p>nginx</p>".repeat(250)}</body></html>`
    }
  ],
  "no such path": [
    { status: 404, headers: { "content-type": "text/html" }, whole: "<html>Cannot POST /chat/completions</html>" }
  ],
  "no such model": [{ status: 404, whole: { error: { message: 'model "m" not found, try pulling it first' } } }],

  // -- decided ------------------------------------------------------------------------------------------------------
  "JSON to a stream": [{ whole: answer({ content: "Hi" }) }],
  "JSON to a stream of Responses": [{ whole: response(message("Hi")) }],
  "events to a whole request": [{ events: hi }],
  "events of Responses to a whole request": [{ events: [completed(message("Hi"))] }],
  "JSON and the word that it is done": [{ whole: `${JSON.stringify(answer({ content: "Hi" }))}\n\ndata: [DONE]\n\n` }],
  "an empty reason throughout": [{ events: [chunk({ content: "Hi" }, ""), "[DONE]"] }],
  "a reset after the finish": [{ events: [chunk({ content: "Hi" }), chunk({}, "stop")], ending: "reset" }],
  "silence after the finish": [{ events: [chunk({ content: "Hi" }), chunk({}, "stop")], ending: "silence" }],
  "an error after the finish": [
    { events: [chunk({ content: "Hi" }), chunk({}, "stop"), { error: { message: "late" } }] }
  ],
  "a last event without a blank line": [
    { events: [chunk({ content: "Hi" }), `data: ${JSON.stringify(chunk({}, "stop"))}\n`] }
  ],
  "events without blank lines": [
    {
      events: [
        `data: ${JSON.stringify(chunk({ content: "Hi" }))}\ndata: ${JSON.stringify(chunk({}, "stop"))}\ndata: [DONE]\n\n`
      ]
    }
  ],
  "messages for deltas": [
    {
      events: [
        { choices: [{ index: 0, message: { content: "H" } }] },
        { choices: [{ index: 0, message: { content: "Hi" }, finish_reason: "stop" }] },
        "[DONE]"
      ]
    }
  ],
  "an older form of call": [
    {
      whole: answer({ content: null, function_call: { name: "pay", arguments: W } }, "function_call"),
      events: [
        chunk({ function_call: { name: "pay", arguments: '{"eur":' } }),
        chunk({ function_call: { arguments: "5}" } }),
        chunk({}, "function_call"),
        "[DONE]"
      ]
    },
    said
  ],
  "arguments encoded twice": [
    {
      whole: answer(
        { tool_calls: [{ ...call, function: { name: "pay", arguments: JSON.stringify(W) } }] },
        "tool_calls"
      )
    },
    said
  ],
  "arguments in a fence": [
    {
      whole: answer(
        { tool_calls: [{ ...call, function: { name: "pay", arguments: `\`\`\`json\n${W}\n\`\`\`` } }] },
        "tool_calls"
      )
    },
    said
  ],
  "numbers as text": [
    { whole: answer({ tool_calls: [{ ...call, function: { name: "pay", arguments: '{"eur":"5"}' } }] }, "tool_calls") },
    said
  ],
  "asks for approval of its own tool": [
    {
      whole: response({ type: "mcp_approval_request", id: "mcpr", name: "delete", arguments: "{}" }),
      events: [itemDone({ type: "mcp_approval_request", id: "mcpr", name: "delete", arguments: "{}" }), completed()]
    }
  ],
  "searches between two thoughts": [
    {
      whole: response(
        { type: "reasoning", id: "rs_1", encrypted_content: "one", summary: [] },
        { type: "web_search_call", id: "ws", status: "completed" },
        { type: "reasoning", id: "rs_2", encrypted_content: "two", summary: [] },
        message("Let me pay.", { id: "msg_7" }),
        item(W, { id: "fc_8" })
      )
    },
    doneResponse
  ],
  "a long id": [
    { whole: answer({ content: null, tool_calls: [{ ...call, id: "x".repeat(80) }] }, "tool_calls") },
    said
  ],
  "says done": [said],
  "says done on Responses": [doneResponse],
  "pays once": [
    {
      whole: answer({ content: null, tool_calls: [call] }, "tool_calls"),
      events: callChunks({ index: 0, ...call })
    },
    said
  ]
} satisfies Record<string, ReadonlyArray<Answer>>

export type CaseName = keyof typeof cases
