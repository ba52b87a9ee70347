/** The program of the I/O thread that holds the process of one file: messages pass through it. */
import { lineProcess } from "../../internal/process/lineProcess.ts"
import type { Start } from "../../internal/io/threads/programs.ts"
import type { FromModel, ToModel } from "./protocol.ts"

/** What it is started with. */
export interface HostArguments {
  /** The text of `childMain.ts`. */
  readonly child: string
}

/** A message to the program. */
export type ToHost = ToModel | { readonly type: "close" }

/** A message of the program. `closed` is the last one. */
export type FromHost = FromModel | { readonly type: "closed"; readonly stderr: string }

/** How long a line of the process may be. */
const maxLineBytes = 64 * 1024 * 1024
/** How long it may take to end. */
const graceMs = 2000

export const start: Start = (post, args) => {
  const { child } = args as HostArguments
  const say = (message: FromHost): void => post(message)
  const env = Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
  )
  const command = { command: process.execPath, args: ["--eval", child], env, cwd: undefined, mark: undefined }
  const running = lineProcess(
    { ...command, maxLineBytes, graceMs },
    {
      // The library may write lines of its own.
      line: (line) => {
        if (line.startsWith('{"id":')) say(JSON.parse(line) as FromModel)
      },
      error: () => {},
      closed: () => say({ type: "closed", stderr: running.stderr() })
    }
  )
  const started = running.start()
  started.catch((error: unknown) => say({ type: "closed", stderr: String(error) }))
  return (data) => {
    const message = data as ToHost
    if (message.type === "close") return void running.close()
    void started.then(() => running.write(`${JSON.stringify(message)}\n`)).catch(() => {})
  }
}
