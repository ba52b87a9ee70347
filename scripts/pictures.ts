/**
 * `npm run pictures`: draws the diagrams of the documentation. Each is in a `mermaid` fence below a line such as
 * `<!-- troupe graph examples/workflows.ts --name chain -->`, and is what that command prints.
 * tests/docs/pictures.test.ts fails when one is out of date.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Runner from "../src/Runner.ts"
import { root } from "./support.ts"

/** A diagram in a text: the arguments of the command that draws it, and the position of its lines. */
interface Picture {
  readonly args: ReadonlyArray<string>
  readonly from: number
  readonly to: number
}

const picturesIn = (lines: ReadonlyArray<string>): ReadonlyArray<Picture> =>
  lines.flatMap((line, index) => {
    const marker = /^<!-- troupe (graph .+) -->$/.exec(line)
    if (marker === null) return []
    const open = lines.indexOf("```mermaid", index)
    const to = lines.indexOf("```", open)
    if (open < 0 || open > index + 2 || to < 0) throw new Error(`"${line}" has no mermaid fence below it`)
    return [{ args: marker[1]!.split(/\s+/), from: open + 1, to }]
  })

/** What the command with these arguments prints, without the time that a process takes to start. */
const draw = async ([, file, flag, name]: ReadonlyArray<string>): Promise<string> => {
  const exported = (await import(path.join(root, file!))) as Readonly<Record<string, unknown>>
  const runner = exported[flag === "--name" ? name! : "default"]
  if (!Runner.isRunner(runner)) throw new Error(`${file} exports no such runner: ${name ?? "default"}`)
  return Runner.toMermaid(runner)
}

/** The documentation that holds diagrams, with what it should say. */
export const drawAll = async (): Promise<ReadonlyMap<string, { readonly now: string; readonly should: string }>> => {
  const files = fs
    .readdirSync(path.join(root, "docs"), { recursive: true, encoding: "utf8" })
    .map((file) => path.join("docs", file))
    .concat("README.md")
    .filter((file) => file.endsWith(".md"))
  const drawn = new Map<string, { readonly now: string; readonly should: string }>()
  for (const file of files) {
    const now = fs.readFileSync(path.join(root, file), "utf8")
    const lines = now.split("\n")
    const pictures = picturesIn(lines)
    if (pictures.length === 0) continue
    for (const { args, from, to } of pictures.toReversed()) {
      lines.splice(from, to - from, ...(await draw(args)).split("\n"))
    }
    drawn.set(file, { now, should: lines.join("\n") })
  }
  return drawn
}

if (import.meta.main) {
  for (const [file, { now, should }] of await drawAll()) {
    if (now === should) continue
    fs.writeFileSync(path.join(root, file), should)
    console.log(`${file} is drawn`)
  }
}
