/** Commands in a directory that somebody else has filled: its files are not the user's configuration, nor his programs. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { ShellTools } from "troupe"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"
import { caller, edges } from "../../support/toolCalls.ts"

let base: string
let clone: string
folderOfEachTest((folder) => {
  base = folder
  clone = path.join(base, "clone")
  fs.mkdirSync(clone)
})

const put = (file: string, text: string, mode = 0o644) => {
  fs.mkdirSync(path.dirname(path.join(clone, file)), { recursive: true })
  fs.writeFileSync(path.join(clone, file), text, { mode })
}
const git = (...args: ReadonlyArray<string>) =>
  execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...args], { cwd: clone, stdio: "pipe" })
const monitored = '[core]\n fsmonitor = "touch RAN; false"\n'

for (const edge of Object.keys(edges)) {
  const tools = (options: Partial<ShellTools.Options> = {}) =>
    caller(ShellTools.toolkit, ShellTools.layer({ allow: [["git", "status"]], cwd: clone, ...options }), edge)

  describe(`by ${edge}`, () => {
    it("a .gitconfig in the working directory is not git's configuration", async () => {
      git("init", "-q")
      put(".gitconfig", monitored)
      put(".config/git/config", monitored)
      assert.include(await tools().ok("run_command", { command: "git", args: ["status"] }), { exitCode: 0 })
      assert.isFalse(fs.existsSync(path.join(clone, "RAN")))
    })

    it("a program that a repository's own configuration names as file monitor is not run", async () => {
      git("init", "-q")
      fs.appendFileSync(path.join(clone, ".git/config"), monitored)
      assert.include(await tools().ok("run_command", { command: "git", args: ["status"] }), { exitCode: 0 })
      assert.isFalse(fs.existsSync(path.join(clone, "RAN")))
    })

    it("a bare repository among the files of a clone is not used", async () => {
      git("init", "-q", "--bare", "inner")
      fs.appendFileSync(path.join(clone, "inner/config"), `${monitored} worktree = .\n`)
      const inner = tools({ cwd: path.join(clone, "inner") })
      const { exitCode, stderr } = await inner.ok("run_command", { command: "git", args: ["status"] })
      assert.notStrictEqual(exitCode, 0)
      assert.include(stderr as string, "bareRepository")
      assert.isFalse(fs.existsSync(path.join(clone, "inner/RAN")))
    })

    it("HOME is an empty directory that no other user may enter, another one for each command", async () => {
      put(
        "tell.sh",
        'stat -c "%a" "$HOME"; ls -A "$HOME" | wc -l; mkdir -p "$HOME/a/b"; echo x > "$HOME/.netrc"; echo "$HOME"'
      )
      const { ok } = tools({ allow: [["sh", "tell.sh"]] })
      const lines = async () =>
        ((await ok("run_command", { command: "sh", args: ["tell.sh"] }))["stdout"] as string).trim().split("\n")
      const [first, second] = [await lines(), await lines()]
      for (const [mode, entries, home] of [first, second]) {
        assert.deepStrictEqual([mode, entries], ["700", "0"])
        assert.isFalse(fs.existsSync(home!))
      }
      assert.notStrictEqual(first[2], second[2])
    })

    it("HOME and every other variable is what the options say", async () => {
      const env = { HOME: clone, GIT_CONFIG_GLOBAL: path.join(clone, ".gitconfig"), LANG: "C" }
      put(".gitconfig", "[user]\n name = Ada\n")
      const { ok } = tools({ allow: ["sh", ["git", "config", "user.name"]], env })
      const answer = await ok("run_command", { command: "sh", args: ["-c", 'echo "$HOME $LANG"'] })
      assert.include(answer, { stdout: `${clone} C\n` })
      assert.include(await ok("run_command", { command: "git", args: ["config", "user.name"] }), { stdout: "Ada\n" })
      assert.isTrue(fs.existsSync(clone))
    })

    it("no program of the working directory takes the place of another one of its name, wherever PATH has it", async () => {
      put("bin/ls", "#!/bin/sh\necho owned\n", 0o755)
      put("bin/own", "#!/bin/sh\necho own; ls\n", 0o755)
      const PATH = [path.join(clone, "bin"), "bin", ".", "", process.env["PATH"]].join(path.delimiter)
      const { ok } = tools({ allow: ["ls", "own", "sh"], env: { PATH } })
      assert.include(await ok("run_command", { command: "ls" }), { stdout: "bin\n" })
      // A name that no other directory has is found there.
      assert.include(await ok("run_command", { command: "own" }), { stdout: "own\nbin\n" })
      assert.include(await ok("run_command", { command: "sh", args: ["-c", "ls"] }), { stdout: "bin\n" })
    })

    it("an allowed command takes no argument that its rule does not name", async () => {
      git("init", "-q")
      git("commit", "-q", "--allow-empty", "-m", "x")
      const { fails, ok } = tools({
        allow: [
          ["git", "status"],
          ["git", "log"]
        ]
      })
      const args = ["log", "--output=../written-outside", "--format=format:any text"]
      assert.include(await fails("run_command", { command: "git", args }), { reason: "NotAllowed" })
      for (const args of [[], ["status", "."], ["log", "-p"], ["-c", "core.fsmonitor=touch RAN", "status"]]) {
        assert.include(await fails("run_command", { command: "git", args }), { reason: "NotAllowed" })
      }
      assert.include(await ok("run_command", { command: "git", args: ["log"] }), { exitCode: 0 })
      assert.deepStrictEqual(fs.readdirSync(base), ["clone"])
    })

    it("a predicate decides about all arguments, and a command alone is one without arguments", async () => {
      const seen: Array<ReadonlyArray<string>> = []
      const { fails, ok } = tools({
        allow: [
          ["pwd"],
          [
            "echo",
            (args) => {
              seen.push(args)
              return args.every((arg) => /^[a-z]+$/.test(arg))
            }
          ]
        ]
      })
      assert.include(await ok("run_command", { command: "echo", args: ["a", "b"] }), { stdout: "a b\n" })
      const refused = await fails("run_command", { command: "echo", args: ["-n", "b"] })
      assert.include(refused, { reason: "NotAllowed" })
      assert.include(refused["detail"] as string, "Allowed: pwd, echo (some arguments only)")
      assert.deepStrictEqual(seen, [
        ["a", "b"],
        ["-n", "b"]
      ])
      assert.include(await ok("run_command", { command: "pwd" }), { stdout: `${clone}\n` })
      assert.include(await fails("run_command", { command: "pwd", args: ["-L"] }), { reason: "NotAllowed" })
      const promise = (async () => true) as unknown as () => boolean
      const late = await tools({ allow: [["echo", promise]] }).fails("run_command", { command: "echo" })
      assert.include(late, { reason: "NotAllowed" })
    })
  })
}
