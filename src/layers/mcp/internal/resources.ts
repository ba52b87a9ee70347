/** Resources and prompts of servers. It touches servers. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import { type Content, type ResourceContents, toPart } from "./content.ts"
import type { McpCallError } from "./errors.ts"
import type { Server } from "./serverConnection.ts"

/** A resource that a server offers. */
export interface Resource {
  readonly server: string
  readonly uri: string
  readonly name: string
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly mimeType?: string | undefined
  readonly size?: number | undefined
}

/** A family of resources; `uriTemplate` is by RFC 6570. */
export interface ResourceTemplate extends Omit<Resource, "uri" | "size"> {
  readonly uriTemplate: string
}

/** A prompt that a server offers. */
export interface PromptInfo {
  readonly server: string
  readonly name: string
  readonly title?: string | undefined
  readonly description?: string | undefined
  readonly arguments?:
    | ReadonlyArray<{
        readonly name: string
        readonly description?: string | undefined
        readonly required?: boolean | undefined
      }>
    | undefined
}

/** What a list holds, over all servers that have such a list. */
export const listOf = <A>(
  servers: ReadonlyArray<Server>,
  capability: "resources" | "prompts",
  method: string,
  key: string
): Effect.Effect<ReadonlyArray<A>, McpCallError> =>
  Effect.map(
    Effect.forEach(
      servers,
      (server) =>
        Effect.flatMap(server.info, ({ capabilities }) =>
          capabilities[capability] === undefined
            ? Effect.succeed([])
            : Effect.map(server.list(method, key), (found) =>
                // The SDK has checked the form of the list.
                found.map((one) => ({ ...(one as object), server: server.name }) as A)
              )
        ),
      { concurrency: "unbounded" }
    ),
    (lists) => lists.flat()
  )

/** Reads a resource. Reading changes nothing, so it is done again when the connection was lost under it. */
export const read = (server: Server, uri: string): Effect.Effect<ReadonlyArray<ResourceContents>, McpCallError> =>
  Effect.map(
    server.request("resources/read", uri, { uri }, { again: true }),
    (result) => (result as { readonly contents: ReadonlyArray<ResourceContents> }).contents
  )

/** Gets a prompt, its arguments filled in. */
export const prompt = (
  server: Server,
  name: string,
  args: Readonly<Record<string, string>>
): Effect.Effect<Prompt.Prompt, McpCallError> =>
  Effect.map(server.request("prompts/get", name, { name, arguments: args }, { again: true }), (result) => {
    const { messages } = result as {
      readonly messages: ReadonlyArray<{ readonly role: "user" | "assistant"; readonly content: Content }>
    }
    return Prompt.fromMessages(
      messages.map(({ content, role }) =>
        role === "assistant"
          ? Prompt.assistantMessage({ content: [toPart(content)] })
          : Prompt.userMessage({ content: [toPart(content)] })
      )
    )
  })
