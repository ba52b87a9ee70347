/** The searches of the web that providers of the AI SDK's packages make themselves. */
import type * as Tool from "effect/ai/Tool"
import * as Provided from "../../internal/model/providerTool.ts"
import type { Own } from "../../internal/model/search.ts"
import type { Provider } from "./provider.ts"

/** Named as the tool that stands for it. */
const defined = (id: `${string}.${string}`, name: string, args: Parameters<typeof Provided.defined>[2]): Tool.Any =>
  Provided.defined(id, name, args, "web_search")

const list = (values: ReadonlyArray<string> | undefined) => (values === undefined ? undefined : [...values])

const anthropic: Own = (search) =>
  defined("anthropic.web_search_20250305", "web_search", {
    maxUses: search.maxUses,
    allowedDomains: list(search.allowedDomains),
    blockedDomains: list(search.blockedDomains),
    userLocation: Provided.locationOf(search.location)
  })

const openai: Own = (search) =>
  search.blockedDomains === undefined
    ? defined("openai.web_search", "web_search", {
        filters: search.allowedDomains === undefined ? undefined : { allowedDomains: [...search.allowedDomains] },
        userLocation: Provided.locationOf(search.location)
      })
    : undefined

const xai: Own = ({ allowedDomains, blockedDomains }) =>
  defined("xai.web_search", "web_search", {
    allowedDomains: list(allowedDomains),
    excludedDomains: list(blockedDomains)
  })

/** Gemini takes no domains, and before its third generation no other tools alongside its search. */
const google =
  (model: string): Own =>
  ({ allowedDomains, blockedDomains }, others) =>
    allowedDomains === undefined &&
    blockedDomains === undefined &&
    (others.length === 0 || /gemini-([3-9]|\d\d)/.test(model))
      ? defined("google.google_search", "google_search", {})
      : undefined

/** The search of a model's provider. Only models of OpenAI and xAI that answer by their Responses API have one. */
export const searchOf = ({ name }: Provider, given: string, model: string): Own => {
  switch (name) {
    case "anthropic":
      return anthropic
    case "gcp.gemini":
    case "gcp.vertex_ai":
      return google(model)
    case "openai":
    case "azure.ai.openai":
      return /responses/.test(given) ? openai : () => undefined
    case "x_ai":
      return /responses/.test(given) ? xai : () => undefined
    default:
      return () => undefined
  }
}
