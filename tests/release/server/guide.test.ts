/** The page of the guide "Servers": its program is run, and its script is, with as much of a page as it uses. */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import path from "node:path"
import { createContext, runInContext } from "node:vm"
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ofMarkdown } from "../../../scripts/snippets.ts"
import { until } from "../../support/agentServer.ts"
import { freePort } from "../../support/mcpEverything.ts"

const root = path.resolve(import.meta.dirname, "../../..")

/** Runs the program of a guide that begins with this line, on a port of this machine. */
const running = (guide: string, first: string, port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const programs = ofMarkdown(readFileSync(path.join(root, guide), "utf8"))
      const { code } = programs.find(({ code }) => code[0] === first)!
      const folder = mkdtempSync(path.join(root, "tests/release/server/.serve-"))
      writeFileSync(path.join(folder, "program.ts"), code.join("\n").replace("3000", String(port)))
      const child = spawn(process.execPath, ["--conditions=troupe-source", path.join(folder, "program.ts")], {
        stdio: "inherit"
      })
      return { child, folder }
    }),
    ({ child, folder }) =>
      Effect.sync(() => {
        child.kill("SIGKILL")
        rmSync(folder, { recursive: true })
      })
  )

describe("the page of the guide", () => {
  it.live(
    "asks a runner and shows the answer as it comes",
    () =>
      Effect.gen(function* () {
        const port = yield* Effect.promise(() => freePort())
        const url = `http://localhost:${port}`
        yield* running("docs/guides/servers.md", "// page.ts", port)
        let html = ""
        while (html === "") {
          yield* Effect.sleep("50 millis")
          html = yield* Effect.promise(() =>
            fetch(url).then(
              (response) => response.text(),
              () => ""
            )
          )
        }
        const script = /<script type="module">([\s\S]*)<\/script>/.exec(html)![1]!
        let shown = ""
        let submit: (event: object) => Promise<void> = () => Promise.resolve()
        const answer = {
          append: (text: string) => {
            shown += text
          }
        }
        const form = { addEventListener: (_: string, listener: typeof submit) => (submit = listener) }
        runInContext(
          script,
          createContext({
            document: { querySelector: (name: string) => (name === "form" ? form : answer) },
            FormData: class {
              get() {
                return "What is 2 + 40?"
              }
            },
            fetch: (at: string, init: RequestInit) => fetch(new URL(at, url), init),
            TextDecoderStream
          })
        )
        yield* Effect.promise(() => submit({ preventDefault: () => {}, target: form }))
        yield* until(() => shown.includes("42"), "the answer")
      }).pipe(Effect.scoped),
    60_000
  )
})
