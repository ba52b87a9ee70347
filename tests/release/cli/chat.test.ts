/** `troupe chat` and `troupe trace`, as a person uses them. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, it, vi } from "vitest"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

// Each test starts processes, which take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const root = path.resolve(import.meta.dirname, "../../..")
const agent = path.join(root, "tests/support/chatAgent.ts")
const folder = temporaryFolder()
const db = () => path.join(folder(), "chat.db")

/** Runs the command; `type` gets what was written so far, and returns what is typed next. */
const troupe = (
  args: ReadonlyArray<string>,
  type: (said: string, kill: (signal: NodeJS.Signals) => void) => string | undefined = () => ""
) =>
  new Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>((resolve) => {
    const child = spawn(process.execPath, ["--conditions=troupe-source", path.join(root, "src/bin.ts"), ...args])
    // It may be killed while it is written to.
    child.stdin.on("error", () => {})
    let stdout = ""
    let stderr = ""
    let said = ""
    const timer = setTimeout(() => child.kill("SIGKILL"), 40_000)
    const react = (chunk: Buffer) => {
      said += chunk.toString("utf8")
      const next = type(said, (signal) => child.kill(signal))
      if (next === "") child.stdin.end()
      else if (next !== undefined) child.stdin.write(next)
    }
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString("utf8")
      react(chunk)
    })
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString("utf8")
      react(chunk)
    })
    child.on("close", (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
  })

/** Types each line once the text before it was written. */
const script = (...steps: ReadonlyArray<readonly [after: string | RegExp, line: string]>) => {
  let at = 0
  let from = 0
  return (said: string): string | undefined => {
    const step = steps[at]
    if (step === undefined) return undefined
    const rest = said.slice(from)
    const found = typeof step[0] === "string" ? rest.includes(step[0]) : step[0].test(rest)
    if (!found) return undefined
    at++
    from = said.length
    return step[1] === "" ? "" : `${step[1]}\n`
  }
}

it("a conversation goes on over turns, and in the next chat with the same session", async () => {
  const args = ["chat", "--agent", agent, "--session", "ada", "--db", db()]
  const first = await troupe(args, script(["/help", "one"], ["1 one", "two"], ["2 two", "/exit"]))
  assert.strictEqual(first.code, 0, first.stderr)
  const second = await troupe(args, script(["/help", "three"], ["3 three", "/history"], ["> three", ""]))
  assert.strictEqual(second.code, 0, second.stderr)
  assert.include(second.stdout, "> one\n1 one\n> two\n2 two\n> three\n3 three\n")
  const listed = await troupe(["trace", "--db", db(), "--session", "ada"])
  assert.strictEqual(listed.stdout.trimEnd().split("\n").length, 3)
  const [runId] = listed.stdout.split(" ")
  const shown = await troupe(["trace", "--db", db(), runId!])
  assert.match(shown.stdout, /agent +█+ .*\n +step 1 .*tokens/)
})

it("Ctrl-C stops the answer that is under way, and the chat goes on", async () => {
  let isKilled = false
  const next = script(["/help", "hang"], ["stopped", "after"], ["1 after", "/exit"])
  const { code, stderr } = await troupe(["chat", "--agent", agent], (said, kill) => {
    if (!isKilled && said.includes("Let me think")) {
      isKilled = true
      kill("SIGINT")
    }
    return next(said)
  })
  assert.strictEqual(code, 0, stderr)
})

it("a call that needs approval waits in the session, and is answered in a later chat", async () => {
  const args = ["chat", "--agent", agent, "--session", "payer", "--db", db()]
  const first = await troupe(args, script(["/help", "pay"], ["/approve or /deny", "other"], ["/approve or /deny", ""]))
  assert.strictEqual(first.code, 0, first.stderr)
  const second = await troupe(args, script(["/approve or /deny", "/approve"], ["1 pay paid Ada", ""]))
  assert.include(second.stdout, "1 pay paid Ada")
})

it("a call is let run, or not, by y or n where it is asked for", async () => {
  const steps = script(
    ["/help", "y"],
    ["1 y", "pay"],
    ["Let it run?", "n"],
    ["2 pay", "pay"],
    ["Let it run?", "yes"],
    ["3 pay paid Ada", ""]
  )
  const { code, stderr, stdout } = await troupe(["chat", "--agent", agent], steps)
  assert.strictEqual(code, 0, stderr)
  assert.match(stdout, /2 pay .*denied/)
  assert.strictEqual(stdout.split("paid Ada").length - 1, 1)
})

// `script` of util-linux gives its command a terminal of its own.
if (process.platform === "linux" && fs.existsSync("/usr/bin/script"))
  it("at a terminal, Ctrl-C stops the answer and not the chat, and Ctrl-D leaves", async () => {
    const command = [
      process.execPath,
      "--conditions=troupe-source",
      path.join(root, "src/bin.ts"),
      "chat",
      "--agent",
      agent
    ]
    // The process itself and not a shell above it, which would get the signal of Ctrl-C as well, and end with 130 after it.
    const child = spawn("script", ["-qefc", `exec ${command.map((word) => `'${word}'`).join(" ")}`, "/dev/null"])
    let said = ""
    const steps = [
      ["/help", "hang\r"],
      ["Let me think", "\u0003"],
      ["stopped", "after\r"],
      ["1 after", "/history\r"],
      ["> after", ""],
      // The cursor behind the prompt: an end of input that is typed before a line is read can be lost.
      ["\u001b[3G", "\u0004"]
    ] as const
    let [at, from] = [0, 0]
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8")
      for (let step = steps[at]; step !== undefined && said.includes(step[0], from); step = steps[at]) {
        at++
        from = said.indexOf(step[0], from) + step[0].length
        child.stdin.write(step[1])
      }
    })
    const timer = setTimeout(() => child.kill("SIGKILL"), 40_000)
    const code = await new Promise((resolve) => child.on("close", resolve))
    clearTimeout(timer)
    assert.strictEqual(code, 0, said)
    assert.strictEqual(at, steps.length, said)
  })

it("a database that is not there is refused, and not made", async () => {
  const { code, stderr } = await troupe(["trace", "--db", path.join(folder(), "none.db")])
  assert.strictEqual(code, 2)
  assert.include(stderr, "there is no database")
})
