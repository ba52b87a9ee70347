/**
 * Map and reduce over a folder: every text file is summarised, some at a time, and the summaries are combined into one
 * digest. A file that cannot be read is named in the digest; the others are not lost.
 *
 *     node examples/presets/map-reduce.ts docs
 */
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Result, Schema } from "effect"
import { Agent, Chain, Gather, Parallel, Runner } from "troupe"
import { main } from "./model.ts"

class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", { file: Schema.String, why: Schema.String }) {
  override get message(): string {
    return `${this.file} cannot be read: ${this.why}`
  }
}

const files = (folder: string) =>
  Effect.tryPromise({
    try: async () =>
      (await readdir(folder)).filter((name) => /\.(md|txt)$/.test(name)).map((name) => join(folder, name)),
    catch: (cause) => new Unreadable({ file: folder, why: String(cause) })
  })

const summariser = Agent.make("summariser", {
  instructions: "Summarise the text in two sentences. Use only what it says."
})

const summary = Runner.make("summary", {
  run: (file: string) =>
    Effect.tryPromise({
      try: () => readFile(file, "utf8"),
      catch: (cause) => new Unreadable({ file, why: String(cause) })
    }).pipe(
      Effect.flatMap((text) => summariser.run(text)),
      Effect.map((text) => ({ file, text }))
    )
})

const editor = Agent.make("editor", {
  instructions: "You combine summaries of several files into one digest. Name the file that each statement is from."
})

const section = (one: Result.Result<{ readonly file: string; readonly text: string }, Error>): string =>
  Result.isSuccess(one) ? `## ${one.success.file}\n\n${one.success.text}` : `## Not read\n\n${one.failure.message}`

const digest = Chain.make(
  "digest",
  [
    files,
    Chain.gate("any files", (names: ReadonlyArray<string>) =>
      names.length === 0 ? Chain.stop("There is no text in this folder.") : names
    ),
    Gather.map("summaries", summary, { concurrency: 4, mode: Parallel.settle }),
    (summaries) => Effect.succeed(`Combine these summaries into one digest.\n\n${summaries.map(section).join("\n\n")}`),
    editor
  ],
  { description: "Makes a digest of the texts in a folder" }
)
export default digest

await main(import.meta.main, digest.run, "docs")
