/** Puts resources and prompts into Effect's `McpServer`. What their content fails with is logged, and clients read what is meant for them. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as McpSchema from "effect/ai/McpSchema"
import * as McpServer from "effect/ai/McpServer"
import * as Result from "effect/Result"
import { clientMessage } from "../../../internal/clientMessage.ts"

/** A text at an address. */
export interface Resource {
  readonly uri: string
  readonly name: string
  readonly description: string
  readonly mimeType: string
  readonly content: Effect.Effect<string, unknown>
}

/** Texts at the addresses below `base`: one segment, percent-encoded, for each name of `params`. */
export interface Template {
  readonly base: string
  readonly params: ReadonlyArray<string>
  readonly name: string
  readonly description: string
  readonly mimeType: string
  /** `undefined`: there is nothing at that address. */
  readonly content: (...params: ReadonlyArray<string>) => Effect.Effect<string | undefined, unknown>
  /** What a parameter can be that begins with a text, by its name. */
  readonly complete: Readonly<Record<string, (begun: string) => Effect.Effect<ReadonlyArray<string>, unknown>>>
}

/** The longest text that is given at once, in characters. */
const maxText = 1_000_000

/** Adds a resource to the server. */
export const addResource = ({ content, ...resource }: Resource): Effect.Effect<void, never, McpServer.McpServer> =>
  Effect.flatMap(McpServer.McpServer, (server) =>
    server.addResource({
      resource: new McpSchema.Resource(resource),
      annotations: Context.empty(),
      handle: forClient(
        resource.name,
        Effect.map(content, (text) => resultOf(resource.uri, resource.mimeType, text))
      )
    })
  )

/** Adds resources by template to the server. */
export const addTemplate = ({
  base,
  complete,
  content,
  params,
  ...template
}: Template): Effect.Effect<void, never, McpServer.McpServer> =>
  Effect.flatMap(McpServer.McpServer, (server) =>
    server.addResourceTemplate({
      template: new McpSchema.ResourceTemplate({
        ...template,
        uriTemplate: [base, ...params.map((name) => `{${name}}`)].join("/")
      }),
      // A colon begins a parameter, unless there are two.
      routerPath: [base.replaceAll(":", "::"), ...params.map((_, index) => `:${index}`)].join("/"),
      annotations: Context.empty(),
      completions: Object.fromEntries(
        Object.entries(complete).map(([name, f]) => [
          name,
          (begun: string) => forClient(template.name, completed(f(begun)))
        ])
      ),
      handle: (uri, values) =>
        Effect.flatMap(forClient(template.name, content(...values)), (text) =>
          text === undefined
            ? Effect.fail(new McpSchema.InvalidParams({ message: `there is nothing at ${uri}` }))
            : Effect.succeed(resultOf(uri, template.mimeType, text))
        )
    })
  )

const resultOf = (uri: string, mimeType: string, text: string): McpSchema.ReadResourceResult => ({
  contents: [{ uri, mimeType, text: text.length > maxText ? text.slice(0, maxText) : text }]
})

/** MCP allows a hundred suggestions. */
const completed = (values: Effect.Effect<ReadonlyArray<string>, unknown>) =>
  Effect.map(values, (all) => ({
    completion: { values: all.slice(0, 100), total: all.length, hasMore: all.length > 100 }
  }))

/** The log has the whole failure; the client gets what is meant for it. */
export const forClient = <A>(
  name: string,
  effect: Effect.Effect<A, unknown>
): Effect.Effect<A, McpSchema.InternalError> =>
  Effect.catchCause(effect, (cause) => {
    const failure = Cause.findFail(cause)
    const said = Result.isFailure(failure) ? undefined : clientMessage(failure.success.error)
    return Effect.andThen(
      Effect.logWarning(`MCP resource or prompt "${name}" failed`, cause),
      Effect.fail(new McpSchema.InternalError({ message: said ?? `"${name}" failed. The server's log says why.` }))
    )
  })
