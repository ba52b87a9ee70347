/** Config files of other hosts: what is in one is followed, filled in, or refused by name; and how far one is trusted. */
import * as fs from "node:fs"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { Mcp } from "troupe"
import { afterEach, describe, expect, it, vi } from "vitest"
import { failure, temporary } from "../../support/mcpChecks.ts"
import { collectLogs, edges, rawServer } from "../../support/mcpRaw.ts"

const folder = temporary()

afterEach(() => vi.unstubAllEnvs())

const written = (content: unknown): string => {
  const file = folder.path("mcp.json")
  fs.writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content))
  return file
}

const raw = (more: object = {}) => {
  const { args, command } = rawServer()
  return { command, args, ...more }
}

const config = (variables: Readonly<Record<string, string>>) =>
  ConfigProvider.layer(ConfigProvider.fromUnknown(variables))

/** The options that an entry `s` becomes, and the warnings. */
const read = async (entry: unknown, options: Mcp.FileOptions = {}) => {
  const { layer, lines } = collectLogs()
  const file = written({ mcpServers: { s: entry } })
  const servers = await Effect.runPromise(Mcp.fromFile(file, options).pipe(Effect.provide(layer)))
  const warnings = lines.filter((line) => line.startsWith("Warn"))
  return { servers, server: servers["s"] as Mcp.StdioOptions & Mcp.HttpOptions, warnings }
}

const plain = (texts: Readonly<Record<string, Mcp.Text>> | undefined) =>
  Object.fromEntries(
    Object.entries(texts ?? {}).map(([key, text]) => [key, Redacted.isRedacted(text) ? Redacted.value(text) : text])
  )

const refusal = async (content: unknown, options: Mcp.FileOptions = {}) => {
  const error = failure(await Effect.runPromise(Effect.exit(Mcp.fromFile(written(content), options))))
  expect(error).toMatchObject({ _tag: "McpConfigError" })
  return (error as Mcp.McpConfigError).message
}

const refusalOf = (entry: unknown, options: Mcp.FileOptions = {}) => refusal({ mcpServers: { s: entry } }, options)

describe.each(edges)("a config file under %s", (_, run) => {
  it("gives the tools of the servers that are on, as far as it allows them", async () => {
    const answers = { "tools/call": { $byName: { look: {}, write: {}, drop: {} } } }
    const { args, command } = rawServer(answers)
    const file = written({
      mcpServers: {
        one: { command, args, disabledTools: ["drop"] },
        two: { command, args, excludeTools: ["w*"], deny: ["drop"] },
        three: { command, args, includeTools: ["look"] },
        off: { command: "/nowhere/at/all", enabled: false }
      }
    })
    const tools = await run(
      Effect.gen(function* () {
        return yield* (yield* Mcp.Mcp).tools()
      }).pipe(Effect.provide(Mcp.layerFile(file)))
    )
    expect(tools.map(({ name }) => name)).toEqual(["one_look", "one_write", "two_look", "three_look"])
  })

  it("starts no program that was not approved, and reads no variable for it", async () => {
    vi.stubEnv("TROUPE_TEST_KEY", "sk-test")
    const mark = folder.path("RAN")
    const file = written({
      mcpServers: {
        bad: {
          command: "sh",
          args: ["-c", `touch ${mark}; echo $KEY`],
          env: { KEY: "${TROUPE_TEST_KEY}", N: "${UNSET_HERE}" }
        },
        good: raw()
      }
    })
    const { layer, lines } = collectLogs()
    const asked: Array<Mcp.FileServer> = []
    const servers = await run(
      Effect.gen(function* () {
        return yield* (yield* Mcp.Mcp).servers
      }).pipe(
        Effect.provide(
          Mcp.layerFile(file, {
            approve: (server) =>
              Effect.sync(() => {
                asked.push(server)
                return server.name === "good"
              })
          })
        ),
        Effect.provide(layer)
      )
    )
    expect(servers.map(({ name }) => name)).toEqual(["good"])
    expect(fs.existsSync(mark)).toBe(false)
    expect(asked.map(({ name }) => name)).toEqual(["bad", "good"])
    expect(asked[0]).toMatchObject({
      command: "sh",
      target: expect.stringContaining("sh -c touch"),
      variables: ["TROUPE_TEST_KEY", "UNSET_HERE"]
    })
    expect(plain(asked[0]?.env)).toEqual({ KEY: "${TROUPE_TEST_KEY}", N: "${UNSET_HERE}" })
    expect(lines.join("\n")).toMatch(/Warn.*server "bad" is left out, because it was not approved/)
  })
})

describe("a variable of a config file", () => {
  it("is read only when the program gives it", async () => {
    vi.stubEnv("TROUPE_TEST_KEY", "sk-test")
    const entry = { url: "http://127.0.0.1:1/?k=${TROUPE_TEST_KEY}" }
    for (const variables of [[], ["OTHER"]]) {
      const message = await refusalOf(entry, { variables })
      expect(message).toMatch(/server "s" names the variable TROUPE_TEST_KEY.*Add "TROUPE_TEST_KEY" to variables/)
      expect(message).not.toContain("sk-test")
    }
    expect(await refusalOf({ url: "http://a/${TROUPE_TEST_KEY:-x}" }, { variables: [] })).toContain("TROUPE_TEST_KEY")
    const { server } = await read(entry, { variables: ["TROUPE_TEST_KEY"] })
    expect(plain({ url: server.url })).toEqual({ url: "http://127.0.0.1:1/?k=sk-test" })
  })

  it("may be set to the empty text", async () => {
    vi.stubEnv("TROUPE_TEST_EMPTY", "")
    const { server } = await read({
      command: "x",
      env: { A: "${TROUPE_TEST_EMPTY}", B: "${TROUPE_TEST_EMPTY:-other}" }
    })
    expect(plain(server.env)).toEqual({ A: "", B: "other" })
    const kept = ConfigProvider.fromUnknown({ KEPT: "" }, { preserveEmptyStrings: true })
    const file = written({ mcpServers: { s: { command: "x", env: { A: "<${KEPT}>" } } } })
    const servers = await Effect.runPromise(Mcp.fromFile(file).pipe(Effect.provide(ConfigProvider.layer(kept))))
    expect(plain((servers["s"] as Mcp.StdioOptions).env)).toEqual({ A: "<>" })
  })

  it.each(["${input:key}", "${NAME", "${}", "${A-b}"])("that cannot be filled in is refused: %s", async (text) => {
    expect(await refusalOf({ command: "x", args: [text] })).toMatch(
      /has \$\{.*, which cannot be filled in.*Use \$\{NAME\}/
    )
  })

  it("is not filled in again: its value may have a placeholder", async () => {
    const file = written({ mcpServers: { s: { command: "x", env: { A: "${ONE}" } } } })
    const servers = await Effect.runPromise(
      Mcp.fromFile(file).pipe(Effect.provide(config({ ONE: "${TWO}", TWO: "secret" })))
    )
    expect(plain((servers["s"] as Mcp.StdioOptions).env)).toEqual({ A: "${TWO}" })
  })
})

describe("the text of a config file", () => {
  it("may have comments and trailing commas", async () => {
    const file = written(`// of the editor
      { /* all
           of them */
        "servers": { "s": { "command": "x", "args": ["// kept", "/* kept */", "a,]",], }, }, // end
      }
      // no line break at the end`)
    const servers = await Effect.runPromise(Mcp.fromFile(file))
    expect(servers).toMatchObject({ s: { command: "x", args: ["// kept", "/* kept */", "a,]"] } })
  })

  it.each([
    ['{\n  "mcpServers": {\n    "a": { "command": sk-secret }\n  }\n}', 3, 23],
    ['{\r\n  "mcpServers": { "a": { "command": "x" "sk-secret": 1 } }\r\n}', 2, 41],
    ['{\n "mcpServers": {\n', 3, 1],
    ['{ "mcpServers": {} }\n}', 2, 1],
    ["{ 'mcpServers': {} }", 1, 3],
    ['{ "mcpServers": {}, /* open', 1, 21],
    ['{ "mcpServers": { "a": { "command": "x" }, "a": { "command": "y" } } }', 1, 44],
    ['{ "mcpServers": { "a": { "args": [,] } } }', 1, 35],
    ['{ "mcpServers": { "a": { "timeout": 012 } } }', 1, 37],
    ["", 1, 1],
    [`{"mcpServers":${"[".repeat(100_000)}`, 1, 79]
  ])("that is wrong is refused with the line and the column, and is not shown: %#", async (text, line, column) => {
    const message = await refusal(text)
    expect(message).toContain(`it is not JSON: line ${line}, column ${column}: `)
    expect(message).not.toContain("sk-secret")
  })

  it("without an end is refused soon", async () => {
    expect(await refusal(`{"mcpServers": "${"x".repeat(900_000)}`)).toContain("line 1, column 16")
    expect(await refusal(" ".repeat(2_000_000))).toContain("larger than 1048576 bytes")
  })

  it("may name each server once, under one key", async () => {
    expect(await refusal({ mcpServers: {}, servers: {} })).toContain('both "mcpServers" and "servers"')
    expect(await refusal({ mcpServers: [] })).toContain("is not an object")
    expect(await refusal({ mcpServers: null })).toContain('has no "mcpServers"')
  })
})

describe("a server of a config file", () => {
  it.each([{ disabled: true }, { enabled: false }, { enabled: true, disabled: true }])(
    "is off with %j",
    async (off) => {
      expect((await read({ command: "x", ...off })).servers).toEqual({})
    }
  )

  it("is on when both keys say so", async () => {
    expect((await read({ command: "x", enabled: true, disabled: false })).servers).toHaveProperty("s")
    expect(await refusalOf({ command: "x", enabled: "false" })).toContain('["enabled"]')
  })

  it.each(["allow", "includeTools", "enabledTools", "enabled_tools", "tools"])(
    "has only the tools of %s",
    async (key) => {
      expect((await read({ command: "x", [key]: ["a", "b*"] })).server.allow).toEqual(["a", "b*"])
    }
  )

  it("has none of the tools of any list of tools to leave out", async () => {
    const lists = { deny: ["a"], excludeTools: ["b"], disabledTools: ["c"], disabled_tools: ["d"] }
    expect((await read({ command: "x", ...lists })).server.deny?.toSorted()).toEqual(["a", "b", "c", "d"])
  })

  it("takes numbers and booleans as texts, and null as not given", async () => {
    const entry = {
      command: "x",
      args: ["--port", 8080],
      env: { PORT: 8080, ON: true, NO: null },
      url: null,
      cwd: null
    }
    const { server, warnings } = await read(entry)
    expect(server).toMatchObject({ command: "x", args: ["--port", "8080"] })
    expect(plain(server.env)).toEqual({ PORT: "8080", ON: "true" })
    expect(warnings).toEqual([])
    expect(plain((await read({ command: "x", env: null })).server.env)).toEqual({})
    expect(plain((await read({ url: "http://a/", command: null, headers: { N: 1 } })).server.headers)).toEqual({
      N: "1"
    })
    expect(await refusalOf({ command: "x", env: { ID: 2 ** 60 } })).toContain("in quotes")
  })

  it("has its timeout in milliseconds, and an absurd one is warned of", async () => {
    const { server, warnings } = await read({ command: "x", timeout: 60 })
    expect(server.timeout).toBe(60)
    expect(warnings.join()).toMatch(/server "s": its timeout is 60 milliseconds/)
    expect((await read({ command: "x", timeout: 1e9 })).warnings).toHaveLength(1)
    expect((await read({ command: "x", timeout: 60_000 })).warnings).toEqual([])
  })

  it("may have its address under the names of other hosts", async () => {
    const address = "https://a.example/mcp"
    const found = async (entry: object) => {
      const { transport, url } = (await read(entry)).server
      return [url, transport]
    }
    expect(await found({ url: address })).toEqual([address, "auto"])
    expect(await found({ httpUrl: address })).toEqual([address, "http"])
    expect(await found({ serverUrl: address, type: "sse" })).toEqual([address, "sse"])
    expect(await found({ url: address, transport: "streamable-http" })).toEqual([address, "http"])
    expect(await found({ transport: { type: "http", url: address } })).toEqual([address, "http"])
    expect(await read({ type: "stdio", transport: { command: "x", args: ["y"] } }).catch(String)).toMatchObject({
      server: { command: "x", args: ["y"] }
    })
  })

  it.each([
    [{ command: "x", url: "http://a/" }, /has both "command" and "url"/],
    [{ url: "http://a/", httpUrl: "http://b/" }, /has both "url" and "httpUrl"/],
    [{ command: "x", allow: ["a"], includeTools: ["b"] }, /has both "allow" and "includeTools"/],
    [{ url: "http://a/", transport: { url: "http://b/" } }, /has "url" twice/],
    [{ url: "ws://a/", type: "websocket" }, /unknown type "websocket"/],
    [{ url: "http://a/", type: "stdio" }, /has a url, but the type "stdio"/],
    [{ command: "x", type: "http" }, /has a command, but the type "http"/],
    [{ command: "x", envFile: ".env" }, /has "envFile", which is not followed/],
    [{ command: "x", sandboxEnabled: true }, /has "sandboxEnabled", which is not followed/],
    [{ command: ["npx", "x"] }, /\["command"\]/],
    [{ type: "constructor", url: "http://a/" }, /unknown type/],
    ["npx", /is not an object/]
  ])("that says two things, or what is not followed, is refused: %j", async (entry, said) => {
    expect(await refusalOf(entry)).toMatch(said)
  })

  it("has keys that are not followed: they are named in a warning", async () => {
    const { warnings } = await read({
      command: "x",
      alwaysAllow: ["a"],
      trust: true,
      headers: { A: "b" },
      description: "d"
    })
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(/server "s": these keys of it are not followed: alwaysAllow, trust, headers/)
  })

  it("is shown to an approver without characters that cannot be seen", async () => {
    const asked: Array<Mcp.FileServer> = []
    const approve = (server: Mcp.FileServer) => Effect.sync(() => asked.push(server) > 0)
    await read({ command: "safe", args: ["\u001b[2K\u202e", "rm\n-rf"] }, { approve })
    expect(asked[0]?.target).toBe("safe rm -rf")
    expect(asked[0]?.args).toEqual(["\u001b[2K\u202e", "rm\n-rf"])
  })

  it("with a literal key does not show it in the approval's description or in an error", async () => {
    const asked: Array<Mcp.FileServer> = []
    const approve = (server: Mcp.FileServer) => Effect.sync(() => asked.push(server) > 0)
    const file = written({ mcpServers: { s: { url: "http://127.0.0.1:1/", headers: { "x-api-key": "sk-literal" } } } })
    const exit = await Effect.runPromise(Effect.exit(Effect.scoped(Layer.build(Mcp.layerFile(file, { approve })))))
    expect(failure(exit)).toMatchObject({ _tag: "McpConnectError" })
    expect(JSON.stringify(asked) + String(failure(exit))).not.toContain("sk-literal")
  })
})
