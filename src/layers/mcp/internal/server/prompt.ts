/** Prompts of an MCP server. */
import * as Effect from "effect/Effect"
import type * as EffectMcpServer from "effect/ai/McpServer"
import type * as Prompt from "effect/ai/Prompt"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { assertFunction, assertName, assertOptions, assertText } from "../../../../internal/definition.ts"

/** How {@link prompt} defines a prompt. */
export interface PromptOptions<Fields extends Schema.Struct.Fields, E, R> {
  /** What it is for. Hosts show it to their users. */
  readonly description: string
  /** A name for people. */
  readonly title?: string | undefined
  /** What the user fills in, by name: schemas of texts, since MCP gives texts. If unset, nothing. */
  readonly parameters?: Fields | undefined
  /** What it gives: a text, or a conversation, of which texts and images are sent. */
  readonly prompt: (params: Schema.Struct.Type<Fields>) => Prompt.RawInput | Effect.Effect<Prompt.RawInput, E, R>
}

const known: ReadonlySet<string> = new Set(["description", "title", "parameters", "prompt"])

/**
 * A prompt that hosts offer to their users, such as a command. For `registrations` of {@link serve}. What it fails with is logged, and
 * the client gets what is meant for clients. Throws `InvalidDefinition` without a name or a description.
 *
 * @example
 * import { Schema } from "effect"
 * import { McpServer } from "troupe"
 *
 * const Review = McpServer.prompt("review", {
 *   description: "Reviews a text",
 *   parameters: { text: Schema.String, tone: Schema.optionalKey(Schema.Literals(["kind", "strict"])) },
 *   prompt: ({ text, tone = "kind" }) => `Review this text. Be ${tone}.\n\n${text}`
 * })
 * const Server = McpServer.serve({ tools: [], registrations: Review })
 */
export const prompt = <const Fields extends Schema.Struct.Fields = {}, E = never, R = never>(
  name: string,
  options: PromptOptions<Fields, E, R>
): Layer.Layer<
  never,
  never,
  EffectMcpServer.McpServer | Exclude<R, Scope.Scope> | Exclude<Schema.Struct.DecodingServices<Fields>, Scope.Scope>
> => {
  assertName("a prompt", name, 'Give it one: McpServer.prompt("name", { ... })')
  const subject = `MCP prompt "${name}"`
  assertOptions(subject, options, known)
  assertText(subject, "description", options.description)
  assertFunction(subject, "prompt", options.prompt)
  const { description, parameters, title } = options
  const decode = Schema.decodeUnknownEffect(Schema.Struct((parameters ?? {}) as Fields))
  const contentOf = (params: Schema.Struct.Type<Fields>) =>
    Effect.suspend((): Effect.Effect<Prompt.RawInput, E, R> => {
      const given = options.prompt(params)
      return Effect.isEffect(given) ? given : Effect.succeed(given)
    })
  return Layer.effectDiscard(
    Effect.gen(function* () {
      const context = yield* Effect.context<R | Schema.Struct.DecodingServices<Fields>>()
      const { addPrompt } = yield* Effect.promise(() => import("./promptRegistration.ts"))
      yield* addPrompt({
        name,
        title,
        description,
        fields: parameters ?? {},
        read: (params) =>
          Effect.provideContext(
            Effect.map(decode(params), (decoded) => Effect.provideContext(contentOf(decoded), context)),
            context
          )
      })
    })
  )
}
