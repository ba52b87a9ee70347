/** Tools that OpenAI runs itself: definitions for agents. `ownTools.ts` reads what became of them. */
import * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import type { Location, Search } from "../../../internal/toolMarks.ts"

type Args = Readonly<Record<string, Schema.Json | undefined>>

const defined = (name: string, args: Args): Tool.Any =>
  Tool.providerDefined({
    id: `openai.${name}` as const,
    customName: name,
    providerName: name,
    args: Schema.Record(Schema.String, Schema.Json),
    parameters: Schema.Unknown,
    success: Schema.Unknown,
    failure: Schema.Unknown
  })(Object.fromEntries(Object.entries(args).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]]))))

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
    user_location: location === undefined ? undefined : { type: "approximate", ...locationOf(location) }
  })

const locationOf = ({ city, country, region, timezone }: Location): Record<string, string> =>
  Object.fromEntries(
    Object.entries({ city, country, region, timezone }).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value]]
    )
  )

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
