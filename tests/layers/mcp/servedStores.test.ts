/** Memory, sessions, traces, skills and prompts on an MCP server, used by the SDK's client over real HTTP. */
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Schema } from "effect"
import { Prompt } from "effect/ai"
import * as fs from "node:fs"
import * as path from "node:path"
import {
  Agent,
  AgentTool,
  McpServer,
  Memory,
  MemoryStore,
  RunError,
  Session,
  SessionStore,
  Skills,
  TestModel,
  TraceStore
} from "troupe"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

/** A client of a server that ends with the scope. */
const connected = <E, R>(server: Layer.Layer<McpServer.Served, E, R>) =>
  Effect.gen(function* () {
    const { url } = Context.get(yield* Layer.build(server), McpServer.Served)
    const client = new Client({ name: "host", version: "1.0.0" })
    const transport = new StreamableHTTPClientTransport(new URL(url!)) as Parameters<Client["connect"]>[0]
    yield* Effect.acquireRelease(
      Effect.promise(() => client.connect(transport)),
      () => Effect.promise(() => client.close())
    )
    const textAt = async (uri: string) => {
      const { contents } = await client.readResource({ uri })
      return (contents[0] as { readonly text: string }).text
    }
    return {
      client,
      textAt,
      jsonAt: async (uri: string) => JSON.parse(await textAt(uri)) as never,
      call: async (name: string, args: Record<string, unknown> = {}) => {
        const { content, isError } = await client.callTool({ name, arguments: args })
        const [{ text }] = content as [{ readonly text: string }]
        return isError === true ? `failed: ${text}` : text
      }
    }
  })
/** What fails is logged by the server. */
const quiet = Effect.provide(Logger.layer([]))
const problem = (promise: Promise<unknown>) =>
  promise.then(
    () => "no problem",
    (error: Error) => error.message
  )

describe("memory", () => {
  const namespace = "team/1"
  it.live("is kept, found and removed by tools, and read as resources", () =>
    Effect.gen(function* () {
      yield* Memory.put({ namespace, key: "food/olives", text: "Ada likes olives." })
      yield* Memory.put({ namespace: "other", key: "secret", text: "not for the team" })
      const { call, client, jsonAt, textAt } = yield* connected(
        McpServer.serve({
          tools: Memory.tools({ namespace }),
          registrations: McpServer.memory({ namespace }),
          http: {}
        })
      )
      yield* Effect.promise(async () => {
        const { tools } = await client.listTools()
        assert.deepStrictEqual(
          tools.map(({ name }) => name),
          ["remember", "search_memory", "forget"]
        )
        assert.deepInclude(tools[1]!.annotations, { readOnlyHint: true, destructiveHint: false, openWorldHint: false })
        assert.deepStrictEqual(tools[0]!.inputSchema.required, ["key", "text"])
        assert.strictEqual(await call("remember", { key: "name", text: "The user is Ada." }), "kept")
        assert.match(await call("remember", { key: "", text: "x" }), /^failed: Invalid arguments for tool "remember"/)
        assert.include(await call("search_memory", { query: "olives" }), "Ada likes olives.")
        assert.notInclude(await call("search_memory", { query: "secret team" }), "not for the team")

        const [resource] = (await client.listResources()).resources
        assert.strictEqual(resource!.uri, "memory://team~2F1")
        assert.deepStrictEqual(await jsonAt(resource!.uri), {
          notes: [
            { key: "food/olives", uri: "memory://team~2F1/food%2Folives", text: "Ada likes olives." },
            { key: "name", uri: "memory://team~2F1/name", text: "The user is Ada." }
          ],
          hasMore: false
        } as never)
        assert.strictEqual(await textAt("memory://team~2F1/food%2Folives"), "Ada likes olives.")
        const [template] = (await client.listResourceTemplates()).resourceTemplates
        const { completion } = await client.complete({
          ref: { type: "ref/resource", uri: template!.uriTemplate },
          argument: { name: "key", value: "food" }
        })
        assert.deepStrictEqual(completion.values, ["food/olives"])
        assert.strictEqual(await call("forget", { key: "name" }), "removed")
        assert.match(await problem(textAt("memory://team~2F1/name")), /nothing at memory:/)
        assert.match(await problem(textAt("memory://other/secret")), /not found/i)
      })
    }).pipe(Effect.provide(MemoryStore.layerMemory), quiet)
  )

  it.live("that cannot be reached is an error without the inside of the server", () =>
    Effect.gen(function* () {
      const down = new RunError.StoreError({ store: "memory", reason: "unreachable", problem: "connect 10.0.0.7:5432" })
      const failing = Layer.succeed(MemoryStore.MemoryStore)({
        put: () => Effect.fail(down),
        get: () => Effect.fail(down),
        search: () => Effect.fail(down),
        list: () => Effect.fail(down),
        remove: () => Effect.fail(down)
      })
      const { call, textAt } = yield* connected(
        McpServer.serve({
          tools: Memory.tools({ namespace }),
          registrations: McpServer.memory({ namespace }),
          http: {}
        }).pipe(Layer.provide(failing))
      )
      yield* Effect.promise(async () => {
        for (const said of [
          await call("search_memory", { query: "x" }),
          await problem(textAt("memory://team~2F1/x"))
        ]) {
          assert.include(said, "failed. The server's log says why.")
          assert.notInclude(said, "10.0.0.7")
        }
      })
    }).pipe(quiet)
  )
})

describe("sessions and traces", () => {
  it.live("are read as resources, sessions as far as their prefix goes", () =>
    Effect.gen(function* () {
      const agent = Agent.make("clerk", {})
      yield* Effect.forEach(["ada-1", "ada-2", "bob-1"], (id) => Session.of(agent, id).run(`I am ${id}`)).pipe(
        Effect.provide(TraceStore.record, { local: true }),
        Effect.provide(TestModel.layer(() => "Hello.", { unused: "ignore" }))
      )
      const registrations = Layer.merge(McpServer.sessions({ prefix: "ada-" }), McpServer.traces())
      const { jsonAt, textAt } = yield* connected(McpServer.serve({ tools: [], registrations, http: {} }))
      yield* Effect.promise(async () => {
        const { sessions } = (await jsonAt("sessions://all")) as {
          sessions: ReadonlyArray<{ id: string; uri: string }>
        }
        assert.deepStrictEqual(
          sessions.map(({ id }) => id),
          ["ada-1", "ada-2"]
        )
        assert.deepStrictEqual(await jsonAt(sessions[0]!.uri), {
          session: "ada-1",
          omitted: 0,
          turns: [{ user: "I am ada-1", toolCalls: [], answer: "Hello." }]
        } as never)
        for (const id of ["bob-1", "ada-3"]) assert.match(await problem(textAt(`sessions://all/${id}`)), /nothing at/)
        const { runs } = (await jsonAt("traces://all")) as { runs: ReadonlyArray<{ session: string; uri: string }> }
        assert.deepStrictEqual(runs.map(({ session }) => session).toSorted(), ["ada-1", "ada-2", "bob-1"])
        assert.match(await textAt(runs[0]!.uri), /^\{.*"RunStarted".*\n(.*\n)*.*"RunCompleted".*\n$/)
        assert.match(await problem(textAt("traces://all/run_none")), /nothing at/)
      })
    }).pipe(Effect.provide([SessionStore.layerMemory, TraceStore.layerMemory]), quiet)
  )
})

describe("skills", () => {
  const folder = temporaryFolder()
  it.live("are prompts, tools and resources, and only what is inside of them is read", () =>
    Effect.gen(function* () {
      const root = path.join(folder(), "skills/invoices")
      fs.mkdirSync(path.join(root, "references"), { recursive: true })
      fs.writeFileSync(
        path.join(root, "SKILL.md"),
        "---\nname: invoices\ndescription: Writes invoices. Use it for bills.\n---\nAdd 19 % tax.\n"
      )
      fs.writeFileSync(path.join(root, "references/tax.md"), "Books have 7 %.\n")
      const { call, client, jsonAt, textAt } = yield* connected(
        McpServer.serve({ tools: Skills.tools(), registrations: McpServer.skills(), http: {} }).pipe(
          Layer.provide(Skills.layer({ folders: [path.join(folder(), "skills")] }))
        )
      )
      yield* Effect.promise(async () => {
        const { prompts } = await client.listPrompts()
        assert.deepStrictEqual(
          prompts.map(({ description, name }) => [name, description]),
          [["invoices", "Writes invoices. Use it for bills."]]
        )
        const { messages } = await client.getPrompt({ name: "invoices" })
        const content = messages[0]!.content as { text: string }
        assert.include(content.text, "Add 19 % tax.")
        const link = "skills://all/invoices/references%2Ftax.md"
        assert.include(content.text, link)
        assert.strictEqual(await textAt(link), "Books have 7 %.\n")
        assert.deepInclude(await jsonAt("skills://all"), {
          skills: [
            {
              name: "invoices",
              description: "Writes invoices. Use it for bills.",
              files: ["SKILL.md", "references/tax.md"]
            }
          ]
        } as never)
        assert.include(await call("list_skills"), '"invoices"')
        assert.include(await call("read_skill", { name: "invoices" }), "Add 19 % tax.")
        assert.include(await call("read_skill_file", { skill: "invoices", path: "references/tax.md" }), "Books")
        for (const outside of ["..%2F..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd"]) {
          assert.notInclude(await problem(textAt(`skills://all/invoices/${outside}`)), "no problem")
        }
        assert.match(await call("read_skill_file", { skill: "invoices", path: "../../x" }), /^failed/)
      })
    }).pipe(quiet)
  )
})

describe("prompts", () => {
  it.live("are made of what the user fills in: a text, or a conversation with images", () =>
    Effect.gen(function* () {
      const image = Uint8Array.from([1, 2, 3])
      const registrations = Layer.mergeAll(
        McpServer.prompt("review", {
          description: "Reviews a text",
          title: "Review",
          parameters: {
            text: Schema.String.annotate({ description: "The text" }),
            stars: Schema.optionalKey(Schema.FiniteFromString)
          },
          prompt: ({ stars = 3, text }) => `Review with ${stars + 1} stars: ${text}`
        }),
        McpServer.prompt("look", {
          description: "Looks",
          prompt: () =>
            Effect.succeed(
              Prompt.make([
                {
                  role: "user",
                  content: [
                    { type: "text", text: "What is it?" },
                    { type: "file", mediaType: "image/png", data: image }
                  ]
                },
                { role: "assistant", content: "A cat." }
              ])
            )
        })
      )
      const { client } = yield* connected(McpServer.serve({ tools: [], registrations, http: {} }))
      yield* Effect.promise(async () => {
        const { prompts } = await client.listPrompts()
        assert.deepStrictEqual(prompts.find(({ name }) => name === "review")!.arguments, [
          { name: "text", description: "The text", required: true },
          { name: "stars", required: false }
        ] as never)
        const textOf = async (args: Record<string, string>) =>
          (await client.getPrompt({ name: "review", arguments: args })).messages[0]!.content
        assert.deepStrictEqual(await textOf({ text: "so", stars: "4" }), {
          type: "text",
          text: "Review with 5 stars: so"
        } as never)
        assert.match(await problem(textOf({})), /text/)
        assert.match(await problem(textOf({ text: "x", stars: "many" })), /stars/)
        const { messages } = await client.getPrompt({ name: "look" })
        assert.deepStrictEqual(
          messages.map(({ content, role }) => [role, content.type]),
          [
            ["user", "text"],
            ["user", "image"],
            ["assistant", "text"]
          ]
        )
      })
    })
  )
})

describe("a tool of agents", () => {
  const options = { description: "Pays", execute: () => "paid" }
  it("that needs approval, or is the caller's to run, is refused where the server is defined", () => {
    const approved = AgentTool.fromFunction("pay", { ...options, needsApproval: true })
    assert.throws(() => McpServer.serve({ tools: [approved] }), /its calls need approval/)
    const locate = AgentTool.client("locate", { description: "Where the user is" })
    assert.throws(() => McpServer.serve({ tools: [locate] }), /the caller of an agent's run has to run it/)
  })

  it.live("has the run that it works for, takes no arguments where it has none, and fails as it does", () =>
    Effect.gen(function* () {
      const whoami = AgentTool.fromFunction("whoami", {
        description: "Says where it runs",
        execute: (_params, { path, step }) => `${path.join()} ${step}`
      })
      const broken = AgentTool.fromFunction("broken", { description: "Breaks", execute: () => Effect.fail("no luck") })
      const slow = AgentTool.fromFunction("slow", { description: "Hangs", timeout: 20, execute: () => Effect.never })
      const { call } = yield* connected(McpServer.serve({ tools: [whoami, broken, slow], http: {} }))
      yield* Effect.promise(async () => {
        assert.strictEqual(await call("whoami", { unasked: 1 }), "whoami 1")
        assert.strictEqual(await call("broken"), "failed: no luck")
        assert.match(await call("slow"), /did not end within 20 ms/)
      })
    }).pipe(quiet)
  )
})
