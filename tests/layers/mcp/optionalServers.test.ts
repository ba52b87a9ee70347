/** A server that may be absent: the others are used without it, and it is used once it is there. */
import * as fs from "node:fs"
import { Effect } from "effect"
import { Mcp } from "troupe"
import { describe, expect, it } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure, temporary } from "../../support/mcpChecks.ts"
import { collectLogs, edges, rawServer } from "../../support/mcpRaw.ts"

const folder = temporary()

describe.each(edges)("under %s", (name, run) => {
  const absent = { command: "/nowhere/at/all" }

  it("that is optional does not fail the Layer, and is logged", async () => {
    const { layer, lines } = collectLogs()
    const [tools, servers, request] = await run(
      Effect.gen(function* () {
        const optional = { ...absent, optional: true, reconnect: "none" as const, patience: "1 second" as const }
        const mcp = yield* Mcp.connect({ servers: { raw: rawServer(), absent: optional } })
        const exit = yield* Effect.exit(mcp.request("absent", "ping"))
        return [yield* mcp.tools(), yield* mcp.servers, exit] as const
      }).pipe(Effect.scoped, Effect.provide(layer))
    )
    expect(tools.map((tool) => tool.name)).toEqual(["raw_good"])
    expect(servers.map((server) => [server.name, server.connected])).toEqual([
      ["raw", true],
      ["absent", false]
    ])
    expect(failure(request)).toMatchObject({ reason: "unavailable", executed: "no" })
    expect(lines.find((line) => line.startsWith("Warn"))).toContain("/nowhere/at/all")
  })

  it("that is not fails it", async () => {
    const exit = await run(Effect.exit(Effect.scoped(Mcp.connect({ servers: { raw: rawServer(), absent } }))))
    expect(failure(exit)).toMatchObject({ _tag: "McpConnectError", server: "absent" })
  })

  it("is used once it is there", async () => {
    const command = folder.path(`late-${name}`)
    const said = await run(
      Effect.gen(function* () {
        const mcp = yield* Mcp.connect({ servers: { late: { ...rawServer(), command, optional: true } } })
        expect(yield* mcp.tools()).toEqual([])
        fs.symlinkSync(process.execPath, command)
        while ((yield* mcp.tools()).length === 0) yield* Effect.sleep("20 millis")
        return yield* call(yield* mcp.tools(), "good")
      }).pipe(Effect.scoped, Effect.timeout("20 seconds"))
    )
    expect(said).toBe("fine")
  }, 30_000)
})
