/** The tool that runs commands: what it lets through, and how its processes end. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Exit, Stream } from "effect"
import { assert, describe, it } from "vitest"
import { Agent, RunError, ShellTools, TestModel } from "troupe"
import * as Processes from "../../support/commandProcesses.ts"
import { descendants } from "../../support/processes.ts"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"
import { call, caller, edges } from "../../support/toolCalls.ts"

let cwd: string
folderOfEachTest((folder) => {
  cwd = folder
})
const at = (file: string) => path.join(cwd, file)
const node = process.execPath
const alive = (file: string) => Processes.isAlive(at(file))
const written = (...files: ReadonlyArray<string>) => Processes.written(...files.map(at))

for (const edge of Object.keys(edges)) {
  const layer = (options: Partial<ShellTools.Options> = {}) =>
    ShellTools.layer({ allow: [node, "cat", "echo", "env", "pwd", "yes", ["ls", "-a"]], cwd, ...options })
  const tools = (options?: Partial<ShellTools.Options>) => caller(ShellTools.toolkit, layer(options), edge)

  describe(`by ${edge}`, () => {
    it("runs what is allowed, with its arguments as they are", async () => {
      const args = ["$HOME", "`id`", "; echo owned", "*", "a b", "$(id)", "|", "&&", "> out"]
      assert.deepStrictEqual(await tools().ok("run_command", { command: "echo", args }), {
        exitCode: 0,
        signal: null,
        stdout: `${args.join(" ")}\n`,
        stderr: "",
        truncated: false
      })
      assert.deepStrictEqual(fs.readdirSync(cwd), [])
      assert.include(await tools().ok("run_command", { command: "pwd" }), { stdout: `${cwd}\n` })
      assert.include(await tools().ok("run_command", { command: "cat", input: "in\n" }), { stdout: "in\n" })
      const script = "process.stderr.write('oh'); process.exit(3)"
      assert.include(await tools().ok("run_command", { command: node, args: ["-e", script] }), {
        exitCode: 3,
        stderr: "oh"
      })
    })

    it("runs nothing else", async () => {
      fs.writeFileSync(at("echo"), "#!/bin/sh\necho owned", { mode: 0o755 })
      const { fails, ok } = tools({ env: { PATH: `.${path.delimiter}${path.delimiter}${process.env["PATH"]}` } })
      for (const command of ["rm", "sh", "", "echo hello", "./echo", "/bin/echo", "ECHO", "echo\0", "../echo", "ec"]) {
        const refused = await fails("run_command", { command })
        assert.strictEqual(refused["reason"], "NotAllowed", command)
      }
      for (const args of [[], ["-l"], ["-la"], ["x", "-a"], ["-a", "."], ["-a", ""]]) {
        assert.strictEqual((await fails("run_command", { command: "ls", args }))["reason"], "NotAllowed")
      }
      assert.include((await ok("run_command", { command: "ls", args: ["-a"] }))["stdout"] as string, "echo")
      // One of its name in the working directory is not it.
      assert.include(await ok("run_command", { command: "echo", args: ["hello"] }), { stdout: "hello\n" })
      assert.strictEqual((await tools({ allow: [] }).fails("run_command", { command: "echo" }))["reason"], "NotAllowed")
    })

    it("refuses arguments that no program can be given", async () => {
      for (const args of [["a\0b"], ["x".repeat(100_000)]]) {
        assert.strictEqual((await tools().fails("run_command", { command: "echo", args }))["reason"], "Arguments")
      }
    })

    it("passes on only the named variables of the environment", async () => {
      process.env["TROUPE_SECRET"] = "secret"
      try {
        const { stdout } = await tools({ env: { MINE: "1" } }).ok("run_command", { command: "env" })
        const names = (stdout as string)
          .trim()
          .split("\n")
          .map((line) => line.split("=")[0])
        const ours = names.filter((name) => !/^(GIT_CONFIG_|TZ$)/.test(name!))
        assert.deepStrictEqual(ours.toSorted(), ["HOME", "LANG", "MINE", "PATH", "TMPDIR", "TROUPE_RUN"])
      } finally {
        delete process.env["TROUPE_SECRET"]
      }
    })

    it("keeps output up to its limit, and kills a command that writes forever", async () => {
      const script = "process.stdout.write('x'.repeat(5000)); process.stderr.write('y'.repeat(10))"
      const some = await tools({ maxOutputBytes: 100 }).ok("run_command", { command: node, args: ["-e", script] })
      assert.deepStrictEqual(some, {
        exitCode: 0,
        signal: null,
        stdout: "x".repeat(100),
        stderr: "y".repeat(10),
        truncated: true
      })
      const endless = await tools({ maxOutputBytes: 1000 }).ok("run_command", { command: "yes" })
      assert.include(endless, { exitCode: null, signal: "SIGKILL", truncated: true })
    })

    it("a timeout ends the whole group, even if it ignores signals, and reports its output", async () => {
      const { fails } = tools({ timeout: "3 seconds", grace: "50 millis" })
      const answer = await fails("run_command", { command: node, args: ["-e", Processes.family] })
      assert.include(answer, { _tag: "ShellToolError", reason: "Timeout", stdout: "begun" })
      assert.deepStrictEqual([alive("parent"), alive("child")], [false, false])
    })

    it("interruption ends the whole group", async () => {
      const command = call(ShellTools.toolkit, "run_command", { command: node, args: ["-e", Processes.family] })
      const program = Effect.raceFirst(command, written("parent", "child"))
      const exit = await edges[edge]!(Effect.provide(program, layer({ grace: "50 millis" })))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual([alive("parent"), alive("child")], [false, false])
    })

    it("who heeds SIGTERM may end in its own way", async () => {
      const script = `
        process.on("SIGTERM", () => { require("fs").writeFileSync("end", "clean"); process.exit() })
        require("fs").writeFileSync("ready", "1")
        setInterval(() => {}, 1000)`
      const command = call(ShellTools.toolkit, "run_command", { command: node, args: ["-e", script] })
      await edges[edge]!(Effect.provide(Effect.raceFirst(command, written("ready")), layer({ grace: "20 seconds" })))
      assert.strictEqual(fs.readFileSync(at("end"), "utf8"), "clean")
    })

    it("a grace without an end leaves it all the time that it takes", async () => {
      const script = `
        process.on("SIGTERM", () => setTimeout(() => { require("fs").writeFileSync("end", "clean"); process.exit() }, 200))
        require("fs").writeFileSync("ready", "1")
        setInterval(() => {}, 1000)`
      const command = call(ShellTools.toolkit, "run_command", { command: node, args: ["-e", script] })
      await edges[edge]!(Effect.provide(Effect.raceFirst(command, written("ready")), layer({ grace: "Infinity" })))
      assert.strictEqual(fs.readFileSync(at("end"), "utf8"), "clean")
    })

    it("what a command leaves behind in its group is killed", async () => {
      const script = `
        const child = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" })
        require("fs").writeFileSync("child", String(child.pid))
        process.exit(0)`
      assert.include(await tools().ok("run_command", { command: node, args: ["-e", script] }), { exitCode: 0 })
      assert.isFalse(alive("child"))
    })

    it("a process that has left the group is killed when its command ends", async () => {
      const script = `
        const child = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore", detached: true })
        require("fs").writeFileSync("child", String(child.pid))
        process.exit(0)`
      assert.include(await tools().ok("run_command", { command: node, args: ["-e", script] }), { exitCode: 0 })
      assert.isFalse(alive("child"))
    })

    it("a process that has left the group is killed at the timeout", async () => {
      const { fails } = tools({ timeout: "3 seconds", grace: "50 millis" })
      const script = `
        const child = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore", detached: true })
        require("fs").writeFileSync("child", String(child.pid))
        setInterval(() => {}, 1000)`
      assert.include(await fails("run_command", { command: node, args: ["-e", script] }), { reason: "Timeout" })
      assert.isFalse(alive("child"))
    })

    it("no process that watched over a command is left", async () => {
      const before = descendants()
      await tools().ok("run_command", { command: "echo" })
      const slow = { command: node, args: ["-e", "setInterval(() => {}, 1000)"] }
      assert.include(await tools({ timeout: "500 millis" }).fails("run_command", slow), { reason: "Timeout" })
      const left = descendants().filter((pid) => !before.includes(pid))
      assert.deepStrictEqual(left, [])
    })

    it("a command that is not executable any more is reported, without its arguments", async () => {
      fs.writeFileSync(at("gone"), "#!/no/such/program\n", { mode: 0o755 })
      const given = { command: at("gone"), args: ["secret"] }
      const answer = await tools({ allow: [at("gone")] }).fails("run_command", given)
      assert.include(answer, {
        reason: "Start",
        detail: 'it cannot be started (ENOENT); is "gone" there, and may it be run?'
      })
    })

    it("several run at once", async () => {
      const wait = { command: node, args: ["-e", "process.stdout.write(String(process.pid))"] }
      const calls = Effect.forEach([1, 2, 3], () => call(ShellTools.toolkit, "run_command", wait), { concurrency: 3 })
      const exit = await edges[edge]!(Effect.provide(calls, layer()))
      const outputs = Exit.isSuccess(exit) ? exit.value.map(({ result }) => (result as { stdout: string }).stdout) : []
      assert.strictEqual(new Set(outputs).size, 3)
    })
  })
}

it("a model sees what a command had written before it was killed", async () => {
  const agent = Agent.make("agent", { toolkit: ShellTools.toolkit })
  const params = { command: process.execPath, args: ["-e", "console.log('half done'); setInterval(() => {}, 1000)"] }
  const { transcript } = await Effect.runPromise(
    agent
      .result("go")
      .pipe(
        Effect.provide([
          TestModel.layer([TestModel.toolCall("run_command", params), "ok"]),
          ShellTools.layer({ allow: [process.execPath], cwd, timeout: "3 seconds" })
        ])
      )
  )
  assert.match(JSON.stringify(transcript), /longer than 3s and was killed; stdout was: half done/)
})

it("the Layer fails for programs and directories that are not there", () => {
  for (const bad of [
    { allow: ["no-such-program"] },
    { allow: ["../sh"] },
    { cwd: "/no/such/place" },
    { allow: [""] }
  ]) {
    const exit = Effect.runSyncExit(
      Effect.provide(
        call(ShellTools.toolkit, "run_command", { command: "ls" }),
        ShellTools.layer({ allow: ["ls"], cwd, ...bad })
      )
    )
    const error = Exit.findError(exit)
    assert.instanceOf(error._tag === "Success" ? error.success : undefined, RunError.InvalidDefinition)
  }
})

it("runSync without its edge is refused by name", () => {
  const exit = Effect.runSyncExit(
    Effect.flatMap(ShellTools.toolkit, (kit) =>
      Effect.flatMap(kit.handle("run_command", { command: "ls" }), Stream.runCollect)
    ).pipe(Effect.provide(ShellTools.layer({ allow: ["ls"], cwd })))
  )
  assert.match(JSON.stringify(exit), /SyncEdge\.layer/)
})
