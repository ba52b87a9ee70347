/** Which of several models gave an answer, as a note on the answer's metadata. */
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"

/** The model that answered. */
export interface AnsweredBy {
  readonly provider: string
  readonly model: string
}

/** The note, for the metadata of a `response-metadata` part. */
export const answeredBy = ({ model, provider }: AnsweredBy): Response.ProviderMetadata => ({
  troupe: { answeredBy: { provider, model } }
})

/** The note in the metadata of a part; `undefined` for a part without a note. */
export const readAnsweredBy = (metadata: unknown): AnsweredBy | undefined => {
  const own: unknown = Predicate.hasProperty(metadata, "troupe") ? metadata.troupe : undefined
  const who: unknown = Predicate.hasProperty(own, "answeredBy") ? own.answeredBy : undefined
  if (!Predicate.hasProperty(who, "provider") || !Predicate.hasProperty(who, "model")) return undefined
  const { model, provider } = who
  return typeof provider === "string" && typeof model === "string" ? { provider, model } : undefined
}
