/** Errors of MCP connections hold no secret, however a server spells it. */
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, Redacted } from "effect"
import { Mcp } from "troupe"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

let url = ""
const echo = http.createServer((request, response) => {
  const { authorization = "" } = request.headers
  response.writeHead(500).end(`got ${authorization.split(" ")[1]} ${request.headers["x-key"]} at ${request.url}`)
})
beforeAll(
  () =>
    new Promise<void>((resolve) =>
      echo.listen(0, "127.0.0.1", () => {
        url = `http://127.0.0.1:${(echo.address() as AddressInfo).port}`
        resolve()
      })
    )
)
afterAll(() => void echo.close())

const said = (server: Mcp.ServerOptions) =>
  Effect.runPromise(
    Mcp.connect({ servers: { s: server } }).pipe(
      Effect.scoped,
      Effect.flip,
      Effect.map((error) => `${error.message} ${JSON.stringify(error)}`)
    )
  )

describe("an error of a connection", () => {
  const basic = Buffer.from("me:pass-1234567890").toString("base64")
  const cases: Readonly<Record<string, readonly [() => Mcp.ServerOptions, ...secrets: ReadonlyArray<string>]>> = {
    "a token in a header": [
      () => ({ url: `${url}/mcp`, headers: { Authorization: Redacted.make("Bearer tok-1234567890") } }),
      "tok-1234567890"
    ],
    "the Base64 of name and password": [
      () => ({ url: `${url.replace("//", "//me:pass-1234567890@")}/mcp` }),
      basic,
      "pass-1234567890"
    ],
    "a parameter as it is encoded": [
      () => ({ url: Redacted.make(`${url}/mcp?k=abc%2Fdef-1234567890`) }),
      "abc%2Fdef",
      "1234567890"
    ],
    "the path of a secret address": [() => ({ url: Redacted.make(`${url}/hooks/abc%20def`) }), "abc%20def", "abc def"],
    "a key in a header of its own": [
      () => ({ url: `${url}/mcp`, headers: { "x-key": Redacted.make("k-1234") } }),
      "k-1234"
    ]
  }
  for (const [what, [server, ...secrets]] of Object.entries(cases)) {
    it(`hides ${what}`, async () => {
      const words = await said(server())
      for (const secret of secrets) expect(words).not.toContain(secret)
      expect(words).toContain("<redacted>")
    })
  }

  it("hides tokens that were obtained by OAuth", async () => {
    const state = { tokens: { access_token: "oauth-access-123", token_type: "Bearer" } }
    const store: Mcp.OAuthStore = {
      load: Effect.succeed(Redacted.make(JSON.stringify(state))),
      save: () => Effect.void
    }
    const oauth = { redirectUrl: "http://localhost:1/cb", authorize: () => Effect.fail("no"), store }
    const words = await said({ url: `${url}/mcp`, oauth })
    expect(words).toContain("got <redacted>")
    expect(words).not.toContain("oauth-access")
  })
})
