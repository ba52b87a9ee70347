/** Lists of servers that do not fit the protocol: what can be used of them is used, and the rest is logged. */
import { Effect } from "effect"
import { Mcp } from "troupe"
import { describe, expect, it } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure } from "../../support/mcpChecks.ts"
import { collectLogs, edges, type RawAnswers } from "../../support/mcpRaw.ts"

const object = { type: "object" }
const good = { name: "good", inputSchema: object }
const listed = (...tools: ReadonlyArray<unknown>): RawAnswers => ({ "tools/list": { tools } })

describe.each(edges)("under %s", (_name, run, rawServer) => {
  const connected = <A, E>(
    answers: RawAnswers,
    use: (mcp: Mcp.Mcp["Service"]) => Effect.Effect<A, E>,
    options: Mcp.CommonOptions = {}
  ) => run(Effect.scoped(Effect.flatMap(Mcp.connect({ servers: { raw: rawServer(answers, options) } }), use)))
  const toolNames = (answers: RawAnswers, options: Mcp.CommonOptions = {}) =>
    connected(answers, (mcp) => Effect.map(mcp.tools(), (tools) => tools.map(({ name }) => name)), options)

  it("a property whose schema is a boolean is a property like others", async () => {
    const odd = { name: "odd", inputSchema: { ...object, properties: { x: true, y: false } } }
    const said = await connected(listed(good, odd), (mcp) =>
      Effect.flatMap(mcp.tools(), (tools) =>
        Effect.all([
          Effect.exit(call(tools, "odd", { x: [1] })),
          Effect.exit(call(tools, "odd", { y: 1 })),
          Effect.exit(call(tools, "good"))
        ])
      )
    )
    expect(said[0]).toMatchObject({ value: "fine" })
    expect(failure(said[1])).toMatchObject({ reason: "invalid", executed: "no" })
    expect(said[2]).toMatchObject({ value: "fine" })
  })

  it("tools with odd fields run, and so do the others", async () => {
    const odd: Readonly<Record<string, object>> = {
      "a boolean in outputSchema": { inputSchema: object, outputSchema: { properties: { x: true } } },
      "an inputSchema without a type": { inputSchema: {} },
      "an inputSchema that is null": { inputSchema: null },
      "no inputSchema": {},
      "an inputSchema that is a boolean": { inputSchema: true },
      "an inputSchema that PHP made a list": { inputSchema: [] },
      "properties that are null": { inputSchema: { ...object, properties: null } },
      "properties that PHP made a list": { inputSchema: { ...object, properties: [] } },
      "required that is null": { inputSchema: { ...object, required: null } },
      "a property that is null": { inputSchema: { ...object, properties: { x: null } } },
      "keywords that are null": { inputSchema: { properties: { x: { type: "string", enum: null, items: null } } } },
      "a description that is null": { inputSchema: object, description: null },
      "a description that is a number": { inputSchema: object, description: 5 },
      "a title that is null": { inputSchema: object, title: null },
      "annotations that are null": { inputSchema: object, annotations: null },
      "a hint that is null": { inputSchema: object, annotations: { readOnlyHint: null } },
      "a hint that is a text": { inputSchema: object, annotations: { readOnlyHint: "yes" } },
      "an outputSchema that is null": { inputSchema: object, outputSchema: null },
      "an outputSchema that is a text": { inputSchema: object, outputSchema: "any" },
      "more fields that are null": { inputSchema: object, icons: null, _meta: null, execution: null }
    }
    const tools = [good, ...Object.entries(odd).map(([name, fields]) => ({ name, ...fields }))]
    const answers = { ...listed(...tools), "tools/call": { content: [{ type: "text", text: "fine" }] } }
    const outcome = await connected(answers, (mcp) =>
      Effect.flatMap(mcp.tools(), (found) =>
        Effect.forEach(found, ({ name }) =>
          Effect.match(call(found, name), {
            onSuccess: (value) => [name, value],
            onFailure: ({ message }) => [name, message]
          })
        )
      )
    )
    expect(outcome).toHaveLength(tools.length)
    // The structure that an output schema promises is missing, which is said with the text.
    for (const [, said] of outcome) expect(said).toMatch(/^fine$|gave|does not fit its own definition.*\n?fine/s)
    expect(outcome.filter(([, said]) => said === "fine")).toHaveLength(tools.length - 1)
  })

  it("a tool without a name is left out with a warning, and so is what is not a tool", async () => {
    const { layer, lines } = collectLogs()
    const names = await run(
      Mcp.connect({
        servers: { raw: rawServer(listed(null, good, { inputSchema: object }, "tool", { name: "" })) }
      }).pipe(
        Effect.flatMap((mcp) => mcp.tools()),
        Effect.map((tools) => tools.map(({ name }) => name)),
        Effect.scoped,
        Effect.provide(layer)
      )
    )
    expect(names).toEqual(["good"])
    const warning = lines.find((line) => line.startsWith("Warn"))
    expect(warning).toContain('MCP server "raw"')
    expect(warning).toContain("tool 1 of its list has no name and is left out")
    expect(warning).toContain("tool 3 of its list")
  })

  it("a tool whose name is denied may be as odd as it likes", async () => {
    const odd = { name: "bad", inputSchema: { properties: { x: true } } }
    expect(await toolNames(listed(good, odd), { deny: ["bad"] })).toEqual(["good"])
  })

  it("an answer that holds no list of tools is an empty list", async () => {
    const none = '{"jsonrpc":"2.0","id":$ID,"result":null}'
    for (const answer of [{ tools: null }, { tools: "none" }, {}, none]) {
      expect(await toolNames({ "tools/list": answer })).toEqual([])
    }
  })

  it("a server that refuses to list its tools has none, and others are connected", async () => {
    const { layer, lines } = collectLogs()
    const refuses = rawServer({ "tools/list": { $error: { code: -32603, message: "not today" } } })
    const names = await run(
      Mcp.connect({ servers: { refuses, raw: rawServer() } }).pipe(
        Effect.flatMap((mcp) => mcp.tools()),
        Effect.map((tools) => tools.map(({ name }) => name)),
        Effect.scoped,
        Effect.provide(layer)
      )
    )
    expect(names).toEqual(["raw_good"])
    expect(lines.join("\n")).toContain("not today")
  })

  it("a list whose cursor does not advance gives each tool once, under its own name", async () => {
    const tools = [
      { name: "a", inputSchema: object },
      { name: "b", inputSchema: object }
    ]
    expect(await toolNames({ "tools/list": { tools, nextCursor: "2" } })).toEqual(["a", "b"])
    expect(await toolNames({ "tools/list": { tools, nextCursor: "" } })).toEqual(["a", "b"])
    expect(await toolNames({ "tools/list": { tools, nextCursor: null } })).toEqual(["a", "b"])
  })

  it("of two tools with one name on one server, the first is taken", async () => {
    const tools = await connected(
      listed({ ...good, description: "first" }, { ...good, description: "second" }),
      (mcp) => mcp.tools()
    )
    expect(tools.map(({ name, tool }) => [name, tool.description])).toEqual([["good", "first"]])
  })

  describe("of several servers", () => {
    const resource = (name: string) => ({ uri: `a://${name}`, name })
    const one: RawAnswers = { "resources/list": { resources: [resource("one")] } }
    const other: RawAnswers = {
      "resources/list": { resources: [resource("other")] },
      "resources/templates/list": { resourceTemplates: [{ uriTemplate: "a://{x}", name: "any" }] }
    }
    const withServers = <A, E>(
      servers: Readonly<Record<string, RawAnswers>>,
      use: (mcp: Mcp.Mcp["Service"]) => Effect.Effect<A, E>
    ) => {
      const { layer, lines } = collectLogs()
      const raw = Object.fromEntries(Object.entries(servers).map(([name, answers]) => [name, rawServer(answers)]))
      const program = Effect.scoped(Effect.flatMap(Mcp.connect({ servers: raw }), use))
      return run(Effect.provide(program, layer)).then((value) => ({ value, log: lines.join("\n") }))
    }

    it("one that does not have a list counts as one with an empty list", async () => {
      const { log, value } = await withServers({ one, other }, (mcp) =>
        Effect.all([mcp.resources, mcp.resourceTemplates])
      )
      expect(value[0].map(({ name, server }) => [server, name])).toEqual([
        ["one", "one"],
        ["other", "other"]
      ])
      expect(value[1].map(({ uriTemplate }) => uriTemplate)).toEqual(["a://{x}"])
      expect(log).not.toContain("Warn")
    })

    it("one whose list fails is logged, and the entries of the others are given", async () => {
      const fails: RawAnswers = {
        "resources/list": { $error: { code: -32603, message: "the disk is gone" } },
        "prompts/list": { $error: { code: -32603, message: "the disk is gone" } }
      }
      const { log, value } = await withServers(
        { fails, one, other: { ...other, "prompts/list": { prompts: [{ name: "p" }] } } },
        (mcp) => Effect.all([mcp.resources, mcp.prompts])
      )
      expect(value[0].map(({ name }) => name)).toEqual(["one", "other"])
      expect(value[1].map(({ name }) => name)).toEqual(["p"])
      expect(log).toContain("the disk is gone")
    })

    it("where the only list fails, that failure is the list's", async () => {
      const fails: RawAnswers = { "resources/list": { $error: { code: -32603, message: "the disk is gone" } } }
      const { value } = await withServers({ fails, raw: {} }, (mcp) => Effect.exit(mcp.resources))
      expect(failure(value)).toMatchObject({
        _tag: "McpCallError",
        message: expect.stringContaining("the disk is gone")
      })
    })

    it("the tool that lists resources gives what there is, with what failed", async () => {
      const fails: RawAnswers = {
        "resources/list": { resources: [resource("fails")] },
        "resources/templates/list": { $error: { code: -32603, message: "the disk is gone" } }
      }
      const { value } = await withServers({ fails }, (mcp) =>
        Mcp.resourceTools()
          .list(new Set())
          .pipe(
            Effect.flatMap((tools) => call(tools, "list_resources")),
            Effect.provideService(Mcp.Mcp, mcp)
          )
      )
      expect(value).toMatchObject({
        resources: [{ server: "fails", name: "fails" }],
        problem: expect.stringContaining("the disk is gone")
      })
    })
  })

  it("entries of other lists are used as far as they fit", async () => {
    const answers: RawAnswers = {
      "resources/list": {
        resources: [
          null,
          { uri: "a://1", name: null, size: "big", mimeType: null },
          { name: "no address" },
          { uri: "a://2", name: "two", title: 5 },
          { uri: "a://2", name: "again" }
        ]
      },
      "prompts/list": {
        prompts: [
          { name: "p", arguments: [{ name: "x", required: null }, null] },
          { name: "q", arguments: null }
        ]
      },
      "resources/read": { contents: { uri: null, text: "all of it", mimeType: null } },
      "prompts/get": { messages: { role: "user", content: [{ type: "text", text: "Do it" }] } }
    }
    const [resources, prompts, contents, prompt] = await connected(answers, (mcp) =>
      Effect.all([mcp.resources, mcp.prompts, mcp.readResource("raw", "a://1"), mcp.prompt("raw", "p")])
    )
    expect(resources).toEqual([
      { uri: "a://1", name: "a://1", server: "raw" },
      { uri: "a://2", name: "two", server: "raw" }
    ])
    expect(prompts).toEqual([
      { name: "p", arguments: [{ name: "x" }], server: "raw" },
      { name: "q", server: "raw" }
    ])
    expect(contents).toEqual([{ uri: "a://1", text: "all of it" }])
    expect(JSON.stringify(prompt)).toContain("Do it")
  })
})
