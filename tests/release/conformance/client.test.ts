/** The public MCP conformance suite against our client. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import { Cause, Effect, Exit } from "effect"
import { afterAll, beforeAll, expect, it } from "vitest"
import { type Asked, play } from "../../support/mcpConformanceClient.ts"
import { conformance, summaryOf } from "../../support/mcpConformance.ts"

let server: Server
beforeAll(async () => {
  server = createServer(async (request, response) => {
    const exit = await Effect.runPromiseExit(play(JSON.parse(await text(request)) as Asked))
    response.writeHead(Exit.isSuccess(exit) ? 200 : 500).end(Exit.isSuccess(exit) ? "" : Cause.pretty(exit.cause))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
})
afterAll(() => server.close())

it(
  "every scenario that there is passes, but for those that are listed with their reason",
  { timeout: 180_000 },
  async () => {
    const { port } = server.address() as AddressInfo
    const { code, text } = await conformance(
      "client",
      "--command",
      `node tests/support/mcpConformanceRelay.ts ${port}`,
      "--suite",
      "all",
      "--timeout",
      "90000"
    )
    expect(code, text).toBe(0)
    expect(summaryOf(text).length).toBeGreaterThanOrEqual(48)
  }
)
