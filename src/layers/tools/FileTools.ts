/**
 * Tools for the files below one directory: list, read, search, write, edit. Nothing leads out of that directory. The
 * toolkits are definitions of `effect/ai`; the Layer has their handlers and does the I/O.
 */
import { treeAt } from "#file-tools"
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import { messageOf } from "../../internal/message.ts"
import * as AgentTool from "../../AgentTool.ts"
import * as Feature from "../../Feature.ts"
import { assertOptions, countOf, namesOf } from "../../internal/definition.ts"
import { InvalidDefinition } from "../../RunError.ts"
import { Sandbox } from "../../services/Sandbox.ts"
import { type Denied, deniedBy } from "../internal/files/denied.ts"
import { FileToolError, toError } from "../internal/files/errors.ts"
import { matcher } from "../internal/files/glob.ts"
import { page, readText, tooLarge, visibleAround } from "../internal/files/text.ts"
import { ofFileSystem, type Tree } from "../internal/files/tree.ts"
import { walk } from "../internal/files/walk.ts"
import { search } from "./internal/search.ts"

export { FileToolError } from "../internal/files/errors.ts"

const Path = Schema.String.check(Schema.isMaxLength(4096)).annotate({
  description: "Relative to the directory of the tools, with / between names"
})
const Pattern = Schema.optional(
  Schema.String.check(Schema.isMaxLength(200)).annotate({
    description: "A glob such as *.ts or src/**/*.md; without a slash it applies to the file's name"
  })
)
const Truncated = Schema.Boolean.annotate({ description: "True when there is more than is shown" })

/** Lists a directory, or all that is below it. */
export const ListFiles = Tool.make("list_files", {
  description: "Lists files and directories",
  parameters: Schema.Struct({
    path: Schema.optional(Path),
    pattern: Pattern,
    recursive: Schema.optional(
      Schema.Boolean.annotate({ description: "Also what is in its directories. Default false" })
    )
  }),
  success: Schema.Struct({
    entries: Schema.Array(
      Schema.Struct({ path: Schema.String, type: Schema.Literals(["file", "directory", "link", "other"]) })
    ),
    truncated: Truncated
  }),
  failure: FileToolError,
  failureMode: "return"
}).annotate(Tool.Readonly, true)

/** Reads a text file, or some of its lines. */
export const ReadFile = Tool.make("read_file", {
  description: "Reads a text file. For a long one, ask for the lines that follow",
  parameters: Schema.Struct({
    path: Path,
    from: Schema.optional(Schema.Int.annotate({ description: "The first line wanted, counted from 1" })),
    lines: Schema.optional(Schema.Int.annotate({ description: "How many lines" }))
  }),
  success: Schema.Struct({
    content: Schema.String,
    from: Schema.Int,
    to: Schema.Int,
    totalLines: Schema.Int,
    truncated: Truncated
  }),
  failure: FileToolError,
  failureMode: "return"
}).annotate(Tool.Readonly, true)

/** Looks for a text or a regular expression in the files. */
export const SearchFiles = Tool.make("search_files", {
  description: "Finds the lines of text files that contain a text or fit a regular expression",
  parameters: Schema.Struct({
    query: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(1000)),
    regex: Schema.optional(
      Schema.Boolean.annotate({ description: "The query is a regular expression in RE2 syntax. Default false" })
    ),
    ignoreCase: Schema.optional(Schema.Boolean),
    path: Schema.optional(Path),
    pattern: Pattern
  }),
  success: Schema.Struct({
    matches: Schema.Array(Schema.Struct({ path: Schema.String, line: Schema.Int, text: Schema.String })),
    truncated: Truncated
  }),
  failure: FileToolError,
  failureMode: "return"
}).annotate(Tool.Readonly, true)

/** Writes a file as a whole. */
export const WriteFile = Tool.make("write_file", {
  description: "Writes a text file as a whole, with the directories above it; replaces what is there",
  parameters: Schema.Struct({ path: Path, content: Schema.String }),
  success: Schema.Struct({ created: Schema.Boolean }),
  failure: FileToolError,
  failureMode: "return"
}).annotate(Tool.Destructive, true)

/** Replaces a text in a file. */
export const EditFile = Tool.make("edit_file", {
  description: "Replaces a text that occurs exactly once in a file, or all of its occurrences",
  parameters: Schema.Struct({
    path: Path,
    find: Schema.String.check(Schema.isMinLength(1)).annotate({ description: "The text as it is in the file" }),
    replace: Schema.String,
    all: Schema.optional(Schema.Boolean.annotate({ description: "Replace every occurrence. Default false" }))
  }),
  success: Schema.Struct({ replaced: Schema.Int }),
  failure: FileToolError,
  failureMode: "return"
}).annotate(Tool.Destructive, true)

/** The tools that change nothing: list, read, search. */
export const toolkit = Toolkit.make(ListFiles, ReadFile, SearchFiles)

/** The tools of {@link toolkit}, and those that write and edit. */
export const writableToolkit = Toolkit.make(ListFiles, ReadFile, SearchFiles, WriteFile, EditFile)

/**
 * Patterns of files that usually hold secrets: `.env` and its variants, keys, and the configuration in which programs keep
 * passwords. The default of the option `deny`.
 */
export const secrets: ReadonlyArray<string> = [
  ".env",
  ".env.*",
  "!.env.{example,sample,template,dist}",
  ".envrc",
  "{.,_}netrc",
  ".npmrc",
  ".pypirc",
  ".pgpass",
  ".htpasswd",
  ".git-credentials",
  "**/.git/config",
  "**/.docker/config.json",
  "{.ssh,.gnupg,.aws,.azure,.kube}",
  "id_{rsa,dsa,ecdsa,ed25519}",
  "*.{pem,key,p12,pfx,jks,keystore,kdbx}"
]

/** What the tools do with the files that they may use. */
export interface Limits {
  /**
   * Files and directories that no tool reads, searches or writes; lists show their names. Patterns as in `.gitignore`, without
   * regard to case: one without a slash is compared with every name of a path, one with a slash with the path from the root,
   * and `!` makes an exception. Default: {@link secrets}. Files below a `.git` are never written, also with an empty list.
   */
  readonly deny?: ReadonlyArray<string> | undefined
  /** The largest file that is read, searched or written, in bytes. Default: 5 MiB. */
  readonly maxFileBytes?: number | undefined
  /** How many characters of a file one call returns. Default: 50,000. */
  readonly maxReadChars?: number | undefined
  /** Names that lists and searches pass over. Default: `.git` and `node_modules`. */
  readonly ignore?: ReadonlyArray<string> | undefined
}

/** Options of {@link layer}. */
export interface Options extends Limits {
  /** The directory that the tools may use, and nothing else. */
  readonly root: string | URL
}

/** Options of {@link feature}. */
export interface FeatureOptions extends Limits {
  /** Whether the agent may write and edit files. Default `false`. */
  readonly write?: boolean | undefined
}

const maxListed = 1000
const maxMatches = 200

/**
 * Handlers for {@link toolkit} and {@link writableToolkit}; the toolkit decides which tools the model has. The Layer fails
 * with `InvalidDefinition` when `root` is not a directory, and for a pattern in `deny` that cannot be used. It works at both
 * edges.
 *
 * Paths are relative to `root`. Absolute paths, `..` beyond the root, null bytes, and links that lead out of it are refused,
 * on Linux also when another process exchanges a directory for a link at that moment; on other systems that is checked after
 * opening. Links inside of the root may be read through; lists and searches do not follow them. A hard link is a file like
 * any other. Pipes and devices are refused, binary files are not shown, and writing replaces a file in one step. Characters
 * that cannot be seen are not shown; an edit finds a text in spite of them, and removes them from the lines it changes.
 *
 * Nothing is written below a `.git`, in any spelling and through any link: its configuration and hooks run programs at the
 * next call of git. Other files run programs too, at the next start of an editor, a build or a deployment: to keep a model
 * from these, name them as well, as in `deny: [...FileTools.secrets, ".vscode", ".husky", ".github/workflows"]`.
 *
 * Each file is handled in one go, in place; between files other fibers have their turn, and interruption ends the call there.
 * In a search they have it between lines too: an expression of more than 1000 instructions and a glob that stands for
 * more than 64 are refused, and a line that would take more than about a second is searched at its beginning, which
 * counts as truncated.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, FileTools, OpenAi } from "troupe"
 *
 * const librarian = Agent.make("librarian", { toolkit: FileTools.toolkit })
 * const answer = librarian.run("Which files mention llamas?").pipe(
 *   Effect.provide([OpenAi.layer({ model: "gpt-4.1-mini" }), FileTools.layer({ root: "./library" })])
 * )
 */
export const layer = (
  options: Options
): Layer.Layer<
  // Not `HandlersFor`, so that an editor shows their names in place of all that their tools are made of.
  | Tool.Handler<"list_files">
  | Tool.Handler<"read_file">
  | Tool.Handler<"search_files">
  | Tool.Handler<"write_file">
  | Tool.Handler<"edit_file">,
  InvalidDefinition
> => {
  assertOptions("FileTools.layer", options, known)
  assertLimits("FileTools.layer", options)
  return writableToolkit.toLayer(
    Effect.flatMap(deniedIn(options), (denied) =>
      Effect.map(treeAt(options.root, denied), (tree) => writableToolkit.of(handlers(settingsOf(tree, options))))
    )
  )
}

const limitNames = { deny: true, maxFileBytes: true, maxReadChars: true, ignore: true } as const
const known = namesOf<Options>({ ...limitNames, root: true })
const knownOfFeature = namesOf<FeatureOptions>({ ...limitNames, write: true })

const assertLimits = (subject: string, limits: Limits): void => {
  for (const limit of ["maxFileBytes", "maxReadChars"] as const) countOf(subject, limit, limits[limit] ?? 1)
}

/**
 * The same tools for the files of the `Sandbox` that the program provides, for the option `use` of agents. What keeps the tools
 * inside of the workspace is the sandbox; limits, and the files that are denied, are the tools' as they are in {@link layer}.
 *
 * Throws `InvalidDefinition` for a pattern in `deny` that cannot be used.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, FileTools, OpenAi, Sandbox } from "troupe"
 *
 * const coder = Agent.make("coder", { use: [FileTools.feature({ write: true })] })
 * const answer = coder.run("Add a title to notes.md.").pipe(
 *   Effect.provide([OpenAi.layer({ model: "gpt-4.1-mini" }), Sandbox.layerLocal({ root: "./notes" })])
 * )
 */
export const feature = (options: FeatureOptions = {}): Feature.Feature<never, Sandbox> => {
  assertOptions("FileTools.feature", options, knownOfFeature)
  assertLimits("FileTools.feature", options)
  const denied = deniedOf("FileTools.feature", options.deny)
  const use = Effect.map(Sandbox, ({ files }) => handlers(settingsOf(ofFileSystem(files, denied), options)))
  const reading = [
    toolOf(ListFiles, (params) => Effect.flatMap(use, (tools) => tools.list_files(params))),
    toolOf(ReadFile, (params) => Effect.flatMap(use, (tools) => tools.read_file(params))),
    toolOf(SearchFiles, (params) => Effect.flatMap(use, (tools) => tools.search_files(params)))
  ]
  const writing = [
    toolOf(WriteFile, (params) => Effect.flatMap(use, (tools) => tools.write_file(params))),
    toolOf(EditFile, (params) => Effect.flatMap(use, (tools) => tools.edit_file(params)))
  ]
  return Feature.make("files", { tools: options.write === true ? [...reading, ...writing] : reading })
}

/** The tool of the toolkit, with a handler. */
const toolOf = <
  const Name extends string,
  Parameters extends Schema.Codec<unknown>,
  Success extends Schema.Codec<unknown>
>(
  tool: {
    readonly name: Name
    readonly description?: string | undefined
    readonly parametersSchema: Parameters
    readonly successSchema: Success
  },
  execute: (params: Parameters["Type"]) => Effect.Effect<Success["Type"], FileToolError, Sandbox>
): AgentTool.AgentTool<Name, Sandbox> => {
  const isReading = tool.name !== "write_file" && tool.name !== "edit_file"
  const made = AgentTool.fromFunction(tool.name, {
    description: tool.description ?? "",
    parameters: tool.parametersSchema,
    success: tool.successSchema,
    hints: { readOnly: isReading, destructive: !isReading, openWorld: false },
    execute
  })
  return AgentTool.inSandbox(made)
}

/** What is denied, where the Layer is built. */
const deniedIn = ({ deny, root }: Options): Effect.Effect<Denied, InvalidDefinition> =>
  Effect.try({
    try: () => deniedOf(`FileTools.layer for ${String(root)}`, deny),
    catch: (cause) => cause as InvalidDefinition
  })

const deniedOf = (subject: string, deny: ReadonlyArray<string> = secrets): Denied => {
  try {
    return deniedBy(deny)
  } catch (cause) {
    const problem = `a pattern in deny cannot be used: ${messageOf(cause)}`
    throw new InvalidDefinition({ subject, problem, remedy: "Use a simpler glob" })
  }
}

interface Settings {
  readonly tree: Tree
  readonly ignore: ReadonlySet<string>
  readonly maxFileBytes: number
  readonly maxReadChars: number
}

const settingsOf = (tree: Tree, limits: Limits): Settings => {
  const { ignore = [".git", "node_modules"], maxFileBytes = 5 * 1024 * 1024, maxReadChars = 50_000 } = limits
  return { tree, ignore: new Set(ignore), maxFileBytes, maxReadChars }
}

type ParametersOf<T extends { readonly parametersSchema: Schema.Top }> = T["parametersSchema"]["Type"]

const handlers = (settings: Settings) => ({
  list_files: ({ path = ".", pattern, recursive = false }: ParametersOf<typeof ListFiles>) =>
    list(settings, path, pattern, recursive),
  read_file: ({ path, ...lines }: ParametersOf<typeof ReadFile>) =>
    Effect.map(read(settings, path), (text) => page(text, lines, settings.maxReadChars)),
  search_files: ({ ignoreCase = false, path = ".", pattern, query, regex = false }: ParametersOf<typeof SearchFiles>) =>
    search(settings.tree, { text: query, regex, ignoreCase, start: path, pattern }, { ...settings, maxMatches }).pipe(
      Effect.map(({ complete, matches }) => ({ matches, truncated: !complete }))
    ),
  write_file: ({ content, path }: ParametersOf<typeof WriteFile>) =>
    Effect.map(write(settings, path, content), (created) => ({ created })),
  edit_file: ({ all = false, find, path, replace }: ParametersOf<typeof EditFile>) =>
    edit(settings, path, { all, find, replace })
})

const attempt = <A>(path: string, work: () => A): Effect.Effect<A, FileToolError> =>
  Effect.try({ try: work, catch: (cause) => toError(path, cause) })

const list = Effect.fnUntraced(function* (
  { ignore, tree }: Settings,
  start: string,
  pattern: string | undefined,
  recursive: boolean
) {
  const fits = yield* attempt(start, () => matcher(pattern))
  const entries: Array<{ readonly path: string; readonly type: "file" | "directory" | "link" | "other" }> = []
  const visit = (found: (typeof entries)[number]): boolean => {
    if (!fits(found.path)) return true
    if (entries.length === maxListed) return false
    entries.push(found)
    return true
  }
  const complete = yield* walk(tree, { start, ignore, recursive, visit })
  return { entries, truncated: !complete }
})

const read = ({ maxFileBytes, tree }: Settings, path: string) => readText(tree, path, maxFileBytes)

const write = Effect.fnUntraced(function* ({ maxFileBytes, tree }: Settings, path: string, content: string) {
  const size = sizeOf(content)
  if (size > maxFileBytes) return yield* tooLarge(path, size, maxFileBytes)
  const unique = (yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)
  return yield* tree.write(path, content, unique)
})

interface Edit {
  readonly find: string
  readonly replace: string
  readonly all: boolean
}

const edit = Effect.fnUntraced(function* (settings: Settings, path: string, edit: Edit) {
  const stored = yield* read(settings, path)
  const { find, replace } = isWindows(stored) || !stored.includes(edit.find) ? withLineEnds(edit, stored) : edit
  const before = visibleAround(stored, find)
  const parts = before.split(find)
  const replaced = parts.length - 1
  const size = sizeOf(before) + replaced * (sizeOf(replace) - sizeOf(find))
  const fail = (reason: "NotFound" | "Ambiguous", detail: string) => new FileToolError({ path, reason, detail })
  if (replaced === 0) {
    return yield* fail("NotFound", "it does not contain the text to find; read it and try again")
  }
  if (replaced > 1 && !edit.all) {
    return yield* fail("Ambiguous", `it contains the text ${replaced} times; give more of it, or replace all`)
  }
  // The result could be longer than a string can be.
  if (size > settings.maxFileBytes) return yield* tooLarge(path, size, settings.maxFileBytes)
  yield* write(settings, path, parts.join(replace))
  return { replaced }
})

/** The size of a text in a file, in bytes. */
const sizeOf = (text: string): number => new TextEncoder().encode(text).length

/** True when every line ends as on Windows. */
const isWindows = (text: string): boolean => text.includes("\r\n") && !/(^|[^\r])\n/.test(text)

/** Lines are shown without what ends them on Windows, so a text of several lines is looked for with it too. */
const withLineEnds = (edit: Edit, text: string): Edit => {
  if (!text.includes("\r\n")) return edit
  const restore = (lines: string) => lines.replace(/\r?\n/g, "\r\n")
  return { ...edit, find: restore(edit.find), replace: restore(edit.replace) }
}
