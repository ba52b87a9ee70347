/** The playground's routes: the page and its policy, what it asks of its server, and a server of traces alone. */
import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schedule, Schema } from "effect"
import {
  Agent,
  AgentServer,
  AgentTool,
  Chain,
  Handoffs,
  Router,
  Runner,
  SessionStore,
  TestModel,
  TraceStore
} from "troupe"
import { graphOf } from "../../../src/layers/server/internal/playground/graph.ts"
import { ask, get, handling, post } from "../../support/agentServer.ts"

const desk = Agent.make("desk", { description: "Answers" })
const hello = TestModel.layer(() => "Hello.", { unused: "ignore" })
const everything = ["arguments", "results", "reasoning", "nested", "errors"] as const

const sourcesIn = (policy: string, directive: string): ReadonlyArray<string> =>
  policy
    .split(";")
    .map((part) => part.trim().split(" "))
    .find(([name]) => name === directive)
    ?.slice(1) ?? []

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

describe("the page", () => {
  it.live("is one document, whose policy lets its own script and style run and nothing else", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { desk }, playground: true }, hello)
      const { headers, status, text } = yield* ask(handler, get("/"))
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("content-type"), "text/html; charset=utf-8")
      const policy = headers.get("content-security-policy")!
      const scripts = [...text.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, script]) => hashOf(script!))
      const styles = [...text.matchAll(/<style>([\s\S]*?)<\/style>/g)].map(([, style]) => hashOf(style!))
      assert.lengthOf(scripts, 1)
      assert.deepStrictEqual(sourcesIn(policy, "script-src"), scripts)
      assert.deepStrictEqual(sourcesIn(policy, "style-src"), styles)
      assert.deepStrictEqual(sourcesIn(policy, "default-src"), ["'none'"])
      assert.deepStrictEqual(sourcesIn(policy, "connect-src"), ["'self'"])
      assert.deepStrictEqual(sourcesIn(policy, "require-trusted-types-for"), ["'script'"])
      assert.deepStrictEqual(sourcesIn(policy, "trusted-types"), ["'none'"])
      assert.notMatch(text, /<script [^>]*src|<link[^>]*stylesheet|\son\w+=/)
      assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
    }).pipe(Effect.scoped)
  )

  it.live("is not there unless the server says so", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { desk } }, hello)
      assert.strictEqual((yield* ask(handler, get("/"))).status, 404)
      assert.strictEqual((yield* ask(handler, get("/playground.json"))).status, 404)
    }).pipe(Effect.scoped)
  )

  it.live("asks for no token, because it holds no data; what it asks for does", () =>
    Effect.gen(function* () {
      const options = { runners: { desk }, playground: true, bearer: () => false }
      const handler = yield* handling(options, hello)
      assert.strictEqual((yield* ask(handler, get("/"))).status, 200)
      for (const path of ["/playground.json", "/runners", "/runners/desk/graph", "/traces"]) {
        assert.strictEqual((yield* ask(handler, get(path))).status, 401, path)
      }
    }).pipe(Effect.scoped)
  )

  it.live("is refused by a name of the server that is not allowed", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { desk }, playground: true, hosts: ["agents.example"] }, hello)
      assert.strictEqual((yield* ask(handler, get("/", { host: "evil.example" }))).status, 403)
    }).pipe(Effect.scoped)
  )

  it.live("has an address with a slash below a prefix, to which the other one leads", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { desk }, playground: true, prefix: "/agents" }, hello)
      assert.strictEqual((yield* ask(handler, get("/agents/"))).status, 200)
      const moved = yield* ask(handler, get("/agents"))
      assert.strictEqual(moved.status, 308)
      assert.strictEqual(moved.headers.get("location"), "/agents/")
    }).pipe(Effect.scoped)
  )
})

describe("what the page asks for", () => {
  it.live("is what the server keeps and what it shows", () =>
    Effect.gen(function* () {
      const options = { runners: { desk }, playground: true, expose: ["reasoning"] as const }
      const bare = yield* handling(options, hello)
      assert.deepStrictEqual((yield* ask(bare, get("/playground.json"))).body, {
        runners: true,
        sessions: false,
        traces: false,
        expose: ["reasoning"]
      })
      const stores = Layer.mergeAll(hello, SessionStore.layerMemory, TraceStore.layerMemory)
      const full = yield* handling(options, stores)
      assert.deepInclude((yield* ask(full, get("/playground.json"))).body, { sessions: true, traces: true })
    }).pipe(Effect.scoped)
  )

  it.live("is the graph of a runner, where nested runs are shown", () =>
    Effect.gen(function* () {
      const look = AgentTool.fromFunction("look", {
        description: "Looks",
        parameters: Schema.Struct({}),
        execute: () => "there"
      })
      const clerk = Agent.make("clerk", { tools: [look], instructions: "s3cr3t" })
      const router = Router.make("router", { clerk, other: Runner.make("other", { run: () => Effect.succeed("") }) })
      const runners = { all: Chain.make("all", [router, desk]) }
      const hidden = yield* handling({ runners }, hello)
      const refused = yield* ask(hidden, get("/runners/all/graph"))
      assert.strictEqual(refused.status, 403)
      assert.include(refused.body.detail, 'expose: ["nested"]')
      const shown = yield* handling({ runners, expose: ["nested"] }, hello)
      const { body, text } = yield* ask(shown, get("/runners/all/graph"))
      assert.deepInclude(body.graph, { name: "all", kind: "chain" })
      const [first, second] = body.graph.members
      assert.strictEqual(first.runner.kind, "router")
      const inner = first.runner.members.find(({ name }: { readonly name: string }) => name === "clerk")
      assert.deepStrictEqual(inner.runner.members, [{ name: "look", role: "tool" }])
      assert.deepInclude(second.runner, { name: "desk", kind: "agent", description: "Answers" })
      assert.notInclude(text, "s3cr3t")
      assert.strictEqual((yield* ask(shown, get("/runners/none/graph"))).status, 404)
    }).pipe(Effect.scoped)
  )

  it.live("is an arc for each member that another one may hand the conversation over to", () =>
    Effect.gen(function* () {
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing"), Handoffs.to("back")] })
      const billing = Runner.withTimeout(Agent.make("billing", { tools: [Handoffs.to("back")] }), "1 minute")
      // Its name here is not its own.
      const back = Agent.make("other", { tools: [Handoffs.to("triage")] })
      const team = Handoffs.make("team", { triage, billing, back }, { start: "triage" })
      const handler = yield* handling({ runners: { team, desk }, expose: ["nested"] }, hello)
      const { body } = yield* ask(handler, get("/runners/team/graph"))
      assert.deepStrictEqual(body.graph.handoffs, [
        { from: "triage", to: "billing" },
        { from: "triage", to: "back" },
        { from: "billing", to: "back" },
        { from: "back", to: "triage" }
      ])
      assert.notProperty((yield* ask(handler, get("/runners/desk/graph"))).body.graph, "handoffs")
    }).pipe(Effect.scoped)
  )

  it("ends for a runner that is made of itself, or of very many", () => {
    const made = (size: number): Parameters<typeof graphOf>[0] => {
      const drawable: Parameters<typeof graphOf>[0] = {
        name: "loop",
        definition: {
          structure: () => ({
            kind: "gather",
            members: Array.from({ length: size }, () => ({ name: "loop", runner: drawable }))
          })
        }
      }
      return drawable
    }
    for (const size of [1, 3, 1000]) {
      const text = JSON.stringify(graphOf(made(size)))
      assert.include(text, '"isCut":true')
      assert.isBelow(text.length, 100_000)
    }
  })
})

it.live("a run that goes on after an approval is kept too, in the session of the one before it", () =>
  Effect.gen(function* () {
    const pay = AgentTool.fromFunction("pay", {
      description: "Pays",
      parameters: Schema.Struct({}),
      needsApproval: true,
      execute: () => "paid"
    })
    const asking = TestModel.layer(({ prompt }) =>
      JSON.stringify(prompt.content).includes("tool-result") ? "Done." : TestModel.toolCall("pay", {})
    )
    const stores = Layer.mergeAll(asking, SessionStore.layerMemory, TraceStore.layerMemory)
    const options = {
      runners: { clerk: Agent.make("clerk", { tools: [pay] }) },
      bearer: (token: Redacted.Redacted<string>) => Redacted.value(token)
    }
    const handler = yield* handling(options, stores)
    const ada = { authorization: "Bearer ada" }
    const first = yield* ask(handler, post("/runners/clerk", { input: "Pay", session: "chat" }, ada))
    const { runId, waitingFor } = first.body
    const answers = { [waitingFor[0].id]: { approved: true } }
    const second = yield* ask(handler, post(`/runs/${runId}/approvals`, answers, ada))
    assert.strictEqual(second.body.output, "Done.")
    const states = Effect.map(ask(handler, get("/traces?session=chat", ada)), ({ body }) =>
      body.runs.map(({ status }: { readonly status: string }) => status)
    )
    const found = yield* Effect.repeat(states, {
      until: (all: ReadonlyArray<string>) => all.length === 2 && all[0] === "completed",
      times: 200,
      schedule: Schedule.spaced("5 millis")
    }).pipe(Effect.andThen(states))
    assert.deepStrictEqual(found, ["completed", "suspended"])
  }).pipe(Effect.scoped)
)

describe("a server of traces", () => {
  const served = Effect.gen(function* () {
    const store = Layer.effectDiscard(
      Effect.flatMap(desk.run("Hi"), () => Effect.void).pipe(Effect.provide(TraceStore.record), Effect.provide(hello))
    ).pipe(Layer.provideMerge(TraceStore.layerMemory))
    const context = yield* Layer.build(AgentServer.serveTraces({ port: 0 }).pipe(Layer.provide(store)))
    return Context.get(context, AgentServer.Listening).url
  })

  const read = (url: string, headers: Record<string, string> = {}) =>
    Effect.promise(async () => {
      const response = await fetch(url, { headers })
      return { status: response.status, text: await response.text() }
    })

  it.live("has the page and the runs that are kept, with all that is in them, and no runner", () =>
    Effect.gen(function* () {
      const url = yield* served
      assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
      assert.include((yield* read(`${url}/`)).text, '<div id="root">')
      assert.deepStrictEqual(JSON.parse((yield* read(`${url}/playground.json`)).text), {
        runners: false,
        sessions: false,
        traces: true,
        expose: [...everything]
      })
      const { runs } = JSON.parse((yield* read(`${url}/traces`)).text)
      assert.deepInclude(runs[0], { runner: "desk", status: "completed" })
      assert.include((yield* read(`${url}/traces/${runs[0].runId}`)).text, '"Completed"')
      assert.strictEqual((yield* read(`${url}/runners`)).status, 404)
      assert.strictEqual((yield* read(`${url}/v1/models`)).status, 404)
    }).pipe(Effect.scoped)
  )

  it.live("answers no page of another origin", () =>
    Effect.gen(function* () {
      const url = yield* served
      assert.strictEqual((yield* read(`${url}/traces`, { origin: "http://evil.example" })).status, 403)
    }).pipe(Effect.scoped)
  )
})
