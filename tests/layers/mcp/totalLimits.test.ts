/** What a server can repeat or extend has a limit on its sum: lists, tools in a request, progress, questions. */
import {
  CreateMessageResultSchema,
  ListResourcesRequestSchema,
  ListToolsRequestSchema
} from "@modelcontextprotocol/sdk/types.js"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { Effect, Layer, Stream } from "effect"
import { Agent, Approvals, Mcp, OpenAi, type RunEvent, Runner, TestModel } from "troupe"
import { describe, expect, it } from "vitest"
import { inProcess, type Listed, text } from "../../support/mcpInProcess.ts"
import { collectLogs } from "../../support/mcpRaw.ts"

describe("a list", () => {
  const pages = (perPage: number, chars: number) => (page: number) => ({
    tools: Array.from({ length: perPage }, (_, i) => ({
      name: `t${page}_${i}`,
      description: "x".repeat(chars),
      inputSchema: { type: "object" as const }
    })),
    ...(page < 100 ? { nextCursor: String(page + 1) } : {})
  })

  it("that grows too long during a run leaves the tools as they were", async () => {
    let asked = 0
    const server = () => {
      const made = inProcess([])()
      let isFirst = true
      made.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
        if (isFirst) {
          isFirst = false
          setTimeout(() => void made.sendToolListChanged(), 20)
          return { tools: [] }
        }
        asked++
        return pages(1000, 1000)(Number(params?.cursor ?? 0))
      })
      return made
    }
    const lengths = await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const mcp = yield* Mcp.connect({ servers: { s: { server } } })
          const isAsked = () => asked > 0
          while (!isAsked()) {
            yield* mcp.tools()
            yield* Effect.sleep("10 millis")
          }
          return [(yield* mcp.tools()).length, (yield* mcp.tools()).length]
        })
      )
    )
    expect(lengths).toEqual([0, 0])
    // Ten pages are too long, and it is not fetched again at each step.
    expect(asked).toBeLessThan(15)
  })

  it("of resources that is too long fails with a typed error", async () => {
    const server = () => {
      const made = new Server({ name: "s", version: "1" }, { capabilities: { resources: {} } })
      made.setRequestHandler(ListResourcesRequestSchema, ({ params }) => ({
        resources: Array.from({ length: 1000 }, (_, i) => ({
          uri: `a:${params?.cursor ?? 0}/${i}`,
          name: "x".repeat(1000)
        })),
        nextCursor: String(Number(params?.cursor ?? 0) + 1)
      }))
      return made
    }
    const error = await Effect.runPromise(
      Effect.scoped(Effect.flatMap(Mcp.connect({ servers: { s: { server } } }), (mcp) => Effect.flip(mcp.resources)))
    )
    expect(error).toMatchObject({
      _tag: "McpCallError",
      reason: "invalid",
      message: expect.stringContaining("characters")
    })
  })
})

describe("the tools of one server", () => {
  const shown = async (tools: ReadonlyArray<Listed>, options: Mcp.CommonOptions = {}) => {
    let names: ReadonlyArray<string> = []
    const events: Array<RunEvent.RunEvent> = []
    const Model = TestModel.layer((call) => {
      names = call.tools
      return "ok"
    })
    await Effect.runPromise(
      Stream.runForEach(Agent.make("a", { tools: [Mcp.tools()] }).stream("x"), (event) =>
        Effect.sync(() => void events.push(event))
      ).pipe(Effect.provide([Model, Mcp.layer({ servers: { s: { server: inProcess(tools), ...options } } })]))
    )
    return { names, notices: events.filter((event) => event._tag === "ToolNotice") }
  }

  it("never exceed 500 in a request, with a notice", async () => {
    const { names, notices } = await shown(Array.from({ length: 2000 }, (_, i) => `t${i}`))
    expect(names).toHaveLength(500)
    expect(notices).toMatchObject([{ server: "s", problem: expect.stringContaining("and 1497 more") }])
  })

  it("have a limit on the characters of all their definitions, in whichever field they are", async () => {
    const long = "x".repeat(150_000)
    const deep = { type: "object", properties: { a: { type: "string", enum: [long] } } }
    const { names } = await shown([
      { name: "a", description: long },
      { name: "b", inputSchema: deep },
      { name: "c", title: long },
      "d"
    ])
    expect(names).toEqual(["a", "b", "d"])
    expect((await shown(["a", "b", "c"], { maxTools: 2 })).names).toEqual(["a", "b"])
    expect((await shown(["a", { name: "b", description: long }], { maxDefinitionChars: 1000 })).names).toEqual(["a"])
  })
})

describe("a call that reports progress all the time", () => {
  it("ends after five times its timeout, and its reports are few", async () => {
    let stop: NodeJS.Timeout | undefined
    const busy = inProcess(["look"], ({ _meta }, extra) => {
      stop = setInterval(() => {
        const params = {
          progressToken: _meta!.progressToken!,
          progress: Date.now(),
          message: `\u001b[2J${"x".repeat(5000)}`
        }
        extra.sendNotification({ method: "notifications/progress", params }).catch(() => {})
      }, 2)
      return new Promise(() => {})
    })
    const events: Array<RunEvent.RunEvent> = []
    const start = Date.now()
    await Effect.runPromise(
      Stream.runForEach(Agent.make("a", { tools: [Mcp.tools()] }).stream("x"), (event) =>
        Effect.sync(() => void events.push(event))
      ).pipe(
        Effect.provide([
          TestModel.layer((call) => (call.index === 0 ? TestModel.toolCall("look", {}) : "ok")),
          Mcp.layer({ servers: { s: { server: busy, timeout: "800 millis" } } })
        ])
      )
    )
    clearInterval(stop)
    expect(Date.now() - start).toBeGreaterThan(3900)
    const failed = events.find((event) => event._tag === "ToolFailed")
    expect(JSON.stringify(failed)).toContain("did not finish within 4s")
    const reports = events.filter((event) => event._tag === "ToolProgress")
    expect(reports.length).toBeGreaterThan(0)
    expect(reports.length).toBeLessThan(300)
    for (const report of reports) expect(JSON.stringify(report).length).toBeLessThan(2000)
    expect(JSON.stringify(reports)).not.toContain("\\u001b")
  })
})

describe("a server that asks for answers of the model", () => {
  const asking = (count: number) =>
    inProcess(["ask"], async (_params, extra) => {
      const params = {
        messages: [{ role: "user" as const, content: { type: "text" as const, text: "hi" } }],
        maxTokens: 1
      }
      const all = await Promise.allSettled(
        Array.from({ length: count }, () =>
          extra.sendRequest({ method: "sampling/createMessage", params }, CreateMessageResultSchema)
        )
      )
      const reasons = all.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []))
      return text(`${all.length - reasons.length} answered. ${reasons[0] ?? ""}`)
    })

  const asked = async (
    count: number,
    answers: { readonly samplingLimits?: Mcp.SamplingLimits },
    ...more: ReadonlyArray<Layer.Layer<never>>
  ) => {
    let calls = 0
    const Sampled = TestModel.layer(
      () => {
        calls++
        return "hi"
      },
      { unused: "ignore" }
    )
    const Servers = Mcp.layer({ servers: { s: { server: asking(count) } }, sampling: Mcp.sampleWithModel, ...answers })
    const Model = TestModel.layer((call) =>
      call.index === 0 ? TestModel.toolCall("ask", {}) : JSON.stringify(call.prompt.content.at(-1))
    )
    const { output, usage } = await Effect.runPromise(
      Agent.make("a", { tools: [Mcp.tools()] })
        .result("x")
        .pipe(Effect.provide(Layer.mergeAll(Layer.provide(Servers, Sampled), Model, ...more)))
    )
    return { calls, output, usage }
  }

  it("gets ten in one call of a tool, by the model of the Layer, counted in the run", async () => {
    const few = await asked(0, {})
    const many = await asked(200, {})
    expect(many.calls).toBe(10)
    expect(many.output).toContain("10 answered")
    expect(many.output).toContain("at most 10 requests are answered in one call of a tool")
    expect(many.usage.inputTokens.total).toBeGreaterThan(few.usage.inputTokens.total!)
  })

  it("is counted in the budgets of the run", async () => {
    let calls = 0
    const Sampled = TestModel.layer(() => `hi ${++calls}`, { unused: "ignore" })
    const Servers = Mcp.layer({ servers: { s: { server: asking(200) } }, sampling: Mcp.sampleWithModel })
    const Model = TestModel.layer([TestModel.toolCall("ask", {}), "done"], { unused: "ignore" })
    const limited = Runner.withBudget(Agent.make("a", { tools: [Mcp.tools()] }), { tokens: 40 })
    const live = Layer.mergeAll(Layer.provide(Servers, Sampled), Model)
    const error = await Effect.runPromise(Effect.flip(limited.run("x")).pipe(Effect.provide(live)))
    expect(error._tag).toBe("BudgetExceeded")
    expect(calls).toBeLessThan(5)
  })

  it("gets as many as the program says, by requests and by tokens", async () => {
    expect((await asked(5, { samplingLimits: { maxRequests: 2 } })).calls).toBe(2)
    const { calls, output } = await asked(5, { samplingLimits: { maxTokens: 1 } })
    expect(calls).toBe(1)
    expect(output).toContain("tokens for answers of the model are used up")
  })

  it("does not learn where the model is when it cannot be reached; the log says it", async () => {
    const { layer, lines } = collectLogs()
    const Away = OpenAi.layer({ model: "m", baseUrl: "http://127.0.0.1:9/v1", retry: "none" })
    const Servers = Mcp.layer({ servers: { s: { server: asking(1) } }, sampling: Mcp.sampleWithModel })
    const Model = TestModel.layer((call) =>
      call.index === 0 ? TestModel.toolCall("ask", {}) : JSON.stringify(call.prompt.content.at(-1))
    )
    const answer = await Effect.runPromise(
      Agent.make("a", { tools: [Mcp.tools()] })
        .run("x")
        .pipe(Effect.provide(Layer.mergeAll(Layer.provide(Servers, Away), Model, layer)))
    )
    expect(answer).toContain("the model call failed (NetworkError)")
    expect(answer).not.toMatch(/127\.0\.0\.1|OPENAI/)
    expect(lines.join("\n")).toContain("127.0.0.1:9")
  })

  it("gets none that the approver denies", async () => {
    const requests: Array<Approvals.Request> = []
    const deny = Approvals.layer((request) => {
      if (request.tool === "ask") return Effect.succeed(Approvals.approve)
      requests.push(request)
      return Effect.succeed(Approvals.deny("not this server"))
    })
    const { calls, output } = await asked(1, {}, deny)
    expect(calls).toBe(0)
    expect(output).toContain("not this server")
    expect(requests).toMatchObject([{ tool: "sampling/createMessage", server: "s" }])
  })
})

describe("the tool that lists resources", () => {
  it("gives no more than a result may have", async () => {
    const server = () => {
      const made = new Server({ name: "s", version: "1" }, { capabilities: { resources: {} } })
      made.setRequestHandler(ListResourcesRequestSchema, () => ({
        resources: Array.from({ length: 2000 }, (_, i) => ({ uri: `a:${i}`, name: "x".repeat(1000) }))
      }))
      return made
    }
    const Model = TestModel.layer((call) =>
      call.index === 0 ? TestModel.toolCall("list_resources", {}) : JSON.stringify(call.prompt.content.at(-1))
    )
    const answer = await Effect.runPromise(
      Agent.make("a", { tools: [Mcp.resourceTools()] })
        .run("x")
        .pipe(Effect.provide([Model, Mcp.layer({ servers: { s: { server } } })]))
    )
    expect(answer).toContain("at most 1000000 are taken")
  })
})

it("limits that let nothing through, or are not numbers, and options that are not known are refused", () => {
  const limited = (samplingLimits: Mcp.SamplingLimits) => () => Mcp.layer({ servers: {}, samplingLimits })
  expect(limited({ maxConcurrent: 0 })).toThrow("maxConcurrent is 0")
  expect(limited({ maxRequests: Number.NaN })).toThrow("maxRequests is NaN")
  const misspelt = { servers: {}, roots: [], samplingLimit: { maxRequests: 1 } }
  expect(() => Mcp.layer(misspelt)).toThrow('no option "samplingLimit"')
  expect(() => Mcp.layerFile(".mcp.json", misspelt)).toThrow('no option "servers"')
})
