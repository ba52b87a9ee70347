/** What the conformance scenarios watch a client do: it connects, asks for the tools, and calls each once. */
import { Effect, Redacted } from "effect"
import { Tool } from "effect/ai"
import { type AgentTool, Mcp } from "troupe"
import { call } from "./mcpCall.ts"

/** What the suite tells a client. */
export interface Asked {
  readonly url: string
  readonly scenario: string
  /** What some scenarios hand over, such as credentials. */
  readonly context: Readonly<Record<string, string | undefined>>
}

const redirectUrl = "http://localhost:3000/callback"

/** The scenarios' authorization server asks no user: it sends the code back at once. */
const authorize = (address: URL) =>
  Effect.tryPromise(async () => {
    const response = await fetch(address, { redirect: "manual" })
    const code = new URL(response.headers.get("location") ?? redirectUrl).searchParams.get("code")
    if (code === null) throw new Error(`no code came back from ${address}`)
    return code
  })

const oauth = ({ client_id, client_secret }: Asked["context"], byUser: boolean): Mcp.OAuthOptions => ({
  clientName: "troupe-conformance",
  clientMetadataUrl: "https://conformance-test.local/client-metadata.json",
  ...(byUser ? { redirectUrl, authorize } : {}),
  ...(client_id === undefined ? {} : { clientId: client_id }),
  ...(client_secret === undefined ? {} : { clientSecret: Redacted.make(client_secret) })
})

/** A user who takes the form as it is: the client fills in its defaults. */
const elicitation = () => Effect.succeed({ action: "accept", content: {} } as const)

type Tools = ReadonlyArray<AgentTool.AgentTool<string, never>>

/** The arguments that a tool is called with; `undefined`: it is not called. */
const argumentsOf = (tools: Tools, name: string): unknown => {
  const focal = tools.find((one) => one.name === "json_schema_2020_12_tool")?.tool
  if (focal === undefined) return name === "add_numbers" ? { a: 5, b: 3 } : {}
  // The scenario wants to have back the schema that was seen.
  return name === "json_schema_echo" && Tool.isDynamic(focal) ? { schema: focal.jsonSchema } : undefined
}

/** Plays a scenario. */
export const play = ({ context, scenario, url }: Asked) =>
  Effect.gen(function* () {
    const byUser = !scenario.startsWith("auth/client-credentials")
    const authorized = scenario.startsWith("auth/") ? { oauth: oauth(context, byUser) } : {}
    const mcp = yield* Mcp.connect({ servers: { server: { url, transport: "http", ...authorized } }, elicitation })
    const tools = yield* mcp.tools()
    for (const { name } of tools) {
      const given = argumentsOf(tools, name)
      if (given !== undefined) yield* call(tools, name, given)
    }
  }).pipe(Effect.scoped)
