/** Tools of the demo model: the one that shares most words with the request, with literals as arguments. */
import { assert, describe } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { AgentTool } from "troupe"
import { ask, refusal, tools } from "../../support/demo.ts"
import { it } from "../../support/edges.ts"

const all = Object.values(tools)

describe("a tool is called and its result is the answer:", () => {
  it.effect.each<readonly [string, string]>([
    ["Add 2 and 40.", "42"],
    ["Please add 1,234.5 and -7", "1227.5"],
    ["20 - 5", "15"],
    ['What is the weather in "Oslo" in celsius?', "Oslo: fine, in celsius"],
    ["Weather forecast, please. city: Oslo", "Oslo: fine"],
    ['Send an email.\nto: bob@x.y\ntext: "Hello you"', 'sent "Hello you" to bob@x.y'],
    ['Send an email to "bob@x.y" with the text "Hello you"', 'sent "Hello you" to bob@x.y'],
    ['Send this as an email: {"to": "bob@x.y", "text": "Hi"}', 'sent "Hi" to bob@x.y'],
    ["Work out (2 + 3) * 4", "worked out (2 + 3) * 4"],
    ["List the users", "bob@x.y"],
    ['Look up the forecast for "Oslo"', "Oslo: fine"],
    ['List the users and get the weather for "Oslo"', "list_users: bob@x.y\nget_weather: Oslo: fine"]
  ])("%s", ([prompt, expected]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ask(prompt, ...all), expected)
    })
  )
})

describe("a tool is not called with a guess:", () => {
  it.effect.each<readonly [string, string, string]>([
    ["Subtract 5 from 20", "a", "subtract"],
    ["Add 2, 3 and 4", "a", "add"],
    ["Add 2 apples and 40 pears of 3 people", "a", "add"],
    ["How is the weather in Oslo?", "city", "get_weather"],
    ["Send an email to Bob", "to", "send_email"],
    ["Find all users who have not paid and email them a reminder", "to", "send_email"]
  ])("%s", ([prompt, field, tool]) =>
    Effect.gen(function* () {
      const refused = yield* refusal(ask(prompt, ...all))
      assert.strictEqual(refused.field, field)
      assert.include(refused.message, `does not guess \`${field}\` of the tool \`${tool}\``)
    })
  )

  it.effect("a filter that is not said", () =>
    Effect.gen(function* () {
      const users = AgentTool.fromFunction("list_users", {
        description: "List the users",
        parameters: Schema.Struct({ paid: Schema.Boolean }),
        execute: () => "bob@x.y"
      })
      const prompt = "Find all users who have not paid and email them a reminder"
      assert.strictEqual((yield* refusal(ask(prompt, users, tools.sendEmail))).field, "paid")
    })
  )

  it.effect("a part of the request that no tool can do", () =>
    Effect.gen(function* () {
      const refused = yield* refusal(ask("List the users. Then write a poem.", ...all))
      assert.include(refused.message, 'none has most words of "Then write a poem."')
    })
  )

  it.effect("a tool that shares a word with a request for something else", () =>
    Effect.gen(function* () {
      const clock = AgentTool.fromFunction("current_time", {
        description: "Tell the current date and time",
        execute: () => "noon"
      })
      const refused = yield* refusal(ask("Write a poem about the current president", clock))
      assert.strictEqual(refused.field, "tool")
    })
  )

  it.effect("a tool that failed", () =>
    Effect.gen(function* () {
      const broken = AgentTool.fromFunction("ping", {
        description: "Ping the server",
        execute: () => Effect.fail("no route to it")
      })
      assert.include((yield* refusal(ask("Ping the server", broken))).message, "no route to it")
    })
  )

  it.effect.each(["Tell me a joke", "Write a haiku", "Hello", "", "I have 2 cats and 40 dogs", "1 / 0", "2 +"])(
    "no tool is taken for: %s",
    (prompt) =>
      Effect.gen(function* () {
        const clock = AgentTool.fromFunction("current_time", {
          description: "Tell the current date and time",
          execute: () => "noon"
        })
        const refused = yield* refusal(ask(prompt, clock, ...all))
        assert.strictEqual(refused.field, "prompt")
        assert.include(refused.message, "does not guess an answer")
      })
  )
})
