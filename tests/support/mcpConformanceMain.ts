/**
 * The client under test of the public MCP conformance suite: it connects to the server whose address is the last argument
 * and does what the scenario (`MCP_CONFORMANCE_SCENARIO`) needs of a client.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Tool from "effect/ai/Tool"
import * as Mcp from "troupe/Mcp"
import { call } from "./mcpCall.ts"

const url = process.argv.at(-1)!
const scenario = process.env["MCP_CONFORMANCE_SCENARIO"] ?? ""
const context = JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}") as Record<string, string>

/** The suite's authorization server asks no user: it redirects at once. */
const authorize = (address: URL) =>
  Effect.promise(async () => {
    const response = await fetch(address, { redirect: "manual" })
    return new URL(response.headers.get("location")!).searchParams.get("code")!
  })

const oauth: Mcp.OAuthOptions = scenario.startsWith("auth/client-credentials")
  ? { clientId: context["client_id"], clientSecret: Redacted.make(context["client_secret"] ?? "") }
  : {
      authorize,
      redirectUrl: "http://localhost:3000/callback",
      clientMetadataUrl: "https://conformance-test.local/client-metadata.json",
      clientId: context["client_id"],
      clientSecret: context["client_secret"] === undefined ? undefined : Redacted.make(context["client_secret"])
    }

const program = Effect.gen(function* () {
  const mcp = yield* Mcp.connect({
    servers: { suite: { url, ...(scenario.startsWith("auth/") ? { oauth } : {}) } },
    elicitation: () => Effect.succeed({ action: "accept", content: {} })
  })
  const tools = yield* mcp.tools()
  const schema = tools[0] === undefined ? {} : Tool.getJsonSchema(tools[0].tool)
  for (const { name } of tools) {
    const params = scenario === "tools_call" ? { a: 5, b: 3 } : name === "json_schema_echo" ? { schema } : {}
    yield* Effect.exit(call(tools, name, params))
  }
})
await Effect.runPromise(Effect.scoped(program)).catch((error: unknown) => {
  console.error(String(error))
  process.exitCode = 1
})
