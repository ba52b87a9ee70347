/** Tools by which a model reads the resources of servers itself. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import { bytesOf, type ResourceContents } from "./content.ts"
import { McpCallError } from "./errors.ts"
import { defaultMaxChars } from "./limits.ts"
import type { Resource, ResourceTemplate } from "./lists.ts"
import { visible } from "./visible.ts"

/** What the tools need of the service. */
export interface Resources {
  readonly resources: Effect.Effect<ReadonlyArray<Resource>, McpCallError>
  readonly resourceTemplates: Effect.Effect<ReadonlyArray<ResourceTemplate>, McpCallError>
  readonly readResource: (server: string, uri: string) => Effect.Effect<ReadonlyArray<ResourceContents>, McpCallError>
}

/** Both lists, or the one that could be had with the problem of the other. */
const list = Effect.fnUntraced(function* (mcp: Resources) {
  const lists = [Effect.result(mcp.resources), Effect.result(mcp.resourceTemplates)] as const
  const [resources, templates] = yield* Effect.all(lists, { concurrency: 2 })
  if (Result.isSuccess(resources) && Result.isSuccess(templates)) {
    return { resources: resources.success, templates: templates.success }
  }
  if (Result.isSuccess(resources)) return { resources: resources.success, problem: messageOf(templates) }
  if (Result.isSuccess(templates)) return { templates: templates.success, problem: messageOf(resources) }
  return yield* Effect.fail(resources.failure)
})

const messageOf = (result: Result.Result<unknown, McpCallError>): string =>
  Result.isFailure(result) ? result.failure.message : ""

/** What a request was about. */
interface About {
  readonly server: string
  readonly method: string
  readonly subject: string
}

/** What a model may be given of an answer. */
const within = <A>(answer: A, about: About): Effect.Effect<A, McpCallError> => {
  const safe = visible(answer)
  const chars = JSON.stringify(safe).length
  if (chars <= defaultMaxChars) return Effect.succeed(safe as A)
  const problem = `it has ${chars} characters, and at most ${defaultMaxChars} are taken`
  return Effect.fail(new McpCallError({ ...about, reason: "invalid", executed: "unknown", problem }))
}

/** The names of the tools. */
export const names = ["list_resources", "read_resource"] as const

/** `list_resources` and `read_resource`. */
export const make = (mcp: Resources): ReadonlyArray<AgentTool.AgentTool<string, never>> => [
  AgentTool.fromFunction("list_resources", {
    description: "Lists the resources that can be read, and the templates of addresses of further ones",
    execute: () =>
      Effect.flatMap(list(mcp), (lists) => within(lists, { server: "", method: "resources/list", subject: "" }))
  }),
  AgentTool.fromFunction("read_resource", {
    description: "Reads a resource",
    parameters: Schema.Struct({ server: Schema.String, uri: Schema.String }),
    execute: ({ server, uri }) =>
      Effect.flatMap(mcp.readResource(server, uri), (contents) => {
        const shown = contents.map(({ blob, ...rest }) =>
          blob === undefined ? rest : { ...rest, bytes: bytesOf(blob) }
        )
        return within(shown, { server, method: "resources/read", subject: uri })
      })
  })
]
