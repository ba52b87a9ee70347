/** What of secrets and personal data is sent to a model, and where it is put back. */
import { assert, describe } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Effect, Layer, Redacted, Schema } from "effect"
import { Prompt } from "effect/ai"
import {
  Agent,
  AgentTool,
  Approvals,
  Guardrail,
  Memory,
  MemoryStore,
  Middleware,
  Notice,
  Redaction,
  Runner,
  TestModel
} from "troupe"
import { collect } from "../support/grammar.ts"
import { Happenings, messagesOf } from "../support/randomTranscripts.ts"
import { cpuTime } from "../support/cpuTime.ts"

const text = (value: unknown) => JSON.stringify(value)
const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const sent = (prompt: Prompt.Prompt) =>
  Schema.encodeSync(Prompt.Prompt)(prompt).content.map(({ content }) => text(content))
const mail = AgentTool.fromFunction("send_mail", {
  description: "Sends",
  parameters: Schema.Struct({ to: Schema.String, cc: Schema.optionalKey(Schema.Array(Schema.String)) }),
  execute: ({ to }) => `sent to ${to}, copy to boss@example.com`
})
const redaction = (options: Redaction.Options = {}) =>
  Redaction.make({ secrets: [Redacted.make("hunter2")], ...options })
const agentOf = (options: Redaction.Options = {}) =>
  Agent.make("agent", { instructions: "The password is hunter2.", middleware: [redaction(options)], tools: [mail] })

describe("a redaction", () => {
  const said =
    "I am ada@example.com, +49 30 1234567, card 4111 1111 1111 1111, DE89 3704 0044 0532 0130 00, key sk-abcdefghijklmnop1234. Order 2024-11-30 of 12345678 items, version 1.2.3."

  it.effect("sends placeholders, the same for the same value, and keeps everything in the transcript", () =>
    Effect.gen(function* () {
      const { transcript } = yield* agentOf().result(said)
      const [first, second] = (yield* calls).map(({ prompt }) => sent(prompt)) as unknown as [
        ReadonlyArray<string>,
        ReadonlyArray<string>
      ]
      assert.include(first[0], "The password is [SYSTEM_SECRET_1].")
      assert.include(
        first[1],
        "I am [EMAIL_1], [PHONE_1], card [CARD_1], [IBAN_1], key [KEY_1]. Order 2024-11-30 of 12345678 items, version 1.2.3."
      )
      assert.deepStrictEqual(second.slice(0, first.length), first)
      assert.include(second.join(""), "sent to [EMAIL_1], copy to [EMAIL_2]")
      assert.include(text(transcript.content), "ada@example.com")
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("send_mail", { to: "ada@example.com" }), "done"])))
  )

  it.effect("sends no value that middleware further in adds, such as a memory that is recalled", () => {
    const recalled = Memory.feature({ namespace: "user" })
    const remembering = Agent.make("agent", {
      use: [recalled],
      middleware: [redaction({ restore: true })],
      tools: [mail]
    })
    return Effect.gen(function* () {
      yield* Memory.put({
        namespace: "user",
        key: "mail",
        text: "mail of ada: ada@example.com, of bob: bob@example.com"
      })
      const { transcript } = yield* remembering.result("mail of bob, not of ada@example.com?")
      const [first] = (yield* calls).map(({ prompt }) => sent(prompt).join(""))
      assert.include(first, "of ada: [EMAIL_1], of bob: [ADDED_EMAIL_1]")
      assert.include(text(transcript.content), "sent to bob@example.com")
    }).pipe(
      Effect.provide(
        Layer.merge(
          MemoryStore.layerMemory,
          TestModel.layer([TestModel.toolCall("send_mail", { to: "[ADDED_EMAIL_1]" }), "done"])
        )
      )
    )
  })

  it.effect("has a guardrail further in check what is sent", () => {
    const judge = Agent.make("judge", { output: Guardrail.Verdict })
    const agent = Agent.make("agent", {
      instructions: "Be brief.",
      middleware: [redaction(), Guardrail.input("manners", judge, { hold: true })]
    })
    return Effect.gen(function* () {
      yield* agent.run("I am ada@example.com.")
      const all = (yield* calls).map(({ prompt }) => sent(prompt).join(""))
      assert.notInclude(all.join(""), "ada@example.com")
      assert.include(all[0], "I am [EMAIL_1].")
      assert.notInclude(all[0], "Be brief.")
    }).pipe(Effect.provide(TestModel.layer([TestModel.json({ _tag: "Pass" }), "done"])))
  })

  it.effect("of all agents of a program sends no value that the middleware of one adds", () => {
    const noticed = Agent.make("agent", {
      middleware: [Notice.make({ date: false, text: () => "Ask ada@example.com." })]
    })
    return Effect.gen(function* () {
      yield* noticed.run("go")
      assert.include(sent((yield* calls)[0]!.prompt).join(""), "Ask [ADDED_EMAIL_1].")
    }).pipe(Effect.provide(Middleware.layer(redaction())), Effect.provide(TestModel.layer(["done"])))
  })

  it.effect("puts values back in the arguments of tools where that is asked for, before they are approved", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const careful = AgentTool.fromFunction("send_mail", {
        description: "Sends",
        parameters: Schema.Struct({ to: Schema.String, cc: Schema.Array(Schema.String) }),
        needsApproval: true,
        execute: (params) => params
      })
      const agent = Agent.make("agent", { middleware: [redaction({ restore: ["send_mail"] })], tools: [careful] })
      yield* agent.run("I am ada@example.com.").pipe(
        Effect.provide(
          Approvals.layer(({ params }) =>
            Effect.sync(() => {
              asked.push(params)
              return Approvals.approve
            })
          )
        )
      )
      assert.deepStrictEqual(asked, [{ to: "ada@example.com", cc: ["ada@example.com", "[EMAIL_7]"] }])
      assert.notInclude(sent((yield* calls)[1]!.prompt).join(""), "ada@example.com")
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("send_mail", { to: "[EMAIL_1]", cc: ["[EMAIL_1]", "[EMAIL_7]"] }), "done"])
      )
    )
  )

  it.effect("takes them out of the names of fields, and puts them back there", () =>
    Effect.gen(function* () {
      const made: Array<unknown> = []
      const balances = AgentTool.fromFunction("balances", {
        description: "Tells who owes how much",
        parameters: Schema.Struct({ of: Schema.Record(Schema.String, Schema.Boolean) }),
        execute: ({ of }) => {
          made.push(of)
          return { "ada@example.com": 3, nested: [{ hunter2: true }] }
        }
      })
      const agent = Agent.make("agent", { middleware: [redaction({ restore: true })], tools: [balances] })
      yield* agent.run("I am ada@example.com.")
      assert.deepStrictEqual(made, [{ "ada@example.com": true }])
      const second = sent((yield* calls)[1]!.prompt).join("")
      assert.notInclude(second, "ada@example.com")
      assert.notInclude(second, "hunter2")
      assert.include(second, '"[EMAIL_1]":3')
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("balances", { of: { "[EMAIL_1]": true } }), "done"])))
  )

  it.effect("leaves placeholders in arguments where it is not asked for", () =>
    Effect.gen(function* () {
      const { transcript } = yield* agentOf().result("I am ada@example.com.")
      assert.include(text(transcript.content), "sent to [EMAIL_1]")
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("send_mail", { to: "[EMAIL_1]" }), "done"])))
  )

  it.effect(
    "puts values back that come in pieces, and shows no observer of a stream more than the model has written",
    () =>
      Effect.gen(function* () {
        const sent: Array<string> = []
        const send = AgentTool.fromFunction("send_mail", {
          description: "Sends",
          parameters: Schema.Struct({ to: Schema.String }),
          execute: ({ to }) => {
            sent.push(to)
            return "sent"
          }
        })
        const agent = Agent.make("agent", { middleware: [redaction({ restore: true })], tools: [send] })
        const { events } = yield* collect(agent, "I am ada@example.com.")
        assert.deepStrictEqual(sent, ["ada@example.com"])
        const pieces = events.flatMap((event) => (event._tag === "ToolParamsDelta" ? [event.delta] : []))
        assert.isAbove(pieces.length, 3)
        assert.strictEqual(pieces.join(""), '{"to":"[EMAIL_1]"}')
      }).pipe(
        Effect.provide(TestModel.layer([{ ...TestModel.toolCall("send_mail", { to: "[EMAIL_1]" }), chunk: 4 }, "done"]))
      )
  )

  it.effect(
    "puts them back in a call that is approved when its run goes on, of a conversation and of instructions",
    () =>
      Effect.gen(function* () {
        const got: Array<unknown> = []
        const careful = AgentTool.fromFunction("send_mail", {
          description: "Sends",
          parameters: Schema.Struct({ to: Schema.String, cc: Schema.String }),
          needsApproval: true,
          execute: (params) => void got.push(params)
        })
        const agentNow = () =>
          Agent.make("agent", {
            instructions: "Copy boss@example.com.",
            middleware: [redaction({ restore: true })],
            tools: [careful]
          })
        const error = yield* Effect.flip(agentNow().run("Write to ada@example.com."))
        if (error._tag !== "RunSuspended") return yield* Effect.fail(error)
        const [waiting] = error.waitingFor
        assert.deepStrictEqual(waiting.kind === "approval" && waiting.params, {
          to: "ada@example.com",
          cc: "boss@example.com"
        })
        yield* agentNow().run(Runner.answer(error.transcript, { [waiting.id]: Approvals.approve }))
        assert.deepStrictEqual(got, [{ to: "ada@example.com", cc: "boss@example.com" }])
      }).pipe(
        Effect.provide(
          TestModel.layer([TestModel.toolCall("send_mail", { to: "[EMAIL_1]", cc: "[SYSTEM_EMAIL_1]" }), "done"])
        )
      )
  )

  it.effect("has the same placeholders in a conversation that goes on with other instructions", () =>
    Effect.gen(function* () {
      const of = (instructions: string) => Agent.make("agent", { instructions, middleware: [redaction()] })
      const { transcript } = yield* of("Ask carl@example.com.").result("I am ada@example.com.")
      yield* of("Ask dora@example.com and carl@example.com.").run(Prompt.concat(transcript, "I am bob@example.com."))
      assert.deepStrictEqual(
        (yield* calls).map(({ prompt }) =>
          sent(prompt)
            .join("")
            .match(/I am \[\w+\]/g)
        ),
        [["I am [EMAIL_1]"], ["I am [EMAIL_1]", "I am [EMAIL_2]"]]
      )
    }).pipe(Effect.provide(TestModel.layer(["[EMAIL_1], hello", "hello"])))
  )

  it.effect("takes no placeholder that stands in a text already for another value", () =>
    Effect.gen(function* () {
      const got: Array<unknown> = []
      const send = AgentTool.fromFunction("send_mail", {
        description: "Sends",
        parameters: Schema.Struct({ to: Schema.String }),
        execute: ({ to }) => void got.push(to)
      })
      const clerk = Agent.make("clerk", { middleware: [redaction({ restore: true })], tools: [send] })
      yield* clerk.run("Write to [EMAIL_1], from support@example.com.")
      assert.include(sent((yield* calls)[0]!.prompt).join(""), "Write to [EMAIL_1], from [EMAIL_2].")
      assert.deepStrictEqual(got, ["[EMAIL_1]"])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("send_mail", { to: "[EMAIL_1]" }), "done"])))
  )

  it.effect("takes them out of what a tool shows the model in a form of its own, and leaves files there", () =>
    Effect.gen(function* () {
      const image = Prompt.filePart({ mediaType: "image/png", data: new Uint8Array([1]) })
      const modelOutput = [Prompt.textPart({ text: "Of ada@example.com" }), image]
      const result = {
        id: "c",
        name: "look",
        isFailure: false,
        providerExecuted: false,
        result: { id: 7 },
        modelOutput
      }
      yield* agentOf().run([
        { role: "user", content: "Look." },
        {
          role: "assistant",
          content: [{ type: "tool-call", id: "c", name: "look", params: {}, providerExecuted: false }]
        },
        { role: "tool", content: [Prompt.toolResultPart(result)] }
      ])
      const { prompt } = (yield* calls)[0]!
      const parts = prompt.content.flatMap((message) => (message.role === "tool" ? message.content : []))
      assert.deepStrictEqual(
        parts.map((part) => part.type === "tool-result" && part.modelOutput?.[1]),
        [image]
      )
      assert.include(sent(prompt).join(""), "Of [EMAIL_1]")
      assert.notInclude(sent(prompt).join(""), "ada@")
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("takes out what a model or a user has written in pieces: of a stream, and of neighbouring parts", () =>
    Effect.gen(function* () {
      const parts = ["My password is hun", "ter2, write to ada@exam", "ple.com."].map((text) =>
        Prompt.textPart({ text })
      )
      const { events } = yield* collect(agentOf(), [Prompt.userMessage({ content: parts })])
      assert.strictEqual(events.filter(({ _tag }) => _tag === "TextDelta").length > 2, true)
      for (const { prompt } of yield* calls) {
        const all = sent(prompt).join("")
        for (const secret of ["hun", "ter2", "ada@exam", "ple.com", "bob@"]) assert.notInclude(all, secret)
        assert.include(all, "My password is [SECRET_1], write to [EMAIL_1].")
      }
      assert.include(sent((yield* calls)[1]!.prompt).join(""), "I ask [EMAIL_2] too.")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { text: ["I ask bob@exa", "mple.org", " too."], ...TestModel.toolCall("send_mail", { to: "x" }) },
          "done"
        ])
      )
    )
  )

  it.effect("finds what patterns of a program say, and only the kinds that are asked for", () =>
    Effect.gen(function* () {
      const agent = agentOf({ kinds: [], patterns: { "case number": /\bC-\d+/ } })
      yield* agent.run("Case C-17 of ada@example.com, C-18.")
      assert.include(sent((yield* calls)[0]!.prompt)[1], "Case [CASE_NUMBER_1] of ada@example.com, [CASE_NUMBER_2].")
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("takes out card numbers that are numbers, and puts them back as numbers", () =>
    Effect.gen(function* () {
      const paid: Array<unknown> = []
      const find = AgentTool.fromFunction("find", {
        description: "Finds",
        // The time has the check digit of a card.
        execute: () => ({ card: 4111111111111111, at: 1700000000003, pin: 73316841, count: 3 })
      })
      const pay = AgentTool.fromFunction("pay", {
        description: "Pays",
        parameters: Schema.Struct({ card: Schema.Finite }),
        execute: ({ card }) => paid.push(card)
      })
      const guard = redaction({ restore: true, secrets: ["73316841"] })
      yield* Agent.make("agent", { middleware: [guard], tools: [find, pay] }).run("go")
      assert.deepStrictEqual(paid, [4111111111111111])
      for (const { prompt } of (yield* calls).slice(1)) {
        const all = sent(prompt).join("")
        assert.include(all, '{"card":"[CARD_1]","at":1700000000003,"pin":"[SECRET_1]","count":3}')
        assert.notInclude(all, "4111111111111111")
      }
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("find", {}), TestModel.toolCall("pay", { card: "[CARD_1]" }), "done"])
      )
    )
  )

  for (const kinds of [undefined, ["email"]] as const) {
    it.effect(
      `${kinds === undefined ? "takes out" : "leaves, without the kind of keys,"} what stands under a secret name`,
      () =>
        Effect.gen(function* () {
          const connect = AgentTool.fromFunction("connect", {
            description: "Connects",
            execute: () => ({
              apiKey: "blue-whale",
              headers: { authorization: "Digest whale", "set-cookie": ["id=whale", "b=whale"] },
              otp: 4815162342,
              log: '{"client_secret":"whale"}',
              nextPageToken: "page two",
              token_type: "Bearer"
            })
          })
          yield* Agent.make("agent", { middleware: [redaction({ kinds })], tools: [connect] }).run("go")
          const all = sent((yield* calls)[1]!.prompt).join("")
          assert.include(all, '"nextPageToken":"page two","token_type":"Bearer"')
          const isSent = kinds !== undefined
          assert.strictEqual(all.includes("whale"), isSent)
          assert.strictEqual(all.includes("4815162342"), isSent)
        }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("connect", {}), "done"])))
    )
  }

  it.effect("takes out the keys that errors and tapes have taken out of them", () =>
    Effect.gen(function* () {
      const keys = ["sk_live_0123456789abcdefgh", "gsk_0123456789abcdefghijklm", "xai-0123456789abcdefghijklm"]
      yield* agentOf().run(`Use ${keys.join(" or ")} at https://ada:passw0rd@example.com.`)
      const [, asked] = sent((yield* calls)[0]!.prompt)
      assert.include(asked, "Use [KEY_1] or [KEY_2] or [KEY_3] at https://[KEY_4]@example.com.")
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("has a memory keep values where its tool is named, and placeholders otherwise", () =>
    Effect.gen(function* () {
      for (const [restore, kept] of [
        [["remember"], "ada@example.com"],
        [false, "[EMAIL_1]"]
      ] as const) {
        const agent = Agent.make("agent", {
          middleware: [redaction({ restore })],
          tools: Memory.tools({ namespace: "user" })
        })
        yield* agent.run("I am ada@example.com.")
        assert.strictEqual((yield* Memory.get("mail", { namespace: "user" }))?.text, kept)
      }
    }).pipe(
      Effect.provide([
        MemoryStore.layerMemory,
        TestModel.layer([
          TestModel.toolCall("remember", { key: "mail", text: "[EMAIL_1]" }),
          "done",
          TestModel.toolCall("remember", { key: "mail", text: "[EMAIL_1]" }),
          "done"
        ])
      ])
    )
  )

  it.effect("is refused for what cannot be redacted, without saying the secret", () =>
    Effect.sync(() => {
      assert.throws(() => Redaction.make({ secrets: ["abc"] }), /a secret is shorter than 4 characters/)
      assert.throws(() => Redaction.make({ kinds: ["shoe"] as never }), /there is no kind "shoe"/)
      assert.throws(() => Redaction.make({ patterns: { any: /x*/ } }), /matches the empty text/)
    })
  )

  it.effect.prop(
    "changes nothing in a conversation without such data, and what it sends of one begins with what it sent before",
    { happenings: Happenings },
    ({ happenings }) =>
      Effect.gen(function* () {
        const messages = messagesOf(happenings)
        const secret = Prompt.userMessage({ content: [Prompt.textPart({ text: "hunter2 and ada@example.com" })] })
        yield* agentOf().run([...messages, secret])
        const [first, second] = (yield* calls).map(({ prompt }) => sent(prompt)) as unknown as [
          ReadonlyArray<string>,
          ReadonlyArray<string>
        ]
        assert.deepStrictEqual(first.slice(1, -1), sent(Prompt.fromMessages(messages)))
        assert.deepStrictEqual(second.slice(0, first.length), first)
        assert.notInclude(second.join(""), "hunter2")
      }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("send_mail", { to: "hunter2" }), "done"]))),
    { arbitrary: { runs: 20 } } as never
  )

  it.effect("takes time in proportion to the text", () =>
    Effect.gen(function* () {
      const took = (size: number) =>
        Effect.gen(function* () {
          const evil = "0123 456 789-".repeat(size) + "a.b-c@".repeat(size) + "+49 ".repeat(size)
          const begun = cpuTime()
          yield* Agent.make("agent", { middleware: [redaction()] }).run(evil)
          return cpuTime() - begun
        })
      yield* took(1_000)
      const small = yield* took(2_000)
      const large = yield* took(16_000)
      assert.isBelow(large, Math.max(small, 20) * 40)
    }).pipe(Effect.provide(TestModel.layer(["done", "done", "done"])))
  )
})
