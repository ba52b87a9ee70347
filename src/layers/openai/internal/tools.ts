/** Tools that OpenAI runs itself: definitions for agents. `ownTools.ts` reads what became of them. */
import type * as Tool from "effect/ai/Tool"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import { type Location, type Search, SecretArguments, type SecretFields } from "../../../internal/toolMarks.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import * as Provided from "../../internal/model/providerTool.ts"

const defined = (name: string, args: Parameters<typeof Provided.defined>[2], customName?: string): Tool.Any =>
  Provided.defined(`openai.${name}`, name, args, customName)

/** How the web is searched. */
export interface WebSearchOptions {
  /** Only pages of these domains and those below them, such as `effect.website`. Default: any. */
  readonly allowedDomains?: ReadonlyArray<string> | undefined
  /** How much of what is found the model reads. Default: medium. */
  readonly contextSize?: "low" | "medium" | "high" | undefined
  /** About where the user is. */
  readonly location?: Location | undefined
}

/**
 * The search of the web. Its calls have the query as params, and the pages that were read as result; citations are sources in the
 * transcript.
 */
export const webSearch = (options: WebSearchOptions = {}): AgentTool.AgentTool<string, never> =>
  AgentTool.fromProvider(searchOf(options))

const searchOf = ({ allowedDomains, contextSize, location }: WebSearchOptions): Tool.Any =>
  defined("web_search", {
    filters: allowedDomains === undefined ? undefined : { allowed_domains: [...allowedDomains] },
    search_context_size: contextSize,
    user_location: Provided.locationOf(location)
  })

/** The search in place of `WebSearch.tool`; `undefined` for what it cannot be asked. */
export const inPlaceOf = ({ allowedDomains, blockedDomains, location }: Search): Tool.Any | undefined =>
  blockedDomains === undefined ? searchOf({ allowedDomains, location }) : undefined

/** How files are searched. */
export interface FileSearchOptions {
  /** The vector stores of OpenAI that hold the files. */
  readonly vectorStoreIds: ReadonlyArray<string>
  /** The most pieces of files that a search gives, 1 to 50. Default: as OpenAI has it. */
  readonly maxResults?: number | undefined
  /** Which files count, by their attributes, in OpenAI's own form. */
  readonly filters?: { readonly [key: string]: Schema.Json } | undefined
}

/** The search of files in vector stores of OpenAI. Its calls have the queries as params, and the pieces of files as result. */
export const fileSearch = ({
  filters,
  maxResults,
  vectorStoreIds
}: FileSearchOptions): AgentTool.AgentTool<string, never> =>
  AgentTool.fromProvider(
    defined("file_search", { vector_store_ids: [...vectorStoreIds], max_num_results: maxResults, filters })
  )

/** Where code runs. */
export interface CodeInterpreterOptions {
  /** A container of OpenAI, by its id. Default: one that is made for the conversation. */
  readonly container?: string | undefined
  /** Files of OpenAI that a container is made with. */
  readonly fileIds?: ReadonlyArray<string> | undefined
  /** The memory of a container that is made: `"1g"`, `"4g"`, `"16g"` or `"64g"`. */
  readonly memoryLimit?: "1g" | "4g" | "16g" | "64g" | undefined
}

/** Python in a container of OpenAI. Its calls have the code as params, and its logs and images as result. */
export const codeInterpreter = ({ container, fileIds, memoryLimit }: CodeInterpreterOptions = {}): AgentTool.AgentTool<
  string,
  never
> => {
  const made = {
    type: "auto",
    ...(fileIds === undefined ? {} : { file_ids: [...fileIds] }),
    ...(memoryLimit === undefined ? {} : { memory_limit: memoryLimit })
  }
  return AgentTool.fromProvider(defined("code_interpreter", { container: container ?? made }))
}

/** How images are made. */
export interface ImageGenerationOptions {
  /** The model that makes them. Default: OpenAI's own choice. */
  readonly model?: string | undefined
  /** Such as `1024x1024`. Default: `auto`. */
  readonly size?: string | undefined
  readonly quality?: "low" | "medium" | "high" | "auto" | undefined
  readonly background?: "transparent" | "opaque" | "auto" | undefined
  readonly format?: "png" | "webp" | "jpeg" | undefined
}

/** Images that the model has made while it answers. They are files of the answer; calls have the prompt that was used. */
export const imageGeneration = ({
  background,
  format,
  model,
  quality,
  size
}: ImageGenerationOptions = {}): AgentTool.AgentTool<string, never> =>
  AgentTool.fromProvider(defined("image_generation", { model, size, quality, background, output_format: format }))

/** A server of the Model Context Protocol that OpenAI calls. */
export interface McpOptions {
  /** A name for it, of letters, digits, `-` and `_`: the tool is `mcp_` and this. */
  readonly label: string
  /** Its address, which OpenAI has to reach. One of `url`, `connectorId` and `tunnelId` has to be there. */
  readonly url?: string | undefined
  /** A service that OpenAI has a connector for, such as `connector_gmail`. */
  readonly connectorId?: string | undefined
  /** A Secure MCP Tunnel of OpenAI. */
  readonly tunnelId?: string | undefined
  /** What the model is shown of it. */
  readonly description?: string | undefined
  /** A token that OpenAI sends to the server. */
  readonly authorization?: Redacted.Redacted | undefined
  /** Headers that OpenAI sends to the server. */
  readonly headers?: Readonly<Record<string, Redacted.Redacted>> | undefined
  /** The tools that the model may call, by name. Default: all of them. */
  readonly allowedTools?: ReadonlyArray<string> | undefined
  /** Only tools that the server says change nothing. Default `false`. */
  readonly readOnly?: boolean | undefined
}

/**
 * A server of the Model Context Protocol, whose tools OpenAI calls itself. Its calls have the tool's name and arguments as params, and
 * what the tool gave as result. No approval, limit or retry is around them: name the tools that may be called in `allowedTools`, and
 * take `Mcp.layer` for a server whose calls a person has to approve. Token and headers are in the request alone. Throws
 * `InvalidDefinition` for a label that OpenAI does not take, and where it is not said which server it is.
 */
export const mcp = (options: McpOptions): AgentTool.AgentTool<string, never> => {
  const { allowedTools, authorization, connectorId, description, headers, label, readOnly, tunnelId, url } = options
  const places = [url, connectorId, tunnelId].filter((place) => place !== undefined)
  if (places.length !== 1) {
    return invalid(`it has ${places.length} of url, connectorId and tunnelId`, "Give one of them")
  }
  if (!/^[A-Za-z][\w-]{0,59}$/.test(label)) {
    return invalid(`its label is ${JSON.stringify(label)}`, "Use a letter, and then up to 59 letters, digits, - and _")
  }
  const args = {
    server_label: label,
    server_url: url,
    connector_id: connectorId,
    tunnel_id: tunnelId,
    server_description: description,
    require_approval: "never",
    allowed_tools: allowedOf(allowedTools, readOnly)
  }
  const secret: SecretFields = {
    ...(authorization === undefined ? {} : { authorization }),
    ...(headers === undefined ? {} : { headers })
  }
  return AgentTool.fromProvider(defined("mcp", args, `mcp_${label}`).annotate(SecretArguments, secret))
}

const allowedOf = (names: ReadonlyArray<string> | undefined, readOnly = false): Schema.Json | undefined => {
  if (!readOnly) return names === undefined ? undefined : [...names]
  return { read_only: true, ...(names === undefined ? {} : { tool_names: [...names] }) }
}

const invalid = (problem: string, remedy: string): never => {
  throw new InvalidDefinition({ subject: "OpenAi.tools.mcp", problem, remedy })
}
