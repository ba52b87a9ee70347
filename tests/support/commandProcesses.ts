/** Processes that tests of commands start, which write their ids into files. */
import * as fs from "node:fs"
import { Effect } from "effect"

/** Whether the process lives whose id the file has. */
export const isAlive = (file: string): boolean => {
  const pid = Number(fs.readFileSync(file, "utf8"))
  if (!(pid > 0)) throw new Error(`${file} has no id of a process`)
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  // A zombie has ended; somebody else has yet to hear of it.
  const status = `/proc/${pid}/status`
  return !fs.existsSync(status) || !/^State:\s+Z/m.test(fs.readFileSync(status, "utf8"))
}

/** Waits until the files are there: until the processes that write them are. */
export const written = (...files: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.whileLoop({
    while: () => !files.every((file) => fs.existsSync(file) && fs.statSync(file).size > 0),
    body: () => Effect.sleep(5),
    step: () => {}
  })

/** A process with a child in its group, both deaf to SIGTERM; each writes its id. */
export const family = `
  process.on("SIGTERM", () => {})
  require("fs").writeFileSync("parent", String(process.pid))
  require("child_process").spawn(process.execPath, ["-e", 'process.on("SIGTERM", () => {}); require("fs").writeFileSync("child", String(process.pid)); setInterval(() => {}, 1000)'], { stdio: "ignore" })
  process.stdout.write("begun")
  setInterval(() => {}, 1000)`
