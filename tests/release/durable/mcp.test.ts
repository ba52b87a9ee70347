/** Tools of MCP servers over HTTP, and the sync edge, in durable runs. */
import { expect, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { HttpClient } from "effect/http"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Approvals from "troupe/Approvals"
import * as Durable from "troupe/Durable"
import * as Mcp from "troupe/Mcp"
import * as SyncEdge from "troupe/SyncEdge"
import * as TestModel from "troupe/TestModel"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"
import { startMcpHttp } from "../../support/mcpHttp.ts"

const server = Effect.acquireRelease(
  Effect.promise(() => startMcpHttp()),
  (started) => Effect.promise(() => started.close())
)
const statusOf = (self: Durable.Named, status: Durable.Status) =>
  eventually(Effect.map(Durable.status(self, "x"), (now) => now === status))
/** Calls these tools, one after the other, and says what the last one gave. */
const calling = (...names: ReadonlyArray<string>) =>
  TestModel.layer(({ prompt }) => {
    const results = prompt.content.flatMap((message) => (message.role === "tool" ? message.content : []))
    const name = names[results.length]
    const last = results.at(-1)
    if (name !== undefined) return { toolCalls: [{ id: `c${results.length}`, name, params: {} }] }
    return last?.type === "tool-result" ? JSON.stringify(last.result) : "nothing"
  })
const desk = Durable.make(Agent.make("desk", { tools: [Mcp.tools()] }), { name: "desk", version: "1", key: String })

it.live(
  "tools of a server over HTTP are called once, also where the run goes on elsewhere and its session is over",
  () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const { calls, forget, url } = yield* server
      const live = Layer.mergeAll(
        calling("safe", "unsafe", "safe"),
        Mcp.layer({ servers: { http: { url } } }),
        Approvals.layerRules([{ rule: "ask", tool: "unsafe" }])
      )
      const worker = Durable.worker(desk).pipe(Layer.provide(live), Layer.provideMerge(engine(file)))
      yield* Effect.andThen(Durable.submit(desk, "x"), statusOf(desk, "suspended")).pipe(Effect.provide(worker))
      forget()
      yield* Effect.gen(function* () {
        const [wait] = yield* Durable.pending(desk, "x")
        yield* Durable.decide(desk, "x", wait!.id, Approvals.approve)
        expect(yield* Durable.result(desk, "x")).toBe('"safe 3"')
      }).pipe(Effect.provide(worker))
      expect(calls).toEqual(["safe", "unsafe", "safe"])
    })
)

it.live("a call of a server over HTTP that was under way as its process ended is asked about", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const { calls, url } = yield* server
    const live = Layer.merge(calling("hang"), Mcp.layer({ servers: { http: { url } } }))
    const worker = (drain: number) =>
      Durable.worker(desk).pipe(Layer.provide(live), Layer.provideMerge(engine(file, { drain })))
    const isCalled = eventually(Effect.sync(() => calls.includes("hang")))
    yield* Effect.andThen(Durable.submit(desk, "x"), isCalled).pipe(Effect.provide(worker(0)))
    yield* Effect.gen(function* () {
      yield* statusOf(desk, "suspended")
      const [wait] = yield* Durable.pending(desk, "x")
      expect(wait).toMatchObject({ kind: "outcome", name: "hang" })
      yield* Durable.answer(desk, "x", wait!.id, Durable.happened("found out"))
      expect(yield* Durable.result(desk, "x")).toBe('"found out"')
    }).pipe(Effect.provide(worker(0)))
    expect(calls.filter((name) => name === "hang")).toEqual(["hang"])
  })
)

it.live("a server over HTTP that is away as the run goes on fails its call, which the model sees", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const started = yield* server
    const live = Layer.mergeAll(
      calling("safe", "unsafe"),
      Mcp.layer({ servers: { http: { url: started.url } } }),
      Approvals.layerRules([{ rule: "ask", tool: "unsafe" }])
    )
    const worker = Durable.worker(desk).pipe(Layer.provide(live), Layer.provideMerge(engine(file)))
    yield* Effect.gen(function* () {
      yield* Durable.submit(desk, "x")
      yield* statusOf(desk, "suspended")
      yield* Effect.promise(() => started.close())
      const [wait] = yield* Durable.pending(desk, "x")
      yield* Durable.decide(desk, "x", wait!.id, Approvals.approve)
      expect(yield* Durable.result(desk, "x")).toContain("error")
    }).pipe(Effect.provide(worker))
    expect(started.calls).toEqual(["safe"])
  })
)

it.live("clients of the sync edge, and a tool that blocks with it, are used in a durable run", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const { url } = yield* server
    const helper = Agent.make("helper", {})
    const get = AgentTool.fromFunction("get", {
      description: "Gets",
      hints: { idempotent: true },
      execute: () =>
        Effect.gen(function* () {
          const { status } = yield* HttpClient.get(url)
          const files = yield* FileSystem.FileSystem
          yield* files.writeFileString(`${file}.txt`, String(status))
          return status
        }).pipe(Effect.orDie)
    })
    const block = AgentTool.fromFunction("block", {
      description: "Blocks",
      hints: { idempotent: true },
      execute: () =>
        Effect.runSync(
          helper.run("help").pipe(Effect.provide(TestModel.layer(["helped"])), Effect.provide(SyncEdge.layerNested))
        )
    })
    const both = Durable.make(Agent.make("both", { tools: [get, block] }), { name: "both", version: "1", key: String })
    const edge = Layer.mergeAll(SyncEdge.layerHttpClient, SyncEdge.layerFileSystem).pipe(
      Layer.provideMerge(SyncEdge.layer)
    )
    yield* Effect.gen(function* () {
      expect(yield* both.run("x")).toBe('"helped"')
      const written = yield* Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(`${file}.txt`))
      expect(Number(written)).toBeGreaterThan(0)
    }).pipe(Effect.provide(calling("get", "block")), Effect.provide(engine(file)), Effect.provide(edge))
  })
)
