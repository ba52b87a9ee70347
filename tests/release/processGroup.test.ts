/** Who watches over a group knows it, whenever we are killed. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { assert, it } from "vitest"
import { marked } from "../support/processes.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const directory = temporaryFolder()

it("a process that is killed before it has reported its group leaves none", async () => {
  const group = new URL("../../src/layers/internal/process/group.ts", import.meta.url).href
  const mark = `TROUPE_GROUP=${path.basename(directory())}`
  const program = `
    import childProcess from "node:child_process"
    import * as fs from "node:fs"
    import { syncBuiltinESMExports } from "node:module"
    const { spawn } = childProcess
    let spawned = 0
    // The guard is the first process, the leader the second one.
    childProcess.spawn = (...args) => {
      const child = spawn(...args)
      if (++spawned === 2) {
        while (!fs.existsSync("begun"));
        process.kill(process.pid, "SIGKILL")
      }
      return child
    }
    syncBuiltinESMExports()
    const { processGroup } = await import(${JSON.stringify(group)})
    const [name, value] = ${JSON.stringify(mark)}.split("=")
    processGroup().start({
      command: "sh",
      args: ["-c", "trap '' TERM HUP; sleep 1000 & touch begun; sleep 1000; sleep 1000"],
      env: { PATH: process.env.PATH, [name]: value },
      cwd: ".",
      mark: ${JSON.stringify(mark)}
    })`
  const ours = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: directory(),
    stdio: "inherit"
  })
  const [, signal] = (await once(ours, "exit")) as [number | null, string | null]
  assert.strictEqual(signal, "SIGKILL")
  const left = marked(mark)
  try {
    for (let n = 0; n < 1000 && marked(mark).length > 0; n++) await new Promise((resolve) => setTimeout(resolve, 10))
    assert.deepStrictEqual(marked(mark), [])
  } finally {
    for (const pid of left.filter((pid) => marked(mark).includes(pid))) process.kill(pid, "SIGKILL")
  }
})
