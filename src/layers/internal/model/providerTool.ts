/** Tools that a model's provider runs itself, and their arguments, with those that are secret. */
import * as Tool from "effect/ai/Tool"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { type Location, markOf, SecretArguments, type SecretFields } from "../../../internal/toolMarks.ts"
import { type Fields, isFields } from "./wire.ts"

/** Fields, of which some may not be set. */
type Args = Readonly<Record<string, Schema.Json | undefined>>

const set = (fields: Args): Readonly<Record<string, Schema.Json>> =>
  Object.fromEntries(Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))

/** A tool that the provider runs, under a name of its own or that of the provider. Its calls and results are of any form. */
export const defined = (
  id: `${string}.${string}`,
  providerName: string,
  args: Args,
  customName = providerName
): Tool.Any =>
  Tool.providerDefined({
    id,
    customName,
    providerName,
    args: Schema.Record(Schema.String, Schema.Json),
    parameters: Schema.Unknown,
    success: Schema.Unknown,
    failure: Schema.Unknown
  })(set(args))

/** About where the user is, for a search of the web. */
export const locationOf = (location: Location | undefined): Schema.Json | undefined =>
  location === undefined ? undefined : { type: "approximate", ...set({ ...location }) }

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
