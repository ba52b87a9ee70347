/** Tools by which a model reads the resources of servers itself. It touches the service's requests only. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import type { ResourceContents } from "./content.ts"
import { McpCallError } from "./errors.ts"
import { defaultMaxChars } from "./limits.ts"
import type { Resource, ResourceTemplate } from "./resources.ts"

/** What the tools need of the service. */
export interface Resources {
  readonly resources: Effect.Effect<ReadonlyArray<Resource>, McpCallError>
  readonly resourceTemplates: Effect.Effect<ReadonlyArray<ResourceTemplate>, McpCallError>
  readonly readResource: (server: string, uri: string) => Effect.Effect<ReadonlyArray<ResourceContents>, McpCallError>
}

/** `list_resources` and `read_resource`. */
export const make = (mcp: Resources): ReadonlyArray<AgentTool.AgentTool<string, never>> => [
  AgentTool.fromFunction({
    name: "list_resources",
    description: "Lists the resources that can be read, and the templates of addresses of further ones",
    execute: () => Effect.all({ resources: mcp.resources, templates: mcp.resourceTemplates }, { concurrency: 2 })
  }),
  AgentTool.fromFunction({
    name: "read_resource",
    description: "Reads a resource",
    parameters: Schema.Struct({ server: Schema.String, uri: Schema.String }),
    execute: ({ server, uri }) =>
      Effect.flatMap(mcp.readResource(server, uri), (contents) => {
        const shown = contents.map(({ blob, ...rest }) =>
          blob === undefined ? rest : { ...rest, bytes: Math.floor((blob.length * 3) / 4) }
        )
        const chars = contents.reduce((sum, { text = "" }) => sum + text.length, 0)
        if (chars <= defaultMaxChars) return Effect.succeed(shown)
        const problem = `it has ${chars} characters, and at most ${defaultMaxChars} are taken`
        const about = {
          server,
          method: "resources/read",
          subject: uri,
          reason: "invalid",
          executed: "unknown"
        } as const
        return Effect.fail(new McpCallError({ ...about, problem }))
      })
  })
]
