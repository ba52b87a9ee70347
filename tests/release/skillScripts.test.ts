/** Scripts of skills, as real processes: what they are given, what they give, and that none is left. */
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Fiber, Redacted } from "effect"
import * as Skills from "troupe/Skills"
import { describe, expect, it as plain } from "vitest"
import { it } from "../support/edges.ts"
import { nodeArguments } from "../support/mcpProcess.ts"
import { descendants, marked, runs } from "../support/processes.ts"
import { folder, put, skill } from "../support/skillFolders.ts"

/** A folder with one skill `s` that has these scripts. */
const withScripts = (scripts: Readonly<Record<string, string>>): string =>
  folder({
    "s/SKILL.md": skill("s"),
    ...Object.fromEntries(Object.entries(scripts).map(([name, text]) => [`s/scripts/${name}`, text] as const))
  })

const running = (at: string, script: string, input?: Skills.ScriptInput, options: Skills.ScriptOptions = {}) =>
  Effect.flatMap(Skills.Skills, ({ run }) => run("s", script, input)).pipe(
    Effect.provide(Skills.layer({ folders: [at], scripts: { timeout: "20 seconds", ...options } }))
  )

/** Checks that what ran has left no process: no child of ours, and none that was started for a skill of the folder. */
const leavesNothing = <A, E, R>(at: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const before = descendants()
    return Effect.onExit(effect, () =>
      Effect.sync(() => {
        expect(descendants().filter((pid) => !before.includes(pid))).toEqual([])
        expect(marked(`SKILL_DIR=${at}`)).toEqual([])
      })
    )
  })

const until = (condition: () => boolean) =>
  Effect.sleep("10 millis").pipe(Effect.repeat({ until: () => Effect.sync(condition), times: 1500 }))

describe("a script", () => {
  it.live("gets arguments, input, its directory, and of the environment no key", () =>
    Effect.gen(function* () {
      process.env["OPENAI_API_KEY"] = "sk-test-key"
      const at = withScripts({
        "tell.sh": 'for arg; do echo "<$arg>"; done; cat; echo; pwd; env | sort; echo bad >&2; exit 3\n'
      })
      const args = ["a b", "; rm -rf /", "$(id)", "`id`", "-x", "", "é\nü", "*"]
      const result = yield* leavesNothing(
        at,
        running(at, "scripts/tell.sh", { args, input: "in put" }, { env: { OWN: "1" } })
      )
      expect(result).toMatchObject({ exitCode: 3, signal: null, stderr: "bad\n", truncated: false })
      const [given, rest] = result.stdout.split("in put\n")
      expect(given).toBe(args.map((arg) => `<${arg}>\n`).join(""))
      const [directory, ...env] = rest!.trim().split("\n")
      expect(directory).toBe(path.join(at, "s"))
      const known = env
        .map((line) => line.split("=")[0]!)
        .filter((name) => !["PWD", "OLDPWD", "SHLVL", "_", "TZ"].includes(name) && !name.startsWith("GIT_CONFIG_"))
      expect(known).toEqual(["HOME", "LANG", "OWN", "PATH", "SKILL_DIR", "TMPDIR", "TROUPE_RUN"])
      expect(result.stdout).not.toContain("sk-test-key")
    })
  )

  it.live("finds no configuration of the user's in its skill, in its directory, or in its HOME", () =>
    Effect.gen(function* () {
      const monitored = '[core]\n fsmonitor = "touch RAN; false"\n[user]\n name = Mallory\n'
      const at = withScripts({ "look.sh": 'git config user.name; git status >&2; ls -A "$HOME" | wc -l\n' })
      put(at, "s/.gitconfig", monitored)
      const clone = folder({ ".gitconfig": monitored })
      execFileSync("git", ["init", "-q"], { cwd: clone })
      for (const directory of [undefined, clone]) {
        const { stdout } = yield* running(at, "scripts/look.sh", {}, { directory })
        expect(stdout.trim()).toBe("0")
      }
      expect([at, path.join(at, "s"), clone].filter((one) => fs.existsSync(path.join(one, "RAN")))).toEqual([])
    })
  )

  it.live("is run by no program of its own directory, wherever PATH has that", () =>
    Effect.gen(function* () {
      const at = withScripts({ "a.py": "print('python')" })
      put(at, "s/bin/python3", "#!/bin/sh\necho owned\n", 0o755)
      const PATH = [path.join(at, "s/bin"), "bin", ".", process.env["PATH"]].join(path.delimiter)
      expect(yield* running(at, "scripts/a.py", {}, { env: { PATH } })).toMatchObject({ stdout: "python\n" })
    })
  )

  it.live("is reported whole when it reads no input, is killed by a signal, or has a directory of its own", () =>
    Effect.gen(function* () {
      const at = withScripts({ "deaf.sh": "pwd; kill -9 $$\n" })
      const elsewhere = folder({})
      const input = "x".repeat(500_000)
      const result = yield* leavesNothing(at, running(at, "scripts/deaf.sh", { input }, { directory: elsewhere }))
      expect(result).toMatchObject({ exitCode: null, signal: "SIGKILL", stdout: `${elsewhere}\n` })
    })
  )

  it.live("is run by what its extension, its first line or the options say", () =>
    Effect.gen(function* () {
      const at = withScripts({
        "a.mjs": "console.log('a', process.argv.slice(2))",
        "b.ts": "const b: string = 'b'; console.log(b)",
        plain: "#!/bin/sh\necho plain\n",
        // Executable, but does not say by what: a shell would be wrong.
        "c.mjs": "console.log('c')",
        "d.mjs": "#!/bin/sh\necho shell\n",
        "sub/e.own": "own"
      })
      for (const name of ["plain", "c.mjs", "d.mjs"]) fs.chmodSync(path.join(at, "s/scripts", name), 0o755)
      const interpreters = { ".own": ["cat"] } as const
      const said = (script: string) =>
        Effect.map(
          running(at, script, { args: script.endsWith("a.mjs") ? ["1"] : [] }, { interpreters }),
          ({ stdout }) => stdout
        )
      expect(yield* said("scripts/a.mjs")).toBe("a [ '1' ]\n")
      expect(yield* said("./scripts/b.ts")).toBe("b\n")
      expect(yield* said("scripts/plain")).toBe("plain\n")
      expect(yield* said("scripts/c.mjs")).toBe("c\n")
      expect(yield* said("scripts/d.mjs")).toBe("shell\n")
      expect(yield* said("scripts/sub/../sub/e.own")).toBe("own")
    })
  )

  it.live("is run by the program of its first line, also when it is not executable", () =>
    Effect.gen(function* () {
      const at = withScripts({
        noext: '#!/bin/sh\necho "noext $1"\n',
        spaced: "#! /bin/sh  -e \nfalse; echo wrong\n",
        env: "#!/usr/bin/env node\nconsole.log('env', process.argv[2])\n",
        windows: "#!/bin/sh\r\necho windows #\r\n",
        "bash.sh": "#!/bin/bash\necho ${0%%/*}$(( 1 + 1 )) ${BASH_VERSION:+bash}\n",
        "gone.sh": "#!/no/such/shell\necho gone\n",
        "own.py": "#!/bin/sh\necho not python\n",
        "odd.own": "#!/bin/sh\necho odd\n"
      })
      const interpreters = { ".own": ["cat"] } as const
      const said = (script: string) => running(at, script, { args: ["x"] }, { interpreters })
      expect((yield* said("scripts/noext")).stdout).toBe("noext x\n")
      expect(yield* said("scripts/spaced")).toMatchObject({ exitCode: 1, stdout: "" })
      expect((yield* said("scripts/env")).stdout).toBe("env x\n")
      expect((yield* said("scripts/windows")).stdout).toBe("windows\n")
      expect((yield* said("scripts/bash.sh")).stdout).toBe("2 bash\n")
      expect((yield* said("scripts/gone.sh")).stdout).toBe("gone\n")
      expect((yield* said("scripts/own.py")).stdout).toBe("not python\n")
      expect((yield* said("scripts/odd.own")).stdout).toBe("#!/bin/sh\necho odd\n")
    })
  )

  it.live("that nothing can run is reported, without a path of the machine", () =>
    Effect.gen(function* () {
      const at = withScripts({
        "a.unknown": "x",
        noext: "x",
        "b.gone": "x",
        c: "#!/no/such/program\n",
        d: "#!/no/such/program\n"
      })
      fs.chmodSync(path.join(at, "s/scripts/c"), 0o755)
      const interpreters = { ".gone": ["no-such-program"] } as const
      const failureOf = (script: string) => leavesNothing(at, Effect.flip(running(at, script, {}, { interpreters })))
      expect(yield* failureOf("scripts/a.unknown")).toMatchObject({
        reason: "Unstartable",
        detail: "it is unknown how to run a .unknown file that does not begin with #!"
      })
      expect(yield* failureOf("scripts/noext")).toMatchObject({
        detail: "it is unknown how to run a file without an extension that does not begin with #!"
      })
      expect(yield* failureOf("scripts/b.gone")).toMatchObject({
        reason: "Unstartable",
        detail: 'it cannot be started (ENOENT); is "no-such-program" there, and may it be run?'
      })
      expect((yield* failureOf("scripts/c")).message).not.toContain(at)
      expect(yield* failureOf("scripts/d")).toMatchObject({
        reason: "Unstartable",
        detail: "the program that its first line names does not exist"
      })
    })
  )

  it.live("has to be a script of the skill", () =>
    Effect.gen(function* () {
      const at = withScripts({ "a.sh": "echo a", "in/b.sh": "echo b" })
      put(at, "s/references/x.sh", "echo x")
      put(at, "other/scripts/o.sh", "echo o")
      put(at, "evil.sh", "echo evil")
      fs.symlinkSync("../../evil.sh", path.join(at, "s/scripts/link.sh"))
      fs.symlinkSync("a.sh", path.join(at, "s/scripts/inner.sh"))
      fs.symlinkSync("../..", path.join(at, "s/scripts/up"))
      for (const [script, reason] of [
        ["../evil.sh", "Outside"],
        ["scripts/../../evil.sh", "Outside"],
        [path.join(at, "s/scripts/a.sh"), "Outside"],
        ["references/x.sh", "Outside"],
        ["scripts/../references/x.sh", "Outside"],
        ["a.sh", "Outside"],
        ["scripts", "Outside"],
        ["", "Outside"],
        ["SKILL.md", "Outside"],
        ["Scripts/a.sh", "Outside"],
        ["scripts/a.sh\0", "Outside"],
        ["scripts/A.sh", "NotFound"],
        ["scripts/", "NotFound"],
        ["scripts/in", "NotFound"],
        ["scripts/link.sh", "NotFound"],
        ["scripts/inner.sh", "NotFound"],
        ["scripts/up/evil.sh", "NotFound"],
        ["scripts/a.sh; echo", "NotFound"],
        ["scripts/none.sh", "NotFound"]
      ] as const) {
        const error = yield* Effect.flip(running(at, script))
        expect([script, error]).toMatchObject([script, { _tag: "SkillError", reason }])
      }
      const error = yield* Effect.flip(running(at, "scripts/none.sh"))
      expect(error.message).toContain("there is: scripts/a.sh, scripts/in/b.sh")
    })
  )

  it.live("below a folder that is a link is not run, nor one with null bytes or too much to read", () =>
    Effect.gen(function* () {
      const at = folder({ "s/SKILL.md": skill("s"), "s/lib/a.sh": "echo a", "out/a.sh": "echo out" })
      fs.symlinkSync("lib", path.join(at, "s/scripts"))
      expect(yield* Effect.flip(running(at, "scripts/a.sh"))).toMatchObject({ reason: "NotFound" })
      fs.rmSync(path.join(at, "s/scripts"))
      fs.symlinkSync("../out", path.join(at, "s/scripts"))
      expect(yield* Effect.flip(running(at, "scripts/a.sh"))).toMatchObject({ reason: "Outside" })
      fs.rmSync(path.join(at, "s/scripts"))
      expect(yield* Effect.flip(running(at, "scripts/a.sh"))).toMatchObject({ reason: "NotFound" })
      put(at, "s/scripts/a.sh", "echo a")
      for (const input of [
        { args: ["a\0b"] },
        { args: Array<string>(101).fill("x") },
        { input: "x".repeat(1024 * 1024 + 1) }
      ]) {
        const error = yield* Effect.flip(running(at, "scripts/a.sh", input))
        expect(error).toMatchObject({ reason: "args" in input && input.args.length === 1 ? "Invalid" : "TooLarge" })
      }
    })
  )

  it.live("is not run while scripts are off, as they are unless said otherwise", () =>
    Effect.gen(function* () {
      const at = withScripts({ "a.sh": "echo a" })
      for (const scripts of [undefined, "off"] as const) {
        const error = yield* Effect.flatMap(Skills.Skills, ({ run }) => run("s", "scripts/a.sh")).pipe(
          Effect.provide(Skills.layer({ folders: [at], scripts })),
          Effect.flip
        )
        expect(error).toMatchObject({ reason: "ScriptsOff" })
      }
    })
  )

  it.live("does not show a secret that it was given", () =>
    Effect.gen(function* () {
      const at = withScripts({ "leak.sh": 'printf "%s" "aaaaaaaa$KEY"; echo "$KEY" >&2; exit 1\n' })
      const env = { KEY: Redacted.make("a-long-secret") }
      const result = yield* running(at, "scripts/leak.sh", {}, { env, maxOutputBytes: 12 })
      expect(result).toMatchObject({ stdout: "aaaaaaaa<red", stderr: "<redacted>\n", truncated: true })
    })
  )

  it.live("does not show the beginning of a secret either, where its output was cut off", () =>
    Effect.gen(function* () {
      const at = withScripts({
        "again.sh": 'for n in 1 2 3 4 5 6 7 8 9; do printf "%s" "$KEY"; printf "%s" "$LONG" >&2; done\n',
        "wide.sh": 'printf "éééééé%s" "$KEY"\n'
      })
      const env = { KEY: Redacted.make("123456789é123456789"), LONG: Redacted.make("123456789é123456789-more") }
      for (const maxOutputBytes of [12, 15, 20, 24, 30, 31, 32, 40]) {
        const options = { env, maxOutputBytes }
        const again = yield* running(at, "scripts/again.sh", {}, options)
        expect(again.truncated).toBe(true)
        expect(again.stdout + again.stderr).not.toMatch(/[1-9-]|more/)
        expect((yield* running(at, "scripts/wide.sh", {}, options)).stdout).toMatch(/^é{6}[<>a-z]*\n?$/)
      }
    })
  )
})

describe("no process is left", () => {
  it.live("by a script that leaves others behind, with all that they hold open, and does not wait for them", () =>
    Effect.gen(function* () {
      const at = withScripts({ "fork.sh": "(trap '' TERM HUP; sleep 1000) & sleep 1000 & echo begun\n" })
      const result = yield* leavesNothing(at, running(at, "scripts/fork.sh"))
      expect(result).toMatchObject({ exitCode: 0, stdout: "begun\n" })
    })
  )

  it.live("by a script that starts what leaves its process group", () =>
    Effect.gen(function* () {
      const at = withScripts({
        "daemon.sh": "setsid sh -c 'trap \"\" TERM HUP; sleep 1000; sleep 1000' & sleep 0.3; echo begun\n"
      })
      const result = yield* leavesNothing(at, running(at, "scripts/daemon.sh"))
      expect(result).toMatchObject({ exitCode: 0, stdout: "begun\n" })
    })
  )

  it.live("by a script that takes too long, and its children, that ignore signals; its output is reported", () =>
    Effect.gen(function* () {
      const at = withScripts({
        "endless.sh": "trap '' TERM; (trap '' TERM; sleep 1000) & echo begun; sleep 1000; sleep 1000\n"
      })
      const error = yield* leavesNothing(
        at,
        Effect.flip(running(at, "scripts/endless.sh", {}, { timeout: "3 seconds" }))
      )
      expect(error).toMatchObject({ _tag: "SkillError", reason: "Timeout" })
      expect(error.message).toContain("longer than 3s and was killed; it wrote: begun")
    })
  )

  it.live("by a script that may tidy up when it is stopped", () =>
    Effect.gen(function* () {
      const at = withScripts({
        "tidy.sh": "trap 'echo tidied > tidied; exit' TERM; echo begun; while :; do sleep 0.05; done\n"
      })
      const error = yield* leavesNothing(at, Effect.flip(running(at, "scripts/tidy.sh", {}, { timeout: "3 seconds" })))
      expect(error).toMatchObject({ reason: "Timeout" })
      expect(fs.existsSync(path.join(at, "s/tidied"))).toBe(true)
    })
  )

  it.live("by a run that is interrupted", () =>
    Effect.gen(function* () {
      const at = withScripts({ "endless.sh": "trap '' TERM; sleep 1000 & touch begun; sleep 1000; sleep 1000\n" })
      const stop = Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(running(at, "scripts/endless.sh"))
        yield* until(() => fs.existsSync(path.join(at, "s/begun")))
        expect(marked(`SKILL_DIR=${at}`).length).toBeGreaterThan(0)
        yield* Fiber.interrupt(fiber)
      })
      yield* leavesNothing(at, stop)
    })
  )

  it.live("by a script that stops itself, or those who watch over it", () =>
    Effect.gen(function* () {
      const at = withScripts({
        "stop.sh": "sleep 1000 & kill -STOP $$",
        "guard.sh":
          'for p in $(cat /proc/$PPID/task/*/children); do grep -qa "read -r group" /proc/$p/cmdline && kill -STOP $p && echo found; done\n'
      })
      const error = yield* leavesNothing(at, Effect.flip(running(at, "scripts/stop.sh", {}, { timeout: "500 millis" })))
      expect(error).toMatchObject({ reason: "Timeout" })
      const result = yield* leavesNothing(at, running(at, "scripts/guard.sh"))
      expect(result.stdout).toContain("found")
    })
  )

  it.live("by a script that never stops writing", () =>
    Effect.gen(function* () {
      const at = withScripts({ "yes.sh": "yes | cat & yes >&2\n" })
      const error = yield* leavesNothing(at, Effect.flip(running(at, "scripts/yes.sh", {}, { maxOutputBytes: 100 })))
      expect(error).toMatchObject({ reason: "OutputLimit" })
      expect(error.message.length).toBeLessThan(3000)
    })
  )

  it.live("by one that writes more than is given", () =>
    Effect.gen(function* () {
      const at = withScripts({ "much.sh": "head -c 1000000 /dev/zero | tr '\\0' x; echo done >&2\n" })
      const result = yield* leavesNothing(at, running(at, "scripts/much.sh", {}, { maxOutputBytes: 1000 }))
      expect(result).toMatchObject({ exitCode: 0, stdout: "x".repeat(1000), stderr: "done\n", truncated: true })
    })
  )

  it.live("by many at once, concurrently", () =>
    Effect.gen(function* () {
      // Each waits for the other.
      const meet = 'touch "$1"; while [ ! -e "$2" ]; do sleep 0.01; done; echo met\n'
      const at = withScripts({ "meet.sh": meet })
      const results = yield* leavesNothing(
        at,
        Effect.all(
          [running(at, "scripts/meet.sh", { args: ["a", "b"] }), running(at, "scripts/meet.sh", { args: ["b", "a"] })],
          { concurrency: 2 }
        )
      )
      expect(results.map(({ stdout }) => stdout)).toEqual(["met\n", "met\n"])
    })
  )

  for (const edge of ["async", "sync"]) {
    plain(`by a process that is killed in the middle (${edge})`, { timeout: 30_000 }, async () => {
      const at = withScripts({ "endless.sh": "trap '' TERM HUP; sleep 1000 & touch begun; sleep 1000; sleep 1000\n" })
      const child = spawn(process.execPath, nodeArguments("tests/support/skillScriptMain.ts", at, edge), {
        stdio: "inherit"
      })
      const wait = async (condition: () => boolean) => {
        for (let n = 0; n < 2000 && !condition(); n++) await new Promise((resolve) => setTimeout(resolve, 10))
        expect(condition()).toBe(true)
      }
      await wait(() => fs.existsSync(path.join(at, "s/begun")))
      const scripts = marked(`SKILL_DIR=${at}`)
      expect(scripts.length).toBeGreaterThan(0)
      child.kill("SIGKILL")
      await wait(() => !scripts.some(runs))
    })
  }
})

plain("under runSync without the sync edge a script is refused, and it is said what to provide", () => {
  const at = withScripts({ "a.sh": "echo a" })
  const error = Effect.runSync(Effect.flip(running(at, "scripts/a.sh")))
  expect(error).toMatchObject({ _tag: "SkillError", reason: "Unstartable" })
  expect(error.message).toContain("provide SyncEdge.layer")
})
