/** What providers say that they did not do as asked: it is logged, but for reasoning, which is refused. */
import type { LanguageModelV4CallOptions, SharedV4Warning } from "@ai-sdk/provider"
import * as Effect from "effect/Effect"
import { Lacking } from "../../internal/model/problems.ts"
import { Known } from "./failed.ts"
import type { Provider } from "./provider.ts"

type Options = Pick<LanguageModelV4CallOptions, "reasoning">

/** The warnings of one model. */
export interface Warnings {
  /**
   * Logs each once, and not more than a hundred. Fails where the package has left out the reasoning that was asked for: packages say so
   * only after they have sent the request.
   */
  readonly note: (warnings: ReadonlyArray<SharedV4Warning>, asked: Options) => Effect.Effect<void, Known>
  /** Throws `Lacking` for reasoning that the package has left out before. */
  readonly assertTaken: (asked: Options) => void
}

export const make = (provider: Provider, model: string): Warnings => {
  const known = new Set<string>()
  const refused = new Set<unknown>()
  const log = (warning: SharedV4Warning): Effect.Effect<void> =>
    Effect.suspend(() => {
      const text = textOf(warning)
      if (known.has(text) || known.size >= 100) return Effect.void
      known.add(text)
      const isLost = warning.type === "unsupported" || warning.type === "deprecated"
      return (isLost ? Effect.logWarning : Effect.logDebug)(`${provider.name}: ${text}`)
    })
  const lacking = (reasoning: Options["reasoning"]): Lacking =>
    new Lacking(
      "reasoning",
      `the package of ${provider.name} does not ask the model ${model} for reasoning ${JSON.stringify(reasoning)}: use another level or another model, or leave out \`reasoning\``
    )
  return {
    note: (warnings, { reasoning }) => {
      const isDemanded = reasoning !== undefined && reasoning !== "none" && reasoning !== "provider-default"
      if (!isDemanded || !warnings.some(isOfReasoning)) return Effect.forEach(warnings, log, { discard: true })
      refused.add(reasoning)
      const { message, what } = lacking(reasoning)
      return Effect.fail(new Known({ kind: "unsupported", message, lacks: what }))
    },
    assertTaken: ({ reasoning }) => {
      if (refused.has(reasoning)) throw lacking(reasoning)
    }
  }
}

const isOfReasoning = (warning: SharedV4Warning): boolean =>
  warning.type === "unsupported" && warning.feature === "reasoning"

const textOf = (warning: SharedV4Warning): string => {
  switch (warning.type) {
    case "unsupported":
    case "compatibility":
      return `${warning.type} ${warning.feature}${warning.details === undefined ? "" : `: ${warning.details}`}`
    case "deprecated":
      return `deprecated ${warning.setting}: ${warning.message}`
    default:
      return String(warning.message)
  }
}
