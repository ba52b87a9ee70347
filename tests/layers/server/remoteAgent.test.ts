/** Agents elsewhere as runners: a server of ours, one of A2A's own SDK, and ones that misbehave. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { type AgentCard, Message } from "@a2a-js/sdk"
import * as Sdk from "@a2a-js/sdk/server"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { AiError } from "effect/ai"
import { Agent, AgentTool, RemoteAgent, RunEvent, Runner, TestModel } from "troupe"
import { listen, until } from "../../support/agentServer.ts"
import { model, waitingAgent } from "../../support/serverClients.ts"

const desk = Agent.make("desk", { description: "Answers" })
const connected = (url: URL, name: string, options?: RemoteAgent.Options) =>
  RemoteAgent.connect(new URL(`/a2a/${name}`, url), options)

/** Another program's server. */
const serving = (handler: (request: IncomingMessage, body: string, response: ServerResponse, url: string) => unknown) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer(async (request, response) => {
        let body = ""
        for await (const chunk of request) body += String(chunk)
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
        await handler(request, body, response, url)
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return { server, url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`) }
    }),
    ({ server }) =>
      Effect.promise(async () => {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      })
  )

const cardAt = (url: string, streaming: boolean): object => ({
  name: "other",
  description: "Echoes",
  version: "1",
  supportedInterfaces: [{ url, protocolBinding: "JSONRPC", protocolVersion: "1.0" }],
  capabilities: { streaming },
  defaultInputModes: ["text/plain"],
  defaultOutputModes: ["text/plain"],
  skills: []
})

/** An agent of A2A's own SDK, whose answer is a message. */
const echo = (url: string) => {
  const executor: Sdk.AgentExecutor = {
    execute: async ({ contextId, userMessage }, bus) => {
      const text = `echo ${String(userMessage.parts[0]?.content?.value)}`
      const answer = { messageId: "m2", role: "ROLE_AGENT", contextId, parts: [{ text }] }
      bus.publish(Sdk.AgentEvent.message(Message.fromJSON(answer)))
      bus.finished()
    },
    cancelTask: () => Promise.resolve()
  }
  const handler = new Sdk.DefaultRequestHandler(cardAt(url, true) as AgentCard, new Sdk.InMemoryTaskStore(), executor)
  return new Sdk.JsonRpcTransportHandler(handler)
}

describe("RemoteAgent", () => {
  it.live("runs an agent elsewhere, with its name, description, output and bill", () =>
    Effect.gen(function* () {
      const usage = { inputTokens: { total: 3 }, outputTokens: { total: 4 } }
      const url = yield* listen({ runners: { desk } }, model([{ text: ["Hello ", "you."], usage }]))
      const remote = yield* connected(url, "desk")
      assert.deepStrictEqual([remote.name, remote.description], ["desk", "Answers"])
      const result = yield* remote.result("Hi")
      assert.strictEqual(result.output, "Hello you.")
      assert.strictEqual(result.usage.outputTokens.total, 4)
    }).pipe(Effect.scoped)
  )

  it.live("streams its text, and says what a retry there makes void", () =>
    Effect.gen(function* () {
      const script: TestModel.Script = [
        { text: ["half"], after: 1, fail: new AiError.InternalProviderError({ description: "down" }) },
        { text: ["Hello ", "you."] }
      ]
      const url = yield* listen({ runners: { desk } }, model(script))
      const remote = yield* connected(url, "desk")
      const events = Array.from(yield* Stream.runCollect(remote.stream("Hi")))
      const retried = events.find((event) => event._tag === "StepRetried")
      const from = retried?._tag === "StepRetried" ? retried.seq : -1
      const text = events.flatMap((event) => (event._tag === "TextDelta" && event.seq > from ? [event.delta] : []))
      assert.strictEqual(text.join(""), "Hello you.")
      assert.isTrue(RunEvent.isTerminal(events.at(-1)!))
    }).pipe(Effect.scoped)
  )

  it.live("runs an agent of A2A's own SDK", () =>
    Effect.gen(function* () {
      const { url } = yield* serving(async (request, body, response, base) => {
        if (request.url === "/.well-known/agent-card.json")
          return response.end(JSON.stringify(cardAt(`${base}/rpc`, true)))
        const context = new Sdk.ServerCallContext({ requestedVersion: "1.0", user: new Sdk.UnauthenticatedUser() })
        const answer = await echo(`${base}/rpc`).handle(JSON.parse(body), context)
        if (!(Symbol.asyncIterator in answer)) return response.end(JSON.stringify(answer))
        response.setHeader("content-type", "text/event-stream")
        for await (const one of answer) response.write(`data: ${JSON.stringify(one)}\n\n`)
        return response.end()
      })
      const remote = yield* RemoteAgent.connect(url)
      assert.strictEqual(yield* remote.run("hi"), "echo hi")
    }).pipe(Effect.scoped)
  )

  it.live("is a tool of an agent", () =>
    Effect.gen(function* () {
      const url = yield* listen({ runners: { desk } }, model(["42"]))
      const remote = yield* connected(url, "desk")
      const asker = Agent.make("asker", { tools: [AgentTool.fromRunner(remote)] })
      const answer = yield* asker
        .run("Ask the desk")
        .pipe(Effect.provide(model([TestModel.toolCall("desk", { input: "2 + 40?" }), "It is 42."])))
      assert.strictEqual(answer, "It is 42.")
    }).pipe(Effect.scoped)
  )

  it.live("interrupts the run there with the run here", () =>
    Effect.gen(function* () {
      const { call, slow } = waitingAgent()
      const url = yield* listen({ runners: { slow } }, model([TestModel.toolCall("wait", {})]))
      const remote = yield* connected(url, "slow")
      const fiber = yield* Effect.forkChild(remote.run("Go"))
      yield* until(() => call.isBegun, "the call")
      yield* Fiber.interrupt(fiber)
      yield* until(() => call.isStopped, "the interruption")
    }).pipe(Effect.scoped)
  )

  it.live("says what a task asks for, and why one failed", () =>
    Effect.gen(function* () {
      const pay = AgentTool.fromFunction("pay", {
        description: "Pays",
        parameters: Schema.Struct({}),
        needsApproval: true,
        execute: () => "paid"
      })
      const payer = Agent.make("payer", { tools: [pay] })
      const script = [
        TestModel.toolCall("pay", {}),
        { fail: new AiError.AuthenticationError({ kind: "InvalidKey" }) }
      ] as const
      const url = yield* listen({ runners: { payer } }, model(script))
      const remote = yield* connected(url, "payer")
      const asked = yield* Effect.flip(remote.run("Pay"))
      assert.strictEqual(asked.reason, "asked")
      assert.isDefined(asked.taskId)
      const failed = yield* Effect.flip(remote.run("Pay"))
      assert.strictEqual(failed.reason, "failed")
      assert.include(failed.message, "AuthenticationError")
    }).pipe(Effect.scoped)
  )

  it.live("sends its token, and says that one is missing", () =>
    Effect.gen(function* () {
      const bearer = (token: Redacted.Redacted<string>) => Redacted.value(token) === "secret"
      const url = yield* listen({ runners: { desk }, bearer }, model(["Hello."]))
      assert.strictEqual((yield* Effect.flip(connected(url, "desk"))).reason, "unauthorized")
      const remote = yield* connected(url, "desk", { token: Redacted.make("secret") })
      assert.strictEqual(yield* remote.run("Hi"), "Hello.")
    }).pipe(Effect.scoped)
  )

  it.live("does not follow a card to another origin, unless that is allowed", () =>
    Effect.gen(function* () {
      const elsewhere = "http://127.0.0.1:9"
      const { url } = yield* serving((_, __, response) =>
        response.end(JSON.stringify(cardAt(`${elsewhere}/rpc`, true)))
      )
      const error = yield* Effect.flip(RemoteAgent.connect(url))
      assert.strictEqual(error.reason, "unsupported")
      assert.include(error.message, `origins: ["${elsewhere}"]`)
      yield* RemoteAgent.connect(url, { origins: [elsewhere] })
    }).pipe(Effect.scoped)
  )

  const bad: ReadonlyArray<readonly [reason: string, answer: string, streaming: boolean]> = [
    ["unreadable", "<html>", false],
    ["refused", '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"No."}}', false],
    ["unreachable", '{"jsonrpc":"2.0","id":1,"result":{}}', true],
    ["too-large", `{"jsonrpc":"2.0","id":1,"result":{"message":{"parts":[{"text":"${"x".repeat(5000)}"}]}}}`, false]
  ]
  for (const [reason, answer, streaming] of bad) {
    it.live(`fails with ${reason} for what such an agent answers`, () =>
      Effect.gen(function* () {
        const { url } = yield* serving((request, _, response, base) =>
          response.end(request.method === "GET" ? JSON.stringify(cardAt(`${base}/rpc`, streaming)) : answer)
        )
        const remote = yield* RemoteAgent.connect(url, { limit: 2000 })
        assert.strictEqual((yield* Effect.flip(remote.run("Hi"))).reason, reason)
      }).pipe(Effect.scoped)
    )
  }

  it.live("counts no part of a bill that is not one", () =>
    Effect.gen(function* () {
      const { url } = yield* serving((request, _, response, base) => {
        if (request.method === "GET") return response.end(JSON.stringify(cardAt(`${base}/rpc`, false)))
        const task = {
          id: "t",
          status: { state: "TASK_STATE_COMPLETED" },
          artifacts: [{ artifactId: "a", parts: [{ text: "Done." }] }],
          metadata: { steps: 2.5, cost: -5, usage: { inputTokens: { total: -1 }, outputTokens: { total: 2 } } }
        }
        return response.end(JSON.stringify({ jsonrpc: "2.0", id: 1, result: { task } }))
      })
      const remote = yield* RemoteAgent.connect(url)
      const spent: Array<RunEvent.Spent> = []
      const watched = Runner.onEvent(remote, (event) =>
        Effect.sync(() => event._tag === "RunCompleted" && spent.push(event.spent))
      )
      yield* watched.run("Hi")
      assert.deepStrictEqual(
        spent.map(({ cost, steps, usage }) => [cost, steps, usage.inputTokens.total, usage.outputTokens.total]),
        [[undefined, 2, undefined, 2]]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("asks for a task that is not done until it is", () =>
    Effect.gen(function* () {
      const methods: Array<string> = []
      const { url } = yield* serving((request, body, response, base) => {
        if (request.method === "GET") return response.end(JSON.stringify(cardAt(`${base}/rpc`, false)))
        const { method } = JSON.parse(body) as { readonly method: string }
        methods.push(method)
        const isDone = methods.length === 3
        const status = { state: isDone ? "TASK_STATE_COMPLETED" : "TASK_STATE_WORKING" }
        const task = { id: "t", status, artifacts: isDone ? [{ artifactId: "a", parts: [{ text: "Done." }] }] : [] }
        return response.end(JSON.stringify({ jsonrpc: "2.0", id: 1, result: method === "GetTask" ? task : { task } }))
      })
      const remote = yield* RemoteAgent.connect(url)
      const fiber = yield* Effect.forkChild(remote.run("Hi"))
      while (fiber.pollUnsafe() === undefined) {
        yield* TestClock.adjust("1 second")
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
      assert.strictEqual(yield* Fiber.join(fiber), "Done.")
      assert.deepStrictEqual(methods, ["SendMessage", "GetTask", "GetTask"])
    }).pipe(Effect.scoped)
  )

  it.live("fails where nothing listens", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(RemoteAgent.connect("http://127.0.0.1:9"))).reason, "unreachable")
    })
  )
})
