/**
 * Commands in bubblewrap: the laws of all sandboxes, and what it keeps apart. Where a machine has no bubblewrap, that the
 * Layer says so and runs nothing is what can be tested, and is.
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Effect, Exit, Fiber, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { assert, describe, it } from "vitest"
import * as RunError from "troupe/RunError"
import * as Sandbox from "troupe/Sandbox"
import { nodeArguments } from "../../support/mcpProcess.ts"
import { hasBubblewrap } from "../../support/bubblewrap.ts"
import { commandLaws, filesLaws, groupLaws, linkLaws, output, raceLaws, within } from "../../support/sandboxLaws.ts"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"
import { edges } from "../../support/toolCalls.ts"

let base: string
let root: string
folderOfEachTest((folder) => {
  base = folder
  fs.chmodSync(base, 0o755)
  root = path.join(base, "root")
  fs.mkdirSync(root)
})

const git = (...args: ReadonlyArray<string>) =>
  execFileSync("git", ["-c", "user.name=x", "-c", "user.email=x@x.x", ...args], { cwd: root, encoding: "utf8" })
const problemOf = (options: Partial<Sandbox.BubblewrapOptions>) => {
  const layer = Sandbox.layerBubblewrap({ root, ...options })
  const exit = Effect.runSyncExit(Effect.provide(Sandbox.Sandbox, layer))
  const error = Exit.isFailure(exit)
    ? exit.cause.reasons.map((reason) => ("error" in reason ? reason.error : reason))[0]
    : exit
  assert.instanceOf(error, RunError.InvalidDefinition)
  return error.message
}
/** The processes of this machine that run with an argument, and those that have ended and were not collected. */
const processesWith = (argument: string) =>
  fs.readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes(argument)
    } catch {
      return false
    }
  })
const statusOf = (pid: string) => {
  try {
    return fs.readFileSync(`/proc/${pid}/status`, "utf8")
  } catch {
    return "State: Z"
  }
}
const zombies = () =>
  fs.readdirSync("/proc").filter((pid) => {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
      return /\((bwrap|sleep|sh)\) Z /.test(stat)
    } catch {
      return false
    }
  })

it("a machine without bubblewrap, or with one that fails, is refused when the Layer is built: nothing runs without it", () => {
  assert.include(problemOf({ bwrap: path.join(base, "no-bwrap") }), "no command can be run in it here")
  const failing = path.join(base, "bwrap")
  fs.writeFileSync(failing, "#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n", { mode: 0o755 })
  const problem = problemOf({ bwrap: failing })
  for (const part of ["No permissions to create new namespace", "Allow user namespaces", "never run without it"]) {
    assert.include(problem, part)
  }
  const before = process.env["PATH"]
  process.env["PATH"] = base
  fs.rmSync(failing)
  try {
    assert.include(problemOf({}), "apt-get install bubblewrap")
  } finally {
    process.env["PATH"] = before
  }
})

if (!hasBubblewrap) {
  it("this machine cannot run bubblewrap, and the Layer refuses it", () => {
    assert.include(problemOf({}), "never run without it")
  })
}

for (const edge of hasBubblewrap ? Object.keys(edges) : []) {
  const subject = { edge, layer: () => Sandbox.layerBubblewrap({ root }), root: () => root }
  const sh = (script: string, options: Partial<Sandbox.BubblewrapOptions> = {}) =>
    within({ edge, layer: () => Sandbox.layerBubblewrap({ root, ...options }) }, ({ processes }) =>
      output(processes, ChildProcess.make("sh", ["-c", `exec 2>&1; ${script}`]))
    )

  describe(`by ${edge}`, () => {
    // Files are those of this machine, whose own laws hold at both edges.
    if (edge === "runPromise") filesLaws(subject)
    if (edge === "runPromise") linkLaws(subject)
    commandLaws(subject)
    groupLaws(subject)
    raceLaws(subject)

    it("the death of our own process ends what runs in it", async () => {
      const [whole, part] = ["1001", `${edge === "runSync" ? 1 : 2}${process.pid}`]
      // The two are joined there, so that our own process is not found by it.
      const mark = `${whole}.${part}`
      const args = nodeArguments("tests/support/sandboxMain.ts", root, edge, whole, part)
      const ours = spawn(process.execPath, args, { stdio: "inherit" })
      while (processesWith(mark).length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
      ours.kill("SIGKILL")
      while (processesWith(mark).some((pid) => !/^State:\s+Z/m.test(statusOf(pid)))) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })

    it("a script of a skill reads its folder, cannot change it, and works in the workspace", async () => {
      const skill = path.join(base, "skill")
      fs.mkdirSync(skill)
      fs.writeFileSync(path.join(skill, "run.sh"), "echo ran > out.txt; echo x > /skills/my_skill/run.sh")
      const written = await within(subject, (sandbox) =>
        Effect.gen(function* () {
          const at = yield* sandbox.folder!("my skill", skill, Effect.never)
          const { exitCode } = yield* output(sandbox.processes, ChildProcess.make("sh", [`${at}/run.sh`]))
          return [at, exitCode === 0, yield* sandbox.files.readFileString("/out.txt")]
        })
      )
      assert.deepStrictEqual(written, ["/skills/my_skill", false, "ran\n"])
    })

    it("a command sees nothing of the machine but programs, and changes nothing but the workspace and /tmp", async () => {
      fs.writeFileSync(path.join(base, "outside.txt"), "x")
      const { stdout } = await sh(
        `ls / ${base} /root; cat /etc/shadow; touch /usr/x /x /etc/x; touch /tmp/x /work/x "$HOME/x" && echo written; ls /proc | grep -c '^[0-9]'`
      )
      for (const part of ["'/root': No such file", "shadow: No such file", "written"]) assert.include(stdout, part)
      assert.notInclude(stdout, "outside.txt")
      assert.strictEqual(stdout.match(/Read-only file system/g)?.length, 3)
      assert.isAtMost(Number(stdout.trim().split("\n").at(-1)), 6)
      assert.deepStrictEqual(fs.readdirSync(root), ["x"])
    })

    it("trap 1: the environment of bubblewrap itself, which commands can read, holds none of ours", async () => {
      process.env["TROUPE_TEST_KEY"] = "key-of-this-process"
      const { stdout } = await sh("tr '\\0' '\\n' < /proc/1/environ; ls /proc/self/fd").finally(
        () => delete process.env["TROUPE_TEST_KEY"]
      )
      assert.include(stdout, "HOME=/home/agent")
      assert.notInclude(stdout, "key-of-this-process")
    })

    it("traps 2 and 5: what is interrupted, or left behind, is gone with its namespace, and nothing waits to be collected", async () => {
      const before = zombies().length
      const mark = `77.${edge === "runSync" ? 1 : 2}${process.pid}`
      await within(subject, ({ processes }) =>
        Effect.gen(function* () {
          yield* output(processes, ChildProcess.make("sh", ["-c", `setsid sleep ${mark} > /dev/null 2>&1 & echo`]))
          assert.deepStrictEqual(processesWith(mark), [])
          const started = Effect.scoped(
            Effect.gen(function* () {
              const handle = yield* processes.spawn(
                ChildProcess.make("sh", ["-c", `sleep ${mark} & echo on; trap '' TERM; wait`], {
                  forceKillAfter: "300 millis"
                })
              )
              yield* Stream.runHead(handle.stdout)
              return yield* handle.exitCode
            })
          )
          const fiber = yield* Effect.forkChild(started)
          yield* Effect.whileLoop({
            while: () => processesWith(mark).length === 0,
            body: () => Effect.sleep(5),
            step: () => {}
          })
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(processesWith(mark), [])
        })
      )
      // Processes of other tests are collected a little later than they end: what stays is ours.
      for (let tries = 0; tries < 100 && zombies().length > before; tries++) await sleep(50)
      assert.isAtMost(zombies().length, before)
    })

    it("trap 3: limits of memory and files hold, and one that would not hold is refused", async () => {
      const limits = { memory: "80 MB", file: "1 MB", cpu: "5 seconds" } as const
      const { stdout } = await sh(
        "head -c 150M /dev/zero | tail -c 150M | wc -c; head -c 2000000 /dev/zero > big; wc -c < big",
        { limits }
      )
      const [first, ...rest] = stdout.trim().split("\n")
      assert.match(first!, /memory exhausted|^0$/)
      assert.isAtMost(Number(rest.at(-1)), 1_000_000)
      if (process.getuid?.() === 0) assert.include(problemOf({ limits: { processes: 64 } }), "does not hold for root")
    })

    it("trap 4: files of another user can be written, and git trusts them", async () => {
      git("init", "-q")
      fs.writeFileSync(path.join(root, "a.txt"), "one")
      if (process.getuid?.() === 0) execFileSync("chown", ["-R", "65534:65534", root])
      const { stdout } = await sh("id -u; echo two >> a.txt && git status --short && ls -ln a.txt")
      assert.include(stdout, "?? a.txt")
      if (process.getuid?.() === 0) assert.match(stdout, /^65534\n/)
    })

    it("a repository's .git is read-only for commands too, also that of a worktree, or is not there", async () => {
      git("init", "-q")
      git("commit", "-q", "--allow-empty", "-m", "first")
      const write = "echo x >> .git/config; git log --oneline"
      const readOnly = await sh(write)
      assert.include(readOnly.stdout, "Read-only file system")
      assert.include(readOnly.stdout, "first")
      const tree = path.join(base, "tree")
      git("worktree", "add", "-q", "--detach", tree)
      const worktree = await sh(`echo x > .git; ${write}`, { root: tree })
      assert.include(worktree.stdout, "Read-only file system")
      assert.include(worktree.stdout, "first")
      const hidden = await sh("ls -A .git; echo x > .git/config", { git: "hidden" })
      assert.include(hidden.stdout, "Read-only file system")
      assert.notInclude(hidden.stdout, "HEAD")
    })
  })
}

if (hasBubblewrap) {
  // A server of this thread could not answer while the thread is blocked, so at one edge only.
  it("it has no network, not even to this machine, unless that is asked for", async () => {
    // The command ends without reading, which may reset the connection.
    const server = net.createServer((socket) => socket.on("error", () => {}).end("reached")).listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as net.AddressInfo
    const command = ChildProcess.make("bash", ["-c", `exec 3<>/dev/tcp/127.0.0.1/${port} && echo connected`])
    const connecting = (network: "none" | "host") =>
      within({ edge: "runPromise", layer: () => Sandbox.layerBubblewrap({ root, network }) }, ({ processes }) =>
        output(processes, command)
      )
    const answers = [await connecting("none"), await connecting("host")]
    server.close()
    assert.deepStrictEqual(
      answers.map(({ stdout }) => stdout),
      ["", "connected\n"]
    )
  })
}
