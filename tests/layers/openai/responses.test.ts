/** How the answers of the Responses API are read, item by item. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import type { AiError } from "effect/ai"
import { assertStream, textOf } from "../../contract/checks.ts"
import { brief, briefly, type Part, provider, request } from "../../support/openAiRequest.ts"

const streamed = (...events: ReadonlyArray<unknown>) =>
  Effect.scoped(
    Effect.flatMap(provider("responses", { events }), (self): Effect.Effect<ReadonlyArray<Part>, AiError.AiError> =>
      Stream.runCollect(self.streamText(request))
    )
  )
const whole = (output: ReadonlyArray<unknown>, more: object = {}) =>
  Effect.scoped(
    Effect.flatMap(
      provider("responses", { body: { id: "r", model: "served", status: "completed", output, ...more } }),
      (self): Effect.Effect<ReadonlyArray<Part>, AiError.AiError> => self.generateText(request)
    )
  )

const completed = (output: ReadonlyArray<unknown> = [], more: object = {}) => ({
  type: "response.completed",
  response: {
    id: "r",
    model: "served",
    status: "completed",
    output,
    usage: { input_tokens: 1, output_tokens: 1 },
    ...more
  }
})
const added = (output_index: number, item: object) => ({ type: "response.output_item.added", output_index, item })
const done = (output_index: number, item: object) => ({ type: "response.output_item.done", output_index, item })
const args = (output_index: number, item_id: string, delta: string) => ({
  type: "response.function_call_arguments.delta",
  output_index,
  item_id,
  delta
})
const fn = (n: number, args: string) => ({
  type: "function_call",
  id: `fc_${n}`,
  call_id: `call_${n}`,
  name: "add",
  arguments: args
})
const message = (...texts: ReadonlyArray<string>) => ({
  type: "message",
  id: "msg_1",
  role: "assistant",
  content: texts.map((text) => ({ type: "output_text", text, annotations: [] }))
})
const thought = (...texts: ReadonlyArray<string>) => ({
  type: "reasoning",
  id: "rs_1",
  encrypted_content: "sealed",
  summary: texts.map((text) => ({ type: "summary_text", text }))
})

describe("Responses", () => {
  it.live("streams each summary, text and call as a block of its own", () =>
    Effect.gen(function* () {
      const summary = (summary_index: number, delta: string) => ({
        type: "response.reasoning_summary_text.delta",
        item_id: "rs_1",
        summary_index,
        delta
      })
      const text = (content_index: number, delta: string) => ({
        type: "response.output_text.delta",
        item_id: "msg_1",
        content_index,
        delta
      })
      const parts = yield* streamed(
        { type: "response.created", response: { id: "r", model: "served" } },
        added(0, { ...thought(), encrypted_content: "" }),
        summary(0, "one"),
        summary(1, "two"),
        done(0, thought("one", "two")),
        added(1, message()),
        text(0, "Hel"),
        text(0, "lo"),
        text(1, "again"),
        done(1, message("Hello", "again")),
        added(2, fn(0, "")),
        args(2, "fc_0", '{"a":'),
        args(2, "fc_0", "1}"),
        done(2, fn(0, '{"a":1}')),
        completed()
      )
      assert.deepStrictEqual(briefly(parts), [
        "response-metadata r",
        "reasoning-start rs_1:0",
        "reasoning-delta rs_1:0 one",
        "reasoning-start rs_1:1",
        "reasoning-delta rs_1:1 two",
        "reasoning-end rs_1:0",
        "reasoning-end rs_1:1",
        "text-start msg_1:0",
        "text-delta msg_1:0 Hel",
        "text-delta msg_1:0 lo",
        "text-start msg_1:1",
        "text-delta msg_1:1 again",
        "text-end msg_1:0",
        "text-end msg_1:1",
        "tool-params-start call_0",
        'tool-params-delta call_0 {"a":',
        "tool-params-delta call_0 1}",
        "tool-params-end call_0",
        'tool-call call_0 add {"a":1}',
        "finish tool-calls"
      ])
      const sealed = parts.flatMap((part) => (part.type === "reasoning-end" ? [part.metadata?.["openai"]] : []))
      const expected = { server: "127.0.0.1", itemId: "rs_1", encryptedContent: "sealed" }
      assert.deepStrictEqual(sealed, [expected, expected])
    })
  )

  it.live("keeps calls apart whose fragments come interleaved", () =>
    Effect.gen(function* () {
      const parts = yield* streamed(
        added(0, fn(0, "")),
        added(1, fn(1, "")),
        args(1, "fc_1", '{"b"'),
        args(0, "fc_0", '{"a"'),
        args(1, "fc_1", ":2}"),
        args(0, "fc_0", ":1}"),
        done(1, fn(1, '{"b":2}')),
        done(0, fn(0, '{"a":1}')),
        completed()
      )
      const streaming = (id: string) =>
        parts.flatMap((part) => (part.type === "tool-params-delta" && part.id === id ? [part.delta] : [])).join("")
      assert.deepStrictEqual([streaming("call_0"), streaming("call_1")], ['{"a":1}', '{"b":2}'])
      assert.deepStrictEqual(
        parts.flatMap((part) => (part.type === "tool-call" ? [brief(part)] : [])),
        ['tool-call call_1 add {"b":2}', 'tool-call call_0 add {"a":1}']
      )
    })
  )

  it.live("reads items that come whole, without a delta", () =>
    Effect.gen(function* () {
      const items = [thought("hm"), message("Hello", "again"), fn(0, '{"a":1}')]
      const refusal = { type: "message", id: "msg_2", content: [{ type: "refusal", refusal: "no" }] }
      const asked = yield* whole(items)
      const itemByItem = yield* streamed(...items.map((item, n) => done(n, item)), completed(items))
      const atTheEnd = yield* streamed({ type: "response.created", response: { id: "r" } }, completed(items))
      const says = (parts: ReadonlyArray<Part>) => [
        parts
          .map((part) =>
            part.type === "text" ? part.text : part.type === "text-delta" ? (part as { delta: string }).delta : ""
          )
          .join("|")
          .replace(/\|+/g, "|"),
        ...parts.flatMap((part) => (part.type === "tool-call" || part.type === "finish" ? [brief(part)] : []))
      ]
      assert.deepStrictEqual(says(asked), ["|Hello|again|", 'tool-call call_0 add {"a":1}', "finish tool-calls"])
      assert.deepStrictEqual(says(itemByItem), says(asked))
      assert.deepStrictEqual(says(atTheEnd), says(asked))
      const refused = yield* streamed(done(0, refusal), completed([refusal]))
      assert.deepStrictEqual(says(refused), ["|no|", "finish content-filter"])
    })
  )

  it.live("says nothing twice, though a server calls one item by several ids, or by none", () =>
    Effect.gen(function* () {
      const delta = (fields: object, delta: string) => ({
        type: "response.output_text.delta",
        content_index: 0,
        delta,
        ...fields
      })
      const { id: _id, ...nameless } = message("Hello")
      for (const events of [
        [delta({ item_id: "a", output_index: 0 }, "Hel"), delta({ item_id: "a", output_index: 0 }, "lo")],
        [delta({ output_index: 0 }, "Hel"), delta({ output_index: 0 }, "lo")],
        [delta({ item_id: "msg_1" }, "Hel"), delta({ item_id: "msg_1" }, "lo")]
      ]) {
        const parts = yield* streamed(...events, done(0, message("Hello")), completed([message("Hello")]))
        assertStream([...parts] as never)
        assert.strictEqual(textOf(parts as never), "Hello")
      }
      const parts = yield* streamed(
        delta({}, "Hello"),
        { type: "response.output_item.done", item: nameless },
        completed()
      )
      assertStream([...parts] as never)
      assert.strictEqual(textOf(parts as never), "Hello")
    })
  )

  it.live("gives broken arguments as the text they are, and none as an empty object", () =>
    Effect.gen(function* () {
      const given = ['{"a":', '{"__proto__":{"a":1}}', "", "null"]
      const params = ['{"a":', '{"__proto__":{"a":1}}', {}, {}]
      const items = given.map((one, n) => fn(n, one))
      for (const parts of [
        yield* whole(items),
        yield* streamed(
          ...items.flatMap((item, n) => [added(n, { ...item, arguments: "" }), done(n, item)]),
          completed()
        )
      ]) {
        assert.deepStrictEqual(
          parts.flatMap((part) => (part.type === "tool-call" ? [part.params] : [])),
          params
        )
      }
    })
  )

  it.live("finds a call's end by its place or its call's id, and ends those that the server does not end", () =>
    Effect.gen(function* () {
      const { id: _id, ...nameless } = fn(0, '{"a":1}')
      const whole = { ...nameless, arguments: undefined }
      const begun = [added(0, { ...nameless, arguments: "" }), args(0, "", '{"a":'), args(0, "", "1}")]
      const named = [added(0, fn(0, "")), args(0, "fc_0", '{"a":1}')]
      for (const events of [
        [...begun, done(0, nameless)],
        [...begun, done(0, whole)],
        [...named, done(0, { ...fn(0, '{"a":1}'), id: "another" })],
        [...named, { type: "response.output_item.done", item: nameless }],
        named
      ]) {
        const parts = yield* streamed(...events, completed())
        assertStream([...parts] as never)
        const said = briefly(parts.filter((part) => part.type !== "response-metadata"))
        assert.deepStrictEqual(said.slice(-3), [
          "tool-params-end call_0",
          'tool-call call_0 add {"a":1}',
          "finish tool-calls"
        ])
      }
    })
  )

  it.live("adds what only the last response holds, to a text of any length, and nothing to another text", () =>
    Effect.gen(function* () {
      const delta = (delta: string) => ({
        type: "response.output_text.delta",
        item_id: "msg_1",
        output_index: 0,
        content_index: 0,
        delta
      })
      const words = Array.from({ length: 3000 }, (_, n) => `word ${n}, `)
      const whole = words.join("")
      const said = (parts: ReadonlyArray<Part>) => textOf([...parts] as never)
      const begun = words.slice(0, -100).map(delta)
      assert.strictEqual(said(yield* streamed(...begun, completed([message(whole)]))), whole)
      const other = completed([message(`another ${whole}`)])
      assert.strictEqual(said(yield* streamed(...begun, other)), words.slice(0, -100).join(""))
    })
  )

  it.live("keeps reasoning and text apart where a server names no items", () =>
    Effect.gen(function* () {
      const parts = yield* streamed(
        { type: "response.reasoning_summary_text.delta", summary_index: 0, delta: "hm" },
        { type: "response.output_text.delta", content_index: 0, delta: "Hello" },
        { type: "response.reasoning_summary_text.delta", summary_index: 0, delta: "!" },
        completed()
      )
      assertStream([...parts] as never)
      assert.deepStrictEqual(
        parts.flatMap((part) =>
          part.type === "text-delta" || part.type === "reasoning-delta" ? [[part.type, part.delta]] : []
        ),
        [
          ["reasoning-delta", "hm"],
          ["text-delta", "Hello"],
          ["reasoning-delta", "!"]
        ]
      )
    })
  )

  it.live("distinguishes calls to which a server gives one id", () =>
    Effect.gen(function* () {
      const items = [1, 2].map((a) => ({ ...fn(a, `{"a":${a}}`), call_id: "add" }))
      for (const parts of [
        yield* whole(items),
        yield* streamed(...items.map((item, n) => done(n, item)), completed()),
        yield* streamed(
          ...items.map((item, n) => added(n, { ...item, arguments: "" })),
          ...items.map((item, n) => done(n, item)),
          completed()
        )
      ]) {
        const calls = parts.filter((part) => part.type === "tool-call")
        assert.deepStrictEqual(
          calls.map((call) => call.params),
          [{ a: 1 }, { a: 2 }]
        )
        assert.strictEqual(calls[0]!.id, "add")
        assert.notStrictEqual(calls[1]!.id, "add")
      }
    })
  )

  it.live("gives calls without an id a new one each, and an item's parts one id", () =>
    Effect.gen(function* () {
      const items = [1, 2].map((a) => ({ type: "function_call", name: "add", arguments: `{"a":${a}}` }))
      for (const parts of [
        yield* whole(items),
        yield* streamed(...items.map((item, n) => done(n, item)), completed())
      ]) {
        const ids = parts.flatMap((part) => (part.type === "tool-call" ? [part.id] : []))
        assert.strictEqual(new Set(ids).size, 2)
        for (const id of ids) assert.match(id, /^call_\w{11,}$/)
      }
    })
  )

  it.live("keeps reasoning without a summary, for it has to go back", () =>
    Effect.gen(function* () {
      const metadata = { openai: { server: "127.0.0.1", itemId: "rs_1", encryptedContent: "sealed" } }
      const asked = yield* whole([thought(), message("a")])
      assert.deepStrictEqual(asked[1], { type: "reasoning", text: "", metadata })
      const streaming = yield* streamed(added(0, thought()), done(0, thought()), done(1, message("a")), completed())
      assert.deepStrictEqual(streaming[0], { type: "reasoning-start", id: "rs_1:0" })
      assert.deepStrictEqual(streaming[1], { type: "reasoning-end", id: "rs_1:0", metadata })
    })
  )

  it.live("reads the reasoning that open models show", () =>
    Effect.gen(function* () {
      const item = { type: "reasoning", id: "rs_1", summary: [], content: [{ type: "reasoning_text", text: "hm, ok" }] }
      const delta = (delta: string) => ({
        type: "response.reasoning_text.delta",
        item_id: "rs_1",
        content_index: 0,
        delta
      })
      const streaming = yield* streamed(added(0, item), delta("hm, "), delta("ok"), done(0, item), completed())
      assert.deepStrictEqual(briefly(streaming).slice(0, 4), [
        "reasoning-start rs_1:0",
        "reasoning-delta rs_1:0 hm, ",
        "reasoning-delta rs_1:0 ok",
        "reasoning-end rs_1:0"
      ])
      assert.strictEqual(brief((yield* whole([item]))[1]!), "reasoning hm, ok")
    })
  )

  it.live("says why an answer is not complete", () =>
    Effect.gen(function* () {
      for (const [reason, meant] of [
        ["max_output_tokens", "length"],
        ["content_filter", "content-filter"],
        ["something_new", "other"]
      ] as const) {
        const state = { status: "incomplete", incomplete_details: { reason } }
        const cut = fn(0, '{"a":')
        const asked = yield* whole([message("half"), cut], state)
        const streaming = yield* streamed(done(0, message("half")), done(1, cut), {
          type: "response.incomplete",
          response: { id: "r", ...state, output: [] }
        })
        for (const parts of [asked, streaming]) assert.strictEqual(brief(parts.at(-1)!), `finish ${meant}`)
      }
    })
  )

  it.live("takes the event of an incomplete answer at its word, even if its response says otherwise", () =>
    Effect.gen(function* () {
      for (const [response, meant] of [
        [{ incomplete_details: { reason: "max_output_tokens" } }, "length"],
        [{ status: "completed" }, "other"],
        [undefined, "other"]
      ] as const) {
        const parts = yield* streamed(done(0, message("half")), { type: "response.incomplete", response })
        assert.strictEqual(brief(parts.at(-1)!), `finish ${meant}`)
      }
    })
  )

  it.live("fails for what no answer looks like", () =>
    Effect.gen(function* () {
      const bad: ReadonlyArray<ReadonlyArray<unknown>> = [
        [{ nothing: 1 }],
        [{ type: "response.output_text.delta", item_id: "m", content_index: 0, delta: 3 }],
        [done(0, 3 as never)],
        [{ type: "response.completed" }]
      ]
      for (const events of bad) {
        const error = yield* Effect.flip(streamed(...events))
        assert.deepStrictEqual([events, error.reason._tag], [events, "InvalidResponseError"])
      }
      for (const output of [undefined, "text", [3]]) {
        const error = yield* Effect.flip(whole(output as never))
        assert.deepStrictEqual([output, error.reason._tag], [output, "InvalidResponseError"])
      }
    })
  )
})
