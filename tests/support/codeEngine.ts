/** An engine for programs that starts in some milliseconds, for tests that are not about threads; tools to call, and a model. */
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { Schema } from "effect"
import { AgentTool, CodeMode, TestModel } from "troupe"

const file = createRequire(import.meta.url).resolve("quickjs-wasi/quickjs.wasm")

/** Runs programs in the thread of the tests. */
export const Engine = CodeMode.layerQuickJsInline({ wasm: fs.readFileSync(file) })

/** The arguments of these tools. */
export const N = Schema.Struct({ n: Schema.Finite })

/** Tools that count their calls: `get` at once, `pay` after an approval, `ask` at the caller. */
export const counting = () => {
  const made: Array<string> = []
  const note =
    (name: string) =>
    ({ n }: typeof N.Type) => {
      made.push(`${name} ${n}`)
      return n * 10
    }
  const get = AgentTool.fromFunction("get", { description: "Gets", parameters: N, execute: note("get") })
  const pay = AgentTool.fromFunction("pay", {
    description: "Pays",
    parameters: N,
    needsApproval: true,
    execute: note("pay")
  })
  const ask = AgentTool.client("ask", { description: "Asks", parameters: N, success: Schema.Finite })
  return { made, get, pay, ask }
}

/** A model that has the program run, and says what it gave. */
export const modelOf = (program: string, options?: TestModel.Options) =>
  TestModel.layer(({ prompt }) => {
    const last = prompt.content.at(-1)!
    if (last.role !== "tool") return { toolCalls: [{ id: "p", name: "run_program", params: { program } }] }
    const [part] = last.content
    return part?.type === "tool-result" ? JSON.stringify(part.result) : "no result"
  }, options)
