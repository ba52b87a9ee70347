/** Resources and prompts of servers, and the tools by which a model reads resources itself. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import { textOfJson } from "../../../internal/json.ts"
import { bytesOf, readContent, type ResourceContents, toPart, visible, visiblePart } from "./content.ts"
import { McpCallError } from "./errors.ts"
import { type Fields, given, isFields } from "./fields.ts"
import { defaultMaxChars } from "./limits.ts"
import { type PromptInfo, type Read, readPrompts, readResources, readTemplates } from "./lists.ts"
import type { Resource, ResourceTemplate } from "./lists.ts"
import type { Server } from "./serverConnection.ts"

/** A kind of list that servers may have. */
interface Kind<A> {
  readonly capability: "resources" | "prompts"
  readonly method: string
  readonly key: string
  readonly read: (list: ReadonlyArray<unknown>, server: string) => Read<A>
}

/**
 * Makes the list over all servers that have such a list. A server that fails to give its own is logged and left out; where
 * all of them fail, the list fails with what the first one failed with.
 */
const listOf =
  <A>({ capability, key, method, read }: Kind<A>) =>
  (servers: ReadonlyArray<Server>): Effect.Effect<ReadonlyArray<A>, McpCallError> => {
    const ofServer = Effect.fnUntraced(function* (server: Server) {
      const { found, problems } = read(yield* server.list(method, key), server.name)
      yield* server.warn(problems)
      return found
    })
    const has = (server: Server) =>
      Effect.map(server.info, ({ capabilities }) => capabilities[capability] !== undefined)
    return Effect.gen(function* () {
      const asked = yield* Effect.filter(servers, has)
      const results = yield* Effect.forEach(asked, (server) => Effect.result(ofServer(server)), {
        concurrency: "unbounded"
      })
      const found = results.flatMap((result) => (Result.isSuccess(result) ? result.success : []))
      const failures = results.flatMap((result) => (Result.isFailure(result) ? [result.failure] : []))
      if (failures[0] !== undefined && failures.length === asked.length) return yield* Effect.fail(failures[0])
      for (const { message } of failures) yield* Effect.logWarning(`A list of a server is left out. ${message}`)
      return found
    })
  }

export const resources = listOf<Resource>({
  capability: "resources",
  method: "resources/list",
  key: "resources",
  read: readResources
})

export const templates = listOf<ResourceTemplate>({
  capability: "resources",
  method: "resources/templates/list",
  key: "resourceTemplates",
  read: readTemplates
})

export const prompts = listOf<PromptInfo>({
  capability: "prompts",
  method: "prompts/list",
  key: "prompts",
  read: readPrompts
})

/** A field that is a list of objects, or one of them. */
const objectsOf = (fields: unknown, key: string): ReadonlyArray<Fields> => {
  const value = isFields(fields) ? fields[key] : undefined
  return (Array.isArray(value) ? (value as ReadonlyArray<unknown>) : [value]).filter(isFields)
}

/** Reads a resource. Reading changes nothing, so it is done again when the connection was lost under it. */
export const read = (server: Server, uri: string): Effect.Effect<ReadonlyArray<ResourceContents>, McpCallError> =>
  Effect.map(server.request("resources/read", uri, { uri }, { again: true }), (result) =>
    objectsOf(result, "contents").map((one) => {
      const { blob, mimeType, text, uri: own, ...rest } = given(one)
      return {
        ...rest,
        uri: typeof own === "string" ? own : uri,
        ...(typeof mimeType === "string" ? { mimeType } : {}),
        ...(typeof blob === "string" ? { blob } : {}),
        ...(text === undefined ? {} : { text: textOfJson(text) })
      }
    })
  )

/** Gets a prompt, its arguments filled in. */
export const prompt = (
  server: Server,
  name: string,
  args: Readonly<Record<string, string>>
): Effect.Effect<Prompt.Prompt, McpCallError> =>
  Effect.map(server.request("prompts/get", name, { name, arguments: args }, { again: true }), (result) =>
    Prompt.fromMessages(
      objectsOf(result, "messages").map(({ content, role }) => {
        const parts = readContent(content).map(toPart).map(visiblePart)
        return role === "assistant"
          ? Prompt.assistantMessage({ content: parts })
          : Prompt.userMessage({ content: parts })
      })
    )
  )

// -- tools ------------------------------------------------------------------------------------------------------------

/** What the tools need of the service. */
export interface ResourceReader {
  readonly resources: Effect.Effect<ReadonlyArray<Resource>, McpCallError>
  readonly resourceTemplates: Effect.Effect<ReadonlyArray<ResourceTemplate>, McpCallError>
  readonly readResource: (server: string, uri: string) => Effect.Effect<ReadonlyArray<ResourceContents>, McpCallError>
}

/** Both lists, or one of them and the problem of the other. */
const listBoth = Effect.fnUntraced(function* (mcp: ResourceReader) {
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
export const toolNames = ["list_resources", "read_resource"] as const

/** `list_resources` and `read_resource`. */
export const tools = (mcp: ResourceReader): ReadonlyArray<AgentTool.AgentTool<string, never>> => [
  AgentTool.fromFunction("list_resources", {
    description: "Lists the resources that can be read, and the templates of addresses of further ones",
    execute: () =>
      Effect.flatMap(listBoth(mcp), (lists) => within(lists, { server: "", method: "resources/list", subject: "" }))
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
