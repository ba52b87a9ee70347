/** Tools that the clients of OpenAI's protocols run for an agent on a server. */
import { assert, describe, it } from "@effect/vitest"
import { generateText, jsonSchema, stepCountIs, tool } from "ai"
import { Effect } from "effect"
import type OpenAI from "openai"
import { TestModel } from "troupe"
import { ask, handling, post } from "../../support/agentServer.ts"
import { chatOn, guide, model, openAiClients, rejected } from "../../support/serverClients.ts"

const guiding = model(({ prompt }) => {
  const results = prompt.content.flatMap(({ content, role }) => (role === "tool" ? content : []))
  const last = results.at(-1)
  return last?.type === "tool-result"
    ? { text: `You are in ${(last.result as { readonly city: string }).city}.` }
    : TestModel.toolCall("locate", { exact: true })
})

describe("tools that a client runs", () => {
  it.live("let the client run a tool, and go on with its result", () =>
    Effect.gen(function* () {
      const { openai } = yield* openAiClients(guiding)
      yield* Effect.promise(async () => {
        for (const stream of [false, true]) {
          const messages: Array<OpenAI.ChatCompletionMessageParam> = [{ role: "user", content: "Where am I?" }]
          const asked = stream
            ? await openai.chat.completions.stream({ model: "guide", messages }).finalChatCompletion()
            : await openai.chat.completions.create({ model: "guide", messages })
          const { finish_reason, message } = asked.choices[0]!
          assert.strictEqual(finish_reason, "tool_calls")
          const call = message.tool_calls![0]!
          if (call.type !== "function") return assert.fail("a function")
          assert.deepStrictEqual([call.function.name, JSON.parse(call.function.arguments)], ["locate", { exact: true }])
          messages.push(message, { role: "tool", tool_call_id: call.id, content: '{"city":"Rome"}' })
          const done = stream
            ? await openai.chat.completions.stream({ model: "guide", messages }).finalChatCompletion()
            : await openai.chat.completions.create({ model: "guide", messages })
          assert.strictEqual(done.choices[0]!.message.content, "You are in Rome.")
          messages.push(done.choices[0]!.message, { role: "user", content: "And now?" })
          const next = await openai.chat.completions.create({ model: "guide", messages })
          assert.strictEqual(next.choices[0]!.message.content, "You are in Rome.")
        }
      })
    }).pipe(Effect.scoped)
  )

  it.live("refuse a call whose arguments were changed", () =>
    Effect.gen(function* () {
      const { openai } = yield* openAiClients(guiding)
      const user = { role: "user" as const, content: "Where am I?" }
      const error = yield* Effect.promise(async () => {
        const asked = await openai.chat.completions.create({ model: "guide", messages: [user] })
        const [call] = asked.choices[0]!.message.tool_calls!
        const changed = {
          ...call!,
          type: "function" as const,
          function: { name: "locate", arguments: '{"exact":false}' }
        }
        const messages = [
          user,
          { role: "assistant" as const, tool_calls: [changed] },
          { role: "tool" as const, tool_call_id: call!.id, content: '{"city":"Rome"}' }
        ]
        return await rejected(openai.chat.completions.create({ model: "guide", messages }))
      })
      assert.strictEqual(error.param, "messages[1].tool_calls[0]")
    }).pipe(Effect.scoped)
  )

  it.live("let the client run a tool, with and without the call in its input", () =>
    Effect.gen(function* () {
      const { openai } = yield* openAiClients(guiding)
      yield* Effect.promise(async () => {
        for (const stream of [false, true]) {
          const create = (body: { input: OpenAI.Responses.ResponseInput; previous_response_id?: string }) =>
            stream
              ? openai.responses.stream({ model: "guide", ...body }).finalResponse()
              : openai.responses.create({ model: "guide", ...body })
          const user = { role: "user" as const, content: "Where am I?" }
          const asked = await create({ input: [user] })
          const [call] = asked.output
          if (call?.type !== "function_call") return assert.fail("a call")
          assert.deepStrictEqual([call.name, JSON.parse(call.arguments)], ["locate", { exact: true }])
          const output = { type: "function_call_output" as const, call_id: call.call_id, output: '{"city":"Rome"}' }
          const done = await create({ input: [output], previous_response_id: asked.id })
          assert.strictEqual(done.output_text, "You are in Rome.")
          const again = await create({ input: [user] })
          const [second] = again.output
          if (second?.type !== "function_call") return assert.fail("a call")
          const { arguments: text, call_id, name } = second
          const stateless = await create({
            input: [
              user,
              { type: "function_call", call_id, name, arguments: text },
              { type: "function_call_output", call_id, output: '{"city":"Rome"}' }
            ]
          })
          assert.strictEqual(stateless.output_text, "You are in Rome.")
        }
      })
    }).pipe(Effect.scoped)
  )

  it.live("runs the tools that the server asks it for", () =>
    Effect.gen(function* () {
      const { compatible } = yield* openAiClients(guiding)
      const asked: Array<unknown> = []
      const tools = {
        locate: tool({
          description: "Says where the user is",
          inputSchema: jsonSchema<{ exact: boolean }>({ type: "object", properties: { exact: { type: "boolean" } } }),
          execute: (input) => {
            asked.push(input)
            return { city: "Rome" }
          }
        })
      }
      const { text } = yield* Effect.promise(() =>
        generateText({
          model: compatible("guide"),
          prompt: "Where am I?",
          tools,
          stopWhen: stepCountIs(3),
          maxRetries: 0
        })
      )
      assert.strictEqual(text, "You are in Rome.")
      assert.deepStrictEqual(asked, [{ exact: true }])
    }).pipe(Effect.scoped)
  )
})

describe("a tool that a page runs", () => {
  it.live("is called by the UI message stream, and its result goes on", () =>
    Effect.gen(function* () {
      const chat = yield* chatOn("guide", guiding)
      const asked = yield* Effect.promise(() => chat.say("Where am I?"))
      const part = asked.parts.find(({ type }) => type === "tool-locate")
      assert.deepInclude(part, { state: "input-available", input: { exact: true } })
      Object.assign(part!, { state: "output-available", output: { city: "Rome" } })
      const done = yield* Effect.promise(() => chat.goOn())
      assert.include(JSON.stringify(done.parts), "You are in Rome.")
    }).pipe(Effect.scoped)
  )

  it.live("is asked for by the routes of runs, with its arguments", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { guide } }, guiding)
      const first = yield* ask(handler, post("/runners/guide", { input: "Where am I?" }))
      assert.strictEqual(first.status, 202)
      const [waiting] = first.body.waitingFor
      assert.deepInclude(waiting, { kind: "client-tool", tool: "locate", params: { exact: true } })
      const wrong = yield* ask(handler, post(`/runs/${first.body.runId}/input`, { answers: { other: 1 } }))
      assert.strictEqual(wrong.status, 400)
      const misfit = { answers: { [waiting.id]: { town: "Rome" } } }
      const refused = yield* ask(handler, post(`/runs/${first.body.runId}/input`, misfit))
      assert.strictEqual(refused.status, 400)
      assert.include(refused.body.detail, `The answer to ${waiting.id} does not count`)
      assert.include(refused.body.detail, "city")
      const answers = { answers: { [waiting.id]: { city: "Rome" } } }
      const second = yield* ask(handler, post(`/runs/${first.body.runId}/input`, answers))
      assert.strictEqual(second.body.output, "You are in Rome.")
    }).pipe(Effect.scoped)
  )
})
