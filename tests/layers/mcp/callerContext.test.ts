/** What a server asks during a call is answered with the services of the caller. */
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import {
  type CallToolResult,
  CreateMessageResultSchema,
  ElicitResultSchema,
  ListRootsResultSchema
} from "@modelcontextprotocol/sdk/types.js"
import { it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { Agent, Approvals, Mcp, TestModel } from "troupe"
import { describe, expect } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { inProcess, type OnCall, text } from "../../support/mcpInProcess.ts"
import { taskServer } from "../../support/mcpTasks.ts"

const Tenant = Context.Reference("test/Tenant", { defaultValue: () => "none" })
const inTenant = (tenant: string) => Effect.provideService(Tenant, tenant)

const sampling = {
  method: "sampling/createMessage" as const,
  params: { messages: [{ role: "user" as const, content: { type: "text" as const, text: "hi" } }], maxTokens: 100 }
}
const elicitation = {
  method: "elicitation/create" as const,
  params: { message: "Who?", requestedSchema: { type: "object" as const, properties: {} } }
}

/** A model that answers with the tenant that it is asked for. */
const Sampled = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: () => Effect.map(Tenant, (tenant) => [{ type: "text", text: tenant }]),
    streamText: () => Stream.empty
  })
)

const answers = {
  sampling: Mcp.sampleWithModel,
  elicitation: () => Effect.map(Tenant, (name) => ({ action: "accept" as const, content: { name } })),
  roots: Effect.map(Tenant, (tenant) => [{ uri: `file:///${tenant}` }])
}

/** Asks a question, on the stream of the call where there is one for it. */
const ask: OnCall = async (params, extra) => {
  const { content } = await extra.sendRequest(sampling, CreateMessageResultSchema)
  return text(String((content as { readonly text?: string }).text))
}

/** Calls the tool for a run of a tenant. */
const callAs = (mcp: Mcp.Mcp["Service"], tenant: string) =>
  mcp.request("s", "tools/call", { name: "ask", arguments: { tenant } }).pipe(
    inTenant(tenant),
    Effect.map((result) =>
      (result as CallToolResult).content.map((one) => (one.type === "text" ? one.text : "")).join()
    )
  )

/** Holds calls back until so many of them are under way. */
const gate = (count: number) => {
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  let waiting = 0
  return () => {
    if (++waiting === count) open()
    return opened
  }
}

const connected = (onCall: OnCall) =>
  Mcp.connect({ servers: { s: { server: inProcess(["ask"], onCall) } }, ...answers }).pipe(
    Effect.provide(Sampled),
    inTenant("app")
  )

describe("during a run's tool call", () => {
  it.live("the model, the elicitation handler and the roots see the run's references", () =>
    Effect.gen(function* () {
      const onCall: OnCall = async (_params, extra) => {
        const { content } = await extra.sendRequest(sampling, CreateMessageResultSchema)
        const elicited = await extra.sendRequest(elicitation, ElicitResultSchema)
        const { roots } = await extra.sendRequest({ method: "roots/list" }, ListRootsResultSchema)
        return text(JSON.stringify([(content as { readonly text?: string }).text, elicited.content, roots]))
      }
      const Servers = Layer.effect(Mcp.Mcp, connected(onCall))
      const Model = TestModel.layer((call) =>
        call.index === 0 ? TestModel.toolCall("ask", {}) : JSON.stringify(call.prompt.content.at(-1))
      )
      const agent = Agent.make("a", { tools: [Mcp.tools()] })
      const answer = yield* agent
        .run("x")
        .pipe(inTenant("request-7"), Effect.provide([Servers, Model]), inTenant("app"))
      expect(answer.match(/request-7|app|none/g)).toEqual(["request-7", "request-7", "request-7"])
    })
  )
})

describe("while two calls of one connection are under way", () => {
  it.live("a question that the protocol relates to one of them sees that call's references", () =>
    Effect.gen(function* () {
      const both = gate(2)
      const mcp = yield* connected(async (...args) => {
        await both()
        return ask(...args)
      })
      const found = yield* Effect.all([callAs(mcp, "one"), callAs(mcp, "two")], { concurrency: 2 })
      expect(found).toEqual(["one", "two"])
    })
  )

  it.live("a question that may belong to either sees those of the connection", () =>
    Effect.gen(function* () {
      const both = gate(2)
      const mcp = yield* connected(async (_params, _extra, server) => {
        await both()
        const { content } = await server.createMessage(sampling.params)
        return text(String((content as { readonly text?: string }).text))
      })
      const found = yield* Effect.all([callAs(mcp, "one"), callAs(mcp, "two")], { concurrency: 2 })
      // The second question is asked when the first call may have ended: then it can only be of the other one.
      expect(found[0]).toBe("app")
      expect(["app", "two"]).toContain(found[1])
    })
  )

  it.live("a question that may belong to either sees what both have in common", () =>
    Effect.gen(function* () {
      const both = gate(2)
      const mcp = yield* connected(async (_params, _extra, server) => {
        await both()
        const { content } = await server.createMessage(sampling.params)
        return text(String((content as { readonly text?: string }).text))
      })
      const found = yield* Effect.all([callAs(mcp, "one"), callAs(mcp, "one")], { concurrency: 2 })
      expect(found).toEqual(["one", "one"])
    })
  )

  it.live("a question that may belong to either is decided by the approvers of both", () =>
    Effect.gen(function* () {
      const both = gate(2)
      const mcp = yield* connected(async (_params, _extra, server) => {
        await both()
        return server.createMessage(sampling.params).then(
          () => text("answered"),
          (error) => text(String(error))
        )
      })
      const asked = yield* Deferred.make<void>()
      const denies = Approvals.layer(() =>
        Effect.as(Deferred.succeed(asked, undefined), Approvals.deny("not for tenant two"))
      )
      const found = yield* Effect.all([callAs(mcp, "one"), Effect.provide(callAs(mcp, "two"), denies)], {
        concurrency: 2
      })
      yield* Deferred.await(asked)
      expect(found[0]).toContain("not for tenant two")
    })
  )
})

it.live("a question of a task sees the references of the call that started it", () =>
  Effect.gen(function* () {
    const both = gate(2)
    const server = taskServer(async (send) => {
      await both()
      const { content } = await send(sampling, CreateMessageResultSchema)
      return String((content as { readonly text?: string }).text)
    })
    const mcp = yield* Mcp.connect({ servers: { s: { server } }, ...answers }).pipe(
      Effect.provide(Sampled),
      inTenant("app")
    )
    const [research] = yield* mcp.tools()
    const run = (tenant: string) => call([research!], "research").pipe(inTenant(tenant))
    expect(yield* Effect.all([run("one"), run("two")], { concurrency: 2 })).toEqual(["one", "two"])
  })
)

/** A server behind HTTP whose questions come on the stream of the call that they belong to. */
const overHttp = (onCall: OnCall) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const transports = new Map<string, StreamableHTTPServerTransport>()
      const listener = http.createServer(async (request, response) => {
        const id = request.headers["mcp-session-id"]
        let transport = transports.get(String(id))
        if (transport === undefined) {
          const made = new StreamableHTTPServerTransport({
            sessionIdGenerator: randomUUID,
            onsessioninitialized: (session) => void transports.set(session, made)
          })
          transport = made
          await inProcess(["ask"], onCall)().connect(made as never)
        }
        await transport.handleRequest(request, response)
      })
      await once(listener.listen(0, "127.0.0.1"), "listening")
      return { listener, url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}/mcp` }
    }),
    ({ listener }) =>
      Effect.sync(() => {
        listener.closeAllConnections()
        listener.close()
      })
  )

it.live("over HTTP, a question on the stream of a call sees that call's references", () =>
  Effect.gen(function* () {
    const both = gate(2)
    const { url } = yield* overHttp(async (...args) => {
      await both()
      return ask(...args)
    })
    const mcp = yield* Mcp.connect({ servers: { s: { url } }, ...answers }).pipe(
      Effect.provide(Sampled),
      inTenant("app")
    )
    const found = yield* Effect.all([callAs(mcp, "one"), callAs(mcp, "two")], { concurrency: 2 })
    expect(found).toEqual(["one", "two"])
  })
)
