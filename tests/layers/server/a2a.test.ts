/** A2A's own client on a server. */
import { type Message, Role, TaskState } from "@a2a-js/sdk"
import { type Client, ClientFactory } from "@a2a-js/sdk/client"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { AiError } from "effect/ai"
import { Agent, type AgentServer, Runner, TestModel } from "troupe"
import { ask, get, handling, listen, post, raw, until } from "../../support/agentServer.ts"
import { model, paid, payer, paying, waitingAgent } from "../../support/serverClients.ts"

const desk = Agent.make("desk", { description: "Answers", instructions: "s3cr3t instructions" })
const add = {
  runner: Runner.make("add", {
    run: ({ a, b }: { readonly a: number; readonly b: number }) => Effect.succeed({ sum: a + b })
  }),
  input: Schema.Struct({ a: Schema.Finite, b: Schema.Finite })
}
const asking = paying("Done.")

type Content = NonNullable<Message["parts"][number]["content"]>

const messageOf = (content: Content, more: Partial<Message> = {}): Message => ({
  messageId: "m1",
  contextId: "",
  taskId: "",
  role: Role.ROLE_USER,
  parts: [{ content, metadata: undefined, filename: "", mediaType: "" }],
  metadata: undefined,
  extensions: [],
  referenceTaskIds: [],
  ...more
})
const said = (value: string, more?: Partial<Message>) => messageOf({ $case: "text", value }, more)
const requestOf = (message: Message, returnImmediately = false) => ({
  tenant: "",
  message,
  metadata: undefined,
  configuration: { acceptedOutputModes: [], taskPushNotificationConfig: undefined, returnImmediately }
})

const clientOf = (name: string, script: ReturnType<typeof model>, options: AgentServer.ServerOptions = {}) =>
  Effect.gen(function* () {
    const url = yield* listen({ runners: { desk, payer, add }, ...options }, script)
    const client = yield* Effect.promise(() => new ClientFactory().createFromUrl(new URL(`/a2a/${name}/`, url).href))
    return { url, client }
  })

const sent = (client: Client, message: Message, returnImmediately = false) =>
  Effect.map(
    Effect.promise(() => client.sendMessage(requestOf(message, returnImmediately))),
    (result) => ("messageId" in result ? assert.fail("it is a message") : result)
  )

const outputIn = (artifacts: ReadonlyArray<{ readonly parts: Message["parts"] }>) =>
  artifacts.flatMap(({ parts }) => parts.map(({ content }) => content?.value as unknown))

const refusal = (promise: () => Promise<unknown>) =>
  Effect.promise(() =>
    promise().then(
      () => assert.fail("it was answered"),
      (error: unknown) => error as Error
    )
  )

describe("A2A", () => {
  it.live("has a card with a skill for each runner", () =>
    Effect.gen(function* () {
      const url = yield* listen({ runners: { desk, payer, add } }, model([]))
      const client = yield* Effect.promise(() => new ClientFactory().createFromUrl(url.href))
      const card = yield* Effect.promise(() => client.getAgentCard())
      assert.deepStrictEqual(
        card.skills.map(({ description, id }) => [id, description]),
        [
          ["desk", "Answers"],
          ["payer", "payer"],
          ["add", "add"]
        ]
      )
      assert.deepStrictEqual(
        card.supportedInterfaces.map((one) => one.url),
        ["desk", "payer", "add"].map((name) => new URL(`/a2a/${name}`, url).href)
      )
    }).pipe(Effect.scoped)
  )

  it.live("answers a message with a task that has the output", () =>
    Effect.gen(function* () {
      const { client } = yield* clientOf("desk", model(["Hello."]))
      const task = yield* sent(client, said("Hi"))
      assert.strictEqual(task.status?.state, TaskState.TASK_STATE_COMPLETED)
      assert.deepStrictEqual(outputIn(task.artifacts), ["Hello."])
      const again = yield* Effect.promise(() => client.getTask({ tenant: "", id: task.id }))
      assert.deepStrictEqual(outputIn(again.artifacts), ["Hello."])
    }).pipe(Effect.scoped)
  )

  it.live("takes and gives data where a runner does", () =>
    Effect.gen(function* () {
      const { client } = yield* clientOf("add", model([]))
      const task = yield* sent(client, messageOf({ $case: "data", value: { a: 2, b: 40 } }))
      assert.deepStrictEqual(outputIn(task.artifacts), [{ sum: 42 }])
      const error = yield* refusal(() => client.sendMessage(requestOf(messageOf({ $case: "data", value: { a: "x" } }))))
      assert.include(error.message, "input does not fit")
    }).pipe(Effect.scoped)
  )

  it.live("goes on with a conversation by its context", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const spy = model(({ prompt }) => {
        seen.push(prompt.content.map(({ role }) => role[0]).join(""))
        return "Yes."
      })
      const { client } = yield* clientOf("desk", spy)
      const { contextId } = yield* sent(client, said("Hi"))
      yield* sent(client, said("And?", { contextId }))
      assert.deepStrictEqual(seen, ["su", "suau"])
    }).pipe(Effect.scoped)
  )

  it.live("goes on from the last answer when a task of the conversation failed", () =>
    Effect.gen(function* () {
      let count = 0
      let seen = ""
      const flaky = model(({ prompt }) => {
        seen = prompt.content.map(({ role }) => role[0]).join("")
        return ++count === 2 ? { fail: new AiError.AuthenticationError({ kind: "InvalidKey" }) } : "Yes."
      })
      const { client } = yield* clientOf("desk", flaky)
      const { contextId } = yield* sent(client, said("Hi"))
      const failed = yield* sent(client, said("And?", { contextId }))
      assert.strictEqual(failed.status?.state, TaskState.TASK_STATE_FAILED)
      yield* sent(client, said("Again?", { contextId }))
      assert.strictEqual(seen, "suau")
    }).pipe(Effect.scoped)
  )

  it.live("takes no further message of a conversation whose task waits", () =>
    Effect.gen(function* () {
      const { client } = yield* clientOf("payer", asking)
      const { contextId } = yield* sent(client, said("Pay 5"))
      const error = yield* refusal(() => client.sendMessage(requestOf(said("Hello?", { contextId }))))
      assert.include(error.message, "waits for answers")
    }).pipe(Effect.scoped)
  )

  it.live("streams the output as it is written, and takes back what a retry makes void", () =>
    Effect.gen(function* () {
      const script: TestModel.Script = [
        { text: ["half"], after: 1, fail: new AiError.InternalProviderError({ description: "down" }) },
        { text: ["Hello ", "you."] }
      ]
      const { client } = yield* clientOf("desk", model(script))
      const cases: Array<string> = []
      let text = ""
      let state: TaskState | undefined
      yield* Effect.promise(async () => {
        for await (const { payload } of client.sendMessageStream(requestOf(said("Hi")))) {
          cases.push(payload!.$case)
          if (payload?.$case === "statusUpdate") state = payload.value.status?.state
          if (payload?.$case !== "artifactUpdate") continue
          const { append, artifact } = payload.value
          text = (append ? text : "") + outputIn([artifact!]).join("")
        }
      })
      assert.strictEqual(text, "Hello you.")
      assert.strictEqual(state, TaskState.TASK_STATE_COMPLETED)
      assert.deepStrictEqual([cases[0], cases.at(-1)], ["task", "statusUpdate"])
      assert.isAbove(cases.length, 3)
    }).pipe(Effect.scoped)
  )

  it.live("says what a suspended task waits for, and goes on under the same id", () =>
    Effect.gen(function* () {
      paid.length = 0
      const { client } = yield* clientOf("payer", asking)
      const task = yield* sent(client, said("Pay 5"))
      assert.strictEqual(task.status?.state, TaskState.TASK_STATE_INPUT_REQUIRED)
      const data = task.status?.message?.parts.find(({ content }) => content?.$case === "data")?.content?.value
      const [waiting] = (data as { waitingFor: ReadonlyArray<{ id: string; tool: string }> }).waitingFor
      assert.strictEqual(waiting?.tool, "pay")
      const answers = { answers: { [waiting!.id]: { approved: true } } }
      const done = yield* sent(client, messageOf({ $case: "data", value: answers }, { taskId: task.id }))
      assert.strictEqual(done.id, task.id)
      assert.strictEqual(done.contextId, task.contextId)
      assert.deepStrictEqual(outputIn(done.artifacts), ["Done."])
      assert.deepStrictEqual(paid, [5])
      const again = yield* Effect.promise(() => client.getTask({ tenant: "", id: task.id }))
      assert.strictEqual(again.status?.state, TaskState.TASK_STATE_COMPLETED)
    }).pipe(Effect.scoped)
  )

  it.live("does not take a word for an approval", () =>
    Effect.gen(function* () {
      paid.length = 0
      const { client } = yield* clientOf("payer", asking)
      const task = yield* sent(client, said("Pay 5"))
      const error = yield* refusal(() => client.sendMessage(requestOf(said("yes", { taskId: task.id }))))
      assert.include(error.message, "{ approved, reason?, params? }")
      assert.deepStrictEqual(paid, [])
    }).pipe(Effect.scoped)
  )

  it.live("cancels a task under way, and one that waits", () =>
    Effect.gen(function* () {
      const { call, slow } = waitingAgent()
      const script = model(({ tools }) => {
        const name = tools[0]!
        return TestModel.toolCall(name, name === "pay" ? { amount: 5 } : {})
      })
      const url = yield* listen({ runners: { slow, payer } }, script)
      const clients = yield* Effect.promise(() =>
        Promise.all(
          ["slow", "payer"].map((name) => new ClientFactory().createFromUrl(new URL(`/a2a/${name}/`, url).href))
        )
      )
      for (const [index, client] of clients.entries()) {
        const { id, status } = yield* sent(client, said("Go"), index === 0)
        const before = index === 0 ? TaskState.TASK_STATE_WORKING : TaskState.TASK_STATE_INPUT_REQUIRED
        assert.strictEqual(status?.state, before)
        const request = { tenant: "", id, metadata: undefined }
        const ended = yield* Effect.promise(() => client.cancelTask(request))
        assert.strictEqual(ended.status?.state, TaskState.TASK_STATE_CANCELED)
        yield* refusal(() => client.cancelTask(request))
        yield* refusal(() => client.sendMessage(requestOf(said("Go on", { taskId: id }))))
      }
      assert.isTrue(call.isStopped)
    }).pipe(Effect.scoped)
  )

  it.live("interrupts the run of a client that hangs up", () =>
    Effect.gen(function* () {
      const { call, slow } = waitingAgent()
      const url = yield* listen({ runners: { slow } }, model([TestModel.toolCall("wait", {})]))
      const message = { messageId: "m", role: "ROLE_USER", parts: [{ text: "Go" }] }
      const client = raw(url, "/a2a/slow", {
        jsonrpc: "2.0",
        id: 1,
        method: "SendStreamingMessage",
        params: { message }
      })
      yield* until(() => call.isBegun, "the call")
      client.hangUp()
      yield* until(() => call.isStopped, "the interruption")
    }).pipe(Effect.scoped)
  )

  it.live("fails a task without internals", () =>
    Effect.gen(function* () {
      const { client } = yield* clientOf(
        "desk",
        model([{ fail: new AiError.AuthenticationError({ kind: "InvalidKey" }) }])
      )
      const { status } = yield* sent(client, said("Hi"))
      assert.strictEqual(status?.state, TaskState.TASK_STATE_FAILED)
      assert.include(JSON.stringify(status), "the model call failed (AuthenticationError)")
    }).pipe(Effect.scoped)
  )
})

describe("requests of A2A", () => {
  const message = { messageId: "m", role: "ROLE_USER", parts: [{ text: "Hi" }] }
  const rpc = (method: string, params: unknown) => ({ jsonrpc: "2.0", id: 7, method, params })
  const refused: ReadonlyArray<readonly [code: number, body: unknown, headers?: Record<string, string>]> = [
    [-32700, "{"],
    [-32700, "[".repeat(500)],
    [-32600, []],
    [-32600, { method: "SendMessage" }],
    [-32601, rpc("message/send", { message })],
    [-32602, rpc("SendMessage", { message: { ...message, role: "ROLE_AGENT" } })],
    [-32602, rpc("SendMessage", { message: { ...message, parts: [{ url: "file:///etc/passwd" }] } })],
    [-32001, rpc("SendMessage", { message: { ...message, taskId: "run_other" } })],
    [-32001, rpc("GetTask", { id: "run_other" })],
    [-32003, rpc("CreateTaskPushNotificationConfig", { taskId: "t", url: "https://evil.example" })],
    [-32009, rpc("SendMessage", { message }), { "a2a-version": "0.3" }]
  ]
  for (const [index, [code, body, headers = {}]] of refused.entries()) {
    it.live(`are refused with ${code} (${index})`, () =>
      Effect.gen(function* () {
        const handler = yield* handling({ runners: { desk } }, model([]))
        const answer = yield* ask(handler, post("/a2a/desk", body, headers))
        assert.strictEqual(answer.body.error.code, code)
      }).pipe(Effect.scoped)
    )
  }

  it.live("begin one task where two of a conversation come at once", () =>
    Effect.gen(function* () {
      const { slow } = waitingAgent()
      const handler = yield* handling(
        { runners: { slow } },
        model(() => TestModel.toolCall("wait", {}))
      )
      const params = { message: { ...message, contextId: "one" }, configuration: { returnImmediately: true } }
      const send = Effect.suspend(() => ask(handler, post("/a2a/slow", rpc("SendMessage", params))))
      const answers = yield* Effect.all([send, send], { concurrency: "unbounded" })
      const [refused, ...others] = answers.flatMap(({ body }) => (body.error === undefined ? [] : [body.error]))
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(
        [refused?.code, refused?.message],
        [-32004, "Another task of the conversation is under way."]
      )
    }).pipe(Effect.scoped)
  )

  it.live("of which one cancels a task and one answers it count once", () =>
    Effect.gen(function* () {
      paid.length = 0
      const handler = yield* handling({ runners: { payer } }, asking)
      const { body } = yield* ask(handler, post("/a2a/payer", rpc("SendMessage", { message })))
      const { id, status } = body.result.task
      const [waiting] = status.message.parts[1].data.waitingFor
      const parts = [{ data: { answers: { [waiting.id]: { approved: true } } } }]
      const [answered, cancelled] = yield* Effect.all(
        [
          ask(handler, post("/a2a/payer", rpc("SendMessage", { message: { ...message, taskId: id, parts } }))),
          ask(handler, post("/a2a/payer", rpc("CancelTask", { id })))
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(answered.body.error === undefined, cancelled.body.error !== undefined)
      assert.deepStrictEqual(paid, answered.body.error === undefined ? [5] : [])
    }).pipe(Effect.scoped)
  )

  it.live("see the tasks of their own client and runner only", () =>
    Effect.gen(function* () {
      const bearer = (token: Redacted.Redacted<string>) => Redacted.value(token)
      const handler = yield* handling({ runners: { desk, payer }, bearer }, model(["Hello."]))
      const as = (name: string) => ({ authorization: `Bearer ${name}` })
      const { body } = yield* ask(handler, post("/a2a/desk", rpc("SendMessage", { message }), as("ann")))
      const asked = rpc("GetTask", { id: body.result.task.id })
      assert.isUndefined((yield* ask(handler, post("/a2a/desk", asked, as("ann")))).body.error)
      assert.strictEqual((yield* ask(handler, post("/a2a/desk", asked, as("bob")))).body.error.code, -32001)
      assert.strictEqual((yield* ask(handler, post("/a2a/payer", asked, as("ann")))).body.error.code, -32001)
      assert.strictEqual((yield* ask(handler, get("/.well-known/agent-card.json"))).status, 401)
    }).pipe(Effect.scoped)
  )
})
