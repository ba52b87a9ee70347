/**
 * Tools for the files below one directory: list, read, search, write, edit. Nothing leads out of that directory. The
 * toolkits are definitions of `effect/ai`; the Layer brings their handlers and does the I/O.
 */
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import { InvalidDefinition } from "../../RunError.ts"
import { FileToolError, Rooted, toError } from "./internal/rooted.ts"
import { matcher, readText, search, tooLarge, walk } from "./internal/search.ts"

export { FileToolError } from "./internal/rooted.ts"

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

/** What {@link layer} takes. */
export interface Options {
  /** The directory that the tools may use, and nothing else. */
  readonly root: string | URL
  /** The largest file that is read, searched or written, in bytes. Default: 5 MiB. */
  readonly maxFileBytes?: number | undefined
  /** How many characters of a file one call gives. Default: 50,000. */
  readonly maxReadChars?: number | undefined
  /** Names that lists and searches leave out. Default: `.git` and `node_modules`. */
  readonly ignore?: ReadonlyArray<string> | undefined
}

const maxListed = 1000
const maxMatches = 200

/**
 * Handlers for {@link toolkit} and {@link writableToolkit}; which tools the model has is the toolkit's matter. The Layer
 * fails with `InvalidDefinition` when `root` is no directory. It works at both edges.
 *
 * Paths are relative to `root`. Absolute paths, `..` beyond the root, null bytes, and links that lead out of it are refused,
 * on Linux also when somebody exchanges a directory for a link at that moment; elsewhere that is looked for after the
 * fact. Links inside of the root may be read through; lists and searches do not follow them. A hard link is a file like
 * any other. Pipes and devices are refused, binary files are not shown, and writing replaces a file in one step.
 *
 * Each file is handled in one go, in place; between files others have their turn, and interruption ends the call there.
 * In a search they have it between lines too: an expression of more than 1000 instructions and a glob that stands for
 * more than 64 are refused, and a line that would take more than about a second is searched at its beginning, which
 * counts as truncated.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, FileTools, Offline } from "troupe"
 *
 * const librarian = Agent.make("librarian", { toolkit: FileTools.toolkit })
 * const answer = librarian.run("Which files mention llamas?").pipe(
 *   Effect.provide([Offline.layer, FileTools.layer({ root: "./library" })])
 * )
 */
export const layer = (
  options: Options
): Layer.Layer<Tool.HandlersFor<typeof writableToolkit.tools>, InvalidDefinition> =>
  writableToolkit.toLayer(Effect.map(rootOf(options.root), (rooted) => handlers(rooted, options)))

const rootOf = (root: string | URL): Effect.Effect<Rooted, InvalidDefinition> =>
  Effect.try({
    try: () => {
      const real = fs.realpathSync(typeof root === "string" ? root : fileURLToPath(root))
      if (!fs.statSync(real).isDirectory()) throw new Error("it is a file")
      return new Rooted(real)
    },
    catch: (cause) =>
      new InvalidDefinition({
        subject: `FileTools.layer for ${String(root)}`,
        problem: `its root cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`,
        remedy: "Give a directory that exists"
      })
  })

const handlers = (rooted: Rooted, options: Options) => {
  const { ignore = [".git", "node_modules"], maxFileBytes = 5 * 1024 * 1024, maxReadChars = 50_000 } = options
  const limits = { ignore: new Set(ignore), maxFileBytes }
  const attempt = <A>(path: string, work: () => A): Effect.Effect<A, FileToolError> =>
    Effect.try({ try: work, catch: (cause) => toError(path, cause) })
  const text = (path: string) => attempt(path, () => readText(rooted, path, maxFileBytes))
  const write = (path: string, content: string) =>
    Effect.gen(function* () {
      const size = Buffer.byteLength(content)
      if (size > maxFileBytes) return yield* tooLarge(path, size, maxFileBytes)
      const unique = (yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)
      return yield* attempt(path, () => rooted.write(path, content, unique))
    })
  return writableToolkit.of({
    list_files: ({ path = ".", pattern, recursive = false }) =>
      Effect.gen(function* () {
        const fits = yield* attempt(path, () => matcher(pattern))
        const entries: Array<{ readonly path: string; readonly type: "file" | "directory" | "link" | "other" }> = []
        const complete = yield* walk(rooted, path, limits, recursive, (found) => {
          if (!fits(found.path)) return true
          if (entries.length === maxListed) return false
          entries.push(found)
          return true
        })
        return { entries, truncated: !complete }
      }),
    read_file: ({ from = 1, lines, path }) =>
      Effect.map(text(path), (content) => {
        const all = content.split("\n")
        const first = Math.min(Math.max(1, from), all.length)
        const wanted = all.slice(first - 1, lines === undefined ? undefined : first - 1 + Math.max(0, lines))
        let length = 0
        const fit = wanted.findIndex((line) => (length += line.length + 1) > maxReadChars)
        const shown = fit === -1 ? wanted : wanted.slice(0, Math.max(1, fit))
        return {
          content: shown.join("\n").slice(0, maxReadChars),
          from: first,
          to: first + shown.length - 1,
          totalLines: all.length,
          truncated: first - 1 + shown.length < all.length || (shown.length === 1 && shown[0]!.length > maxReadChars)
        }
      }),
    search_files: ({ ignoreCase = false, path = ".", pattern, query, regex = false }) =>
      search(rooted, path, { text: query, regex, ignoreCase }, pattern, maxMatches, limits).pipe(
        Effect.map(({ complete, matches }) => ({ matches, truncated: !complete }))
      ),
    write_file: ({ content, path }) => Effect.map(write(path, content), (created) => ({ created })),
    edit_file: ({ all = false, find, path, replace }) =>
      Effect.gen(function* () {
        const before = yield* text(path)
        const parts = before.split(find)
        const replaced = parts.length - 1
        const size = Buffer.byteLength(before) + replaced * (Buffer.byteLength(replace) - Buffer.byteLength(find))
        const fail = (reason: "NotFound" | "Ambiguous", detail: string) => new FileToolError({ path, reason, detail })
        if (replaced === 0)
          return yield* fail("NotFound", "it does not contain the text to find; read it and try again")
        if (replaced > 1 && !all) {
          return yield* fail("Ambiguous", `it contains the text ${replaced} times; give more of it, or replace all`)
        }
        // It could be more than a text can hold.
        if (size > maxFileBytes) return yield* tooLarge(path, size, maxFileBytes)
        yield* write(path, parts.join(replace))
        return { replaced }
      })
  })
}
