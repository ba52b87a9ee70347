/**
 * `npm run catalog`: writes what models can do, of the data that the package `@earendil-works/pi-ai` (MIT) holds, which its makers
 * take from the providers and from models.dev. The package is downloaded and read, and not installed: it brings the clients of
 * every provider. What OpenAI's own pages on its models say goes before, by `gpt-tokenizer`.
 * Set another version here for newer models, and run it.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as OpenAiModels from "gpt-tokenizer/models"
import { root, run } from "./support.ts"

const source = "@earendil-works/pi-ai"
const version = "1.6.0"

/** Providers by our names, and by the files of the package. */
const providers = {
  openai: "openai",
  anthropic: "anthropic",
  google: "google",
  bedrock: "amazon-bedrock",
  azure: "azure",
  vertex: "google-vertex",
  mistral: "mistral",
  groq: "groq",
  xai: "xai",
  deepseek: "deepseek",
  cerebras: "cerebras"
}

interface Cost {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite: number
}

/** A model as the package has it. */
interface Given {
  readonly id: string
  readonly type: string
  readonly reasoning: boolean
  readonly input: ReadonlyArray<string>
  readonly cost: Cost & { readonly tiers?: ReadonlyArray<Cost & { readonly inputTokensAbove: number }> }
  readonly contextWindow: number
  readonly maxTokens: number
  readonly compat?: Readonly<Record<string, unknown>>
}

/** What OpenAI's page on a model says. */
interface Page {
  readonly supported_features?: ReadonlyArray<string>
  readonly supported_endpoints?: ReadonlyArray<string>
  readonly modalities?: { readonly input?: ReadonlyArray<string>; readonly output?: ReadonlyArray<string> }
  readonly reasoning_tokens?: boolean
  readonly context_window?: number
  readonly max_output_tokens?: number
}
const pages: Readonly<Record<string, Page | undefined>> = { ...(OpenAiModels as object) }
const pageOf = (provider: string, { id }: Given): Page | undefined =>
  provider === "openai" || provider === "azure" ? pages[id] : undefined

/** Whether the provider holds an answer to a schema; `undefined` where the data do not say. */
const takesSchema = (provider: string, model: Given): boolean | undefined => {
  const { compat, id } = model
  switch (provider) {
    case "openai":
    case "azure":
      return pageOf(provider, model)?.supported_features?.includes("structured_outputs")
    // A model that keeps to the schema of a tool keeps to that of an answer: platform.claude.com/docs, structured outputs.
    case "anthropic":
      return compat?.["supportsStrictTools"] === true
    case "bedrock":
      return compat?.["supportsStrictMode"] === true ? true : undefined
    case "google":
    case "vertex":
      return /^gemini-(\d|pro|flash)/.test(id) && !id.includes("computer-use") ? true : undefined
    default:
      return undefined
  }
}

/** Whether the provider searches tools for it: at OpenAI from GPT-5.4 on, but for its nano; at Anthropic from Claude 4.5 on. */
const searchesTools = (provider: string, { compat, id }: Given): boolean =>
  provider === "openai"
    ? compat?.["supportsToolSearch"] === true || /^gpt-5\.[45](?!-nano)/.test(id)
    : provider === "anthropic"

/** What the package has of the models of Azure, by name. */
type Azure = ReadonlyMap<string, Given>

/**
 * The package has the tokens up to which a request is cheap for some models of OpenAI, and a price for larger ones. For the same ones
 * at Azure it has all.
 */
const tokensOf = (provider: string, model: Given, azure: Azure): readonly [context: number, output: number] => {
  const page = pageOf(provider, model)
  const isCheapPart = model.cost.tiers?.some(({ inputTokensAbove }) => inputTokensAbove >= model.contextWindow) === true
  const whole = isCheapPart ? (azure.get(model.id) ?? model) : model
  return [page?.context_window ?? whole.contextWindow, page?.max_output_tokens ?? model.maxTokens]
}

const letter = (name: string, is: boolean | undefined): string =>
  is === undefined ? "" : is ? name : name.toUpperCase()

const numbersOf = ({ cacheRead, cacheWrite, input, output }: Cost): string =>
  [input, output, cacheRead, cacheWrite].map((one, at) => (at > 1 && one === 0 ? "-" : String(one))).join(" ")

/** One line of the table. */
const lineOf = (provider: string, model: Given, azure: Azure): string => {
  // The package lists only models that call tools.
  const flags = [
    letter("t", true),
    letter("i", model.input.includes("image")),
    letter("r", model.reasoning),
    letter("s", takesSchema(provider, model)),
    searchesTools(provider, model) ? "q" : ""
  ].join("")
  const above = (model.cost.tiers ?? []).map((tier) => ` >${tier.inputTokensAbove} ${numbersOf(tier)}`)
  // What costs nothing here has no price in the data.
  const price = model.cost.input + model.cost.output > 0 ? ` ${numbersOf(model.cost)}${above.join("")}` : ""
  const [context, output] = tokensOf(provider, model, azure)
  return `${model.id} ${context} ${output} ${flags}${price}`
}

/**
 * Lines of OpenAI's models that only its own pages have. Of older ones these say less than they can do: a page counts that speaks of
 * calls of functions or of schemas.
 */
const pageLines = (known: ReadonlySet<string>): ReadonlyArray<string> =>
  Object.entries(pages).flatMap(([id, page]) => {
    const { context_window, max_output_tokens, modalities, reasoning_tokens } = page ?? {}
    const features = page?.supported_features ?? []
    const answers = /chat_completions|responses/.test(page?.supported_endpoints?.join() ?? "")
    const isText = answers && modalities?.output?.includes("text") === true
    const [tools, schemas] = ["function_calling", "structured_outputs"].map((one) => features.includes(one))
    const isOther = known.has(id) || /-\d{4}-\d\d-\d\d$/.test(id) || id.startsWith("computer-use")
    if (isOther || !isText || !(tools || schemas) || context_window === undefined || max_output_tokens === undefined) {
      return []
    }
    const flags = [
      letter("t", tools),
      letter("i", modalities?.input?.includes("image")),
      letter("r", reasoning_tokens),
      letter("s", schemas)
    ]
    return [`${id} ${context_window} ${max_output_tokens} ${flags.join("")}`]
  })

const regional = /^(us|eu|apac|au|jp|ca|in|global|us-gov)\.(?=.*\.)/

/** Bedrock has many models once more for each region: those that are alike in all share a line, `NAME@REGION,REGION`. */
const byRegion = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const regions = new Map<string, Array<string>>()
  for (const line of lines) {
    const region = regional.exec(line)?.[1]
    const key = line.slice(region === undefined ? 0 : region.length + 1)
    regions.set(key, [...(regions.get(key) ?? []), region ?? "-"])
  }
  return [...regions].map(([line, all]) => (all.join() === "-" ? line : line.replace(" ", `@${all.join()} `)))
}

const read = (folder: string, file: string): unknown => JSON.parse(fs.readFileSync(path.join(folder, file), "utf8"))

const download = async (to: string): Promise<string> => {
  for (const [command, ...args] of [
    ["npm", "pack", "--silent", "--pack-destination", to, `${source}@${version}`],
    ["sh", "-c", `tar -xzf ${to}/*.tgz -C ${to}`]
  ] as const) {
    const outcome = await run(command, args, { timeoutMs: 120_000 })
    if (!outcome.ok) throw new Error(`${command} ${args.join(" ")} failed: ${outcome.output}`)
  }
  return path.join(to, "package/dist/providers/data")
}

const moduleOf = (folder: string): string => {
  const { generatedAt } = read(folder, ".manifest.json") as { readonly generatedAt: string }
  const chatOf = (file: string): ReadonlyArray<Given> => {
    const byApi = read(folder, `${file}.json`) as Readonly<Record<string, Readonly<Record<string, Given>>>>
    return Object.values(byApi)
      .flatMap((models) => Object.values(models))
      .filter(({ type }) => type === "chat")
  }
  const azure: Azure = new Map(chatOf(providers.azure).map((model) => [model.id, model]))
  const openai = new Set(chatOf(providers.openai).map((model) => lineOf("openai", model, azure)))
  const blocks = Object.entries(providers).map(([ours, theirs]) => {
    const chat = chatOf(theirs)
    const own = ours === "openai" ? pageLines(new Set(chat.map(({ id }) => id))) : []
    const lines = [...chat.map((model) => lineOf(ours, model, azure)), ...own]
    // What is the same at Azure is left out there.
    const kept = ours === "azure" ? lines.filter((line) => !openai.has(line)) : byRegion(lines)
    return `@${ours}\n${kept.join("\n")}`
  })
  return `/**
 * What models can do, made by \`npm run catalog\` of the data of ${source} ${version}, Copyright (c) Mario Zechner, under
 * the MIT license, and of gpt-tokenizer, Copyright (c) Bazyli Brzoska, under the MIT license. Do not edit it.
 */
/** The day that the data are of. */
export const date = "${generatedAt.slice(0, 10)}"
/**
 * One model a line, below its provider: its name, the tokens of its context, those of an answer, and letters for what it can do,
 * large ones for what it cannot (t tools, i images, r reasoning, s schemas, q the provider's search of tools). Then US dollars for
 * a million tokens of input, output, input read from the cache and input written to it, where they are known, and the same for
 * requests with more tokens than a number. A name with \`@\` is for the regions after it, where \`-\` stands for the name alone. Models of OpenAI are the
 * same at Azure unless they are there.
 */
export const table: string = ${JSON.stringify(blocks.join("\n"))}
`
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-catalog-"))
try {
  const text = moduleOf(await download(folder))
  fs.writeFileSync(path.join(root, "src/data/models.generated.ts"), text)
  console.log(`src/data/models.generated.ts: ${text.length} characters`)
} finally {
  fs.rmSync(folder, { recursive: true, force: true })
}
