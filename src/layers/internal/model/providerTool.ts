/** The arguments of tools that a model's provider runs itself, with those that are secret. */
import type * as Tool from "effect/ai/Tool"
import * as Redacted from "effect/Redacted"
import { markOf, SecretArguments, type SecretFields } from "../../../internal/toolMarks.ts"
import { type Fields, isFields } from "./wire.ts"

/** What a tool of the provider is asked with. */
export const argumentsOf = (tool: Tool.Any & { readonly args: unknown }): Fields => ({
  ...(isFields(tool.args) ? tool.args : {}),
  ...revealed(markOf(tool, SecretArguments))
})

const revealed = (fields: SecretFields): Fields =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      Redacted.isRedacted(value) ? Redacted.value(value) : revealed(value)
    ])
  )

/** The texts in the arguments of tools that no message and no tape may hold. Shorter ones would spoil messages. */
export const secretsOf = (tools: ReadonlyArray<Tool.Any>): ReadonlyArray<string> =>
  tools.flatMap((tool) => textsIn(revealed(markOf(tool, SecretArguments)))).filter((secret) => secret.length >= 8)

const textsIn = (fields: Fields): ReadonlyArray<string> =>
  Object.values(fields).flatMap((value) => (isFields(value) ? textsIn(value) : [String(value)]))

/** The same arguments in the spelling of the AI SDK, where OpenAI's API has an underscore. Names of headers stay as they are. */
export const inCamelCase = (fields: Fields): Fields =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      isFields(value) && name !== "headers" ? inCamelCase(value) : value
    ])
  )
