/**
 * Marks parts of answers with the provider that gave them. Signatures, reasoning and calls of a provider's own tools mean
 * something to that provider alone, and a conversation may go on at another one.
 */
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import type { SharedV4ProviderMetadata, SharedV4ProviderOptions } from "@ai-sdk/provider"
import { toJson } from "../../../internal/json.ts"
import { isFields } from "../../internal/model/wire.ts"

const key = "aiSdk"

/** Metadata of a part as a provider gave it, with a mark of the provider. */
export const tagged = (
  provider: string,
  given: SharedV4ProviderMetadata | undefined,
  notes?: Readonly<Record<string, string>>
): Response.ProviderMetadata => ({
  ...(toJson(given ?? {}) as Response.ProviderMetadata),
  [key]: { provider, ...notes }
})

const noteOf = (options: Prompt.ProviderOptions, name: string): string | undefined => {
  const own: unknown = options[key]
  const note = isFields(own) ? own[name] : undefined
  return typeof note === "string" ? note : undefined
}

/** The note on a file that belongs to a thought. */
export const thought = { thought: "true" }

/** True for a file that belongs to a thought. */
export const isThought = (options: Prompt.ProviderOptions): boolean => noteOf(options, "thought") === thought.thought

/** The kind of a part of a provider's own, which stands in a conversation as a thought without text. */
export const customKind = (options: Prompt.ProviderOptions): `${string}.${string}` | undefined =>
  noteOf(options, "custom") as `${string}.${string}` | undefined

/** True for a part that another provider gave: its mark names another one, or it has notes of others alone. */
export const isForeign = (options: Prompt.ProviderOptions, provider: string): boolean => {
  const origin = noteOf(options, "provider")
  if (origin !== undefined) return origin !== provider
  const names = Object.keys(options)
  const own = provider.split(".")[0] ?? provider
  return names.length > 0 && (own === "openai" || !names.includes(own))
}

/**
 * What goes back of a part's metadata. Two Layers of Troupe use `openai` for notes of different forms: those of an answer
 * that this provider did not give are left out.
 */
export const back = (
  options: Prompt.ProviderOptions,
  provider: string,
  isAnswer: boolean
): { readonly providerOptions?: SharedV4ProviderOptions } => {
  const keeps = !isAnswer || noteOf(options, "provider") === provider
  const entries = Object.entries(options).filter(
    ([name, value]) => name !== key && isFields(value) && (keeps || name !== "openai")
  )
  return entries.length === 0 ? {} : { providerOptions: Object.fromEntries(entries) as SharedV4ProviderOptions }
}
