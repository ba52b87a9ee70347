/**
 * What the scripts share: where the project is, running a tool of node_modules/.bin, and telling how long it took.
 */
import { spawn } from "node:child_process"
import * as path from "node:path"

/** The project's directory. */
export const root = path.dirname(import.meta.dirname)

/**
 * The environment in which `node` and every tool are those of node_modules. What Node compiles is kept: tests start hundreds
 * of processes that load the same modules.
 */
export const env: NodeJS.ProcessEnv = {
  ...process.env,
  NODE_COMPILE_CACHE: path.join(root, "node_modules/.cache/compile"),
  PATH: [path.join(root, "node_modules/.bin"), process.env["PATH"]].join(path.delimiter)
}

/** How a command ended, and what it wrote to both of its streams, in the order it came. */
export interface Outcome {
  readonly ok: boolean
  /** The exit code; `null` when it was killed or did not start. */
  readonly code: number | null
  readonly output: string
  readonly ms: number
}

/** Runs a command in the project's directory. `inherit` shows its output as it comes instead of keeping it. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: { readonly inherit?: boolean; readonly timeoutMs?: number; readonly env?: NodeJS.ProcessEnv } = {}
): Promise<Outcome> =>
  new Promise((resolve) => {
    const started = performance.now()
    const chunks: Array<Buffer> = []
    let timedOut = false
    const child = spawn(command, args, {
      cwd: root,
      env: options.env ?? env,
      stdio: options.inherit === true ? "inherit" : ["ignore", "pipe", "pipe"]
    })
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true
            child.kill("SIGKILL")
          }, options.timeoutMs)
    const end = (code: number | null, note: string) => {
      clearTimeout(timer)
      resolve({
        ok: code === 0,
        code,
        output: Buffer.concat(chunks).toString() + note,
        ms: performance.now() - started
      })
    }
    child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk))
    child.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk))
    child.on("error", (error) => end(null, `${error.message}\n`))
    child.on("close", (code) => end(code, timedOut ? `killed after ${options.timeoutMs} ms\n` : ""))
  })

/** Milliseconds as seconds with one decimal. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** Prints one line for a stage, and its output when it failed. */
export const report = (name: string, outcome: Outcome): void => {
  console.log(`${outcome.ok ? "ok  " : "FAIL"} ${name} (${seconds(outcome.ms)})`)
  if (!outcome.ok) process.stdout.write(outcome.output)
}

/** Public modules that are not in the barrel, since each needs a package that is installed alongside this one. */
export const apart: Readonly<Record<string, string>> = { Undici: "layers/openai/Undici" }
