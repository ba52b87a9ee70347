/** Child processes of the MCP tests: started with the sources, and gone when the test is. */
import { type ChildProcess, spawn } from "node:child_process"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "../..")

/** The arguments that run a file of tests/support with `troupe` meaning the sources. */
export const nodeArguments = (file: string, ...args: ReadonlyArray<string>): Array<string> => [
  "--conditions=troupe-source",
  path.join(root, file),
  ...args
]

/** Starts one, with standard input open. `line` waits for its first line of output. */
export const start = (
  file: string,
  ...args: ReadonlyArray<string>
): { readonly child: ChildProcess; readonly line: Promise<string>; readonly ended: Promise<number | null> } => {
  const child = spawn(process.execPath, nodeArguments(file, ...args), {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"]
  })
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
  const line = new Promise<string>((resolve, reject) => {
    let text = ""
    child.stdout.on("data", (chunk) => {
      text += chunk
      if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")))
    })
    void ended.then((code) => reject(new Error(`it ended with ${code}, having written: ${text}`)))
  })
  return { child, line, ended }
}
