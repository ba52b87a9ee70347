/** Puts a prompt into Effect's `McpServer`. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as McpSchema from "effect/ai/McpSchema"
import * as McpServer from "effect/ai/McpServer"
import * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { forClient } from "./resource.ts"

/** A prompt of a server. */
export interface Definition {
  readonly name: string
  readonly title: string | undefined
  readonly description: string
  readonly fields: Readonly<Record<string, Pick<Schema.Top, "ast">>>
  /** Fails for arguments that do not fit; what it gives makes the prompt. */
  readonly read: (
    params: Readonly<Record<string, string>>
  ) => Effect.Effect<Effect.Effect<Prompt.RawInput, unknown>, Schema.SchemaError>
}

/** Adds a prompt to the server. */
export const addPrompt = ({
  description,
  fields,
  name,
  read,
  title
}: Definition): Effect.Effect<void, never, McpServer.McpServer> =>
  Effect.flatMap(McpServer.McpServer, (server) =>
    server.addPrompt({
      prompt: new McpSchema.Prompt({
        name,
        title,
        description,
        arguments: Object.entries(fields).map(([name, { ast }]) => ({
          name,
          description: SchemaAST.resolveDescription(ast),
          required: !SchemaAST.isOptional(ast)
        }))
      }),
      annotations: Context.empty(),
      completions: {},
      handle: (params) =>
        read(params).pipe(
          Effect.mapError(
            ({ message }) => new McpSchema.InvalidParams({ message: message.replaceAll(/\s*\n\s*/g, " ") })
          ),
          Effect.flatMap((content) => forClient(name, content)),
          Effect.map((given) => new McpSchema.GetPromptResult({ description, messages: messagesOf(given) }))
        )
    })
  )

/** A prompt has texts and images of a user and an assistant; what else a conversation has is left out. */
const messagesOf = (input: Prompt.RawInput): Array<McpSchema.PromptMessage> => {
  const messages: Array<McpSchema.PromptMessage> = []
  for (const message of Prompt.make(input).content) {
    if (message.role === "tool") continue
    const role = message.role === "assistant" ? "assistant" : "user"
    const parts = message.role === "system" ? [Prompt.textPart({ text: message.content })] : message.content
    for (const part of parts) {
      if (part.type === "text") messages.push({ role, content: McpSchema.TextContent.make({ text: part.text }) })
      else if (part.type === "file" && part.mediaType.startsWith("image/") && part.data instanceof Uint8Array) {
        messages.push({ role, content: McpSchema.ImageContent.make({ data: part.data, mimeType: part.mediaType }) })
      }
    }
  }
  return messages
}
