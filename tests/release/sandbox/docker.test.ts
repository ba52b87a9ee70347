/** Commands in a container, by a command line that stands for Docker's: what it is asked, and that what it starts is ended. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Effect, Exit, Fiber, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { afterEach, assert, describe, it } from "vitest"
import * as Sandbox from "troupe/Sandbox"
import * as Skills from "troupe/Skills"
import { folder, skill } from "../../support/skillFolders.ts"
import { commandLaws, filesLaws, groupLaws, within } from "../../support/sandboxLaws.ts"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"
import { edges } from "../../support/toolCalls.ts"

/**
 * `exec` runs the command on this machine in a session of its own, which goes on when the command line is killed: as in a container.
 */
const fake = `#!/bin/sh
printf '%s\\n' "$@" >> "$DOCKER_CONFIG/asked"
case "$1" in
ps) cat "$DOCKER_CONFIG/ps" 2>/dev/null || true ;;
run) test -f "$DOCKER_CONFIG/broken" && { echo 'Cannot connect to the Docker daemon' >&2; exit 125; }; echo abcdef012345 ;;
rm) ;;
exec)
  shift
  while :; do case "$1" in
    --interactive) shift ;;
    --workdir) dir="$DOCKER_CONFIG/root\${2#/work}"; cd "$dir" || exit 126; shift 2 ;;
    --env) kept="$kept $2=$(printenv "$2")"; shift 2 ;;
    *) break ;;
  esac; done
  shift
  skills=$(sed -n 's/^type=bind,src=\\(.*\\),dst=.skills,readonly$/\\1/p' "$DOCKER_CONFIG/asked" | tail -1)
  for word do
    shift
    case "$word" in /skills/*) word="$skills\${word#/skills}" ;; esac
    set -- "$@" "$word"
  done
  exec setsid -w env -i PATH="$PATH" $kept "$@" ;;
esac
`
let base: string
let root: string
let before: string | undefined
folderOfEachTest((folder) => {
  base = folder
  root = path.join(base, "root")
  fs.mkdirSync(root)
  fs.writeFileSync(path.join(base, "docker"), fake, { mode: 0o755 })
  before = process.env["DOCKER_CONFIG"]
  process.env["DOCKER_CONFIG"] = base
})
afterEach(() => {
  if (before === undefined) delete process.env["DOCKER_CONFIG"]
  else process.env["DOCKER_CONFIG"] = before
})
const layer = (options: Partial<Sandbox.DockerOptions> = {}) =>
  Sandbox.layerDocker({ image: "node:24", root, docker: path.join(base, "docker"), ...options })
const asked = () => fs.readFileSync(path.join(base, "asked"), "utf8").split("\n")

for (const edge of Object.keys(edges)) {
  describe(`by ${edge}`, () => {
    // What runs the command line is the spawner of this machine, whose own laws hold at both edges.
    if (edge === "runPromise") filesLaws({ edge, layer })
    if (edge === "runPromise") commandLaws({ edge, layer })
    if (edge === "runPromise") groupLaws({ edge, layer })

    it("the container has no network, no capabilities and no .git to write, and is removed at the end", async () => {
      fs.mkdirSync(path.join(root, ".git"))
      await within({ edge, layer }, () => Effect.void)
      const words = asked()
      for (const word of ["--read-only", "no-new-privileges", "none", "ALL", "1073741824", "128"])
        assert.include(words, word)
      assert.include(words, `type=bind,src=${root},dst=/work`)
      assert.include(words, `type=bind,src=${root}/.git,dst=/work/.git,readonly`)
      assert.deepStrictEqual(words.slice(-4), ["rm", "--force", "abcdef012345", ""])
    })

    it("a script of a skill is run from a copy of its folder, which the container cannot change", async () => {
      const skills = folder({
        "note/SKILL.md": skill("note"),
        "note/lib/words.txt": "from the skill",
        "note/scripts/write.sh": 'cat "$(dirname "$0")/../lib/words.txt" > note.txt; echo "$1, $SKILL_DIR"'
      })
      const ran = await within({ edge, layer }, (sandbox) =>
        Effect.gen(function* () {
          const run = (args: ReadonlyArray<string>) =>
            Effect.flatMap(Skills.Skills, (all) => all.run("note", "scripts/write.sh", { args }))
          const { stdout } = yield* run(["once"])
          const copy = asked().flatMap((word) => /^type=bind,src=(.*),dst=\/skills,readonly$/.exec(word)?.[1] ?? [])[0]!
          yield* run(["twice"])
          const [mark] = fs.readdirSync(copy)
          return {
            stdout,
            note: yield* sandbox.files.readFileString("/note.txt"),
            copies: fs.readdirSync(copy),
            mark,
            copy
          }
        }).pipe(
          Effect.provide(Skills.layerSandbox({ folders: [skills] })),
          Effect.provideService(Sandbox.Sandbox, sandbox)
        )
      )
      assert.deepStrictEqual([ran.stdout, ran.note], [`once, /skills/${ran.mark}/note\n`, "from the skill"])
      assert.deepStrictEqual(ran.copies, [ran.mark])
      assert.isFalse(fs.existsSync(ran.copy))
    })

    it("values of variables are not in the command line", async () => {
      const command = ChildProcess.make("sh", ["-c", "echo $KEY"], { env: { KEY: "in-the-environment" } })
      const written = await within({ edge, layer }, ({ processes }) => processes.string(command))
      assert.strictEqual(written, "in-the-environment\n")
      assert.isFalse(asked().some((word) => word.includes("in-the-environment")))
    })

    it("interruption ends the command in the container, and all of its group", async () => {
      const pids = await within({ edge, layer }, ({ files, processes }) =>
        Effect.gen(function* () {
          const script = "trap '' TERM; sleep 1000 & echo $$ $! > pids; echo on; wait"
          const run = Effect.scoped(
            Effect.gen(function* () {
              const handle = yield* processes.spawn(ChildProcess.make("sh", ["-c", script]))
              yield* Stream.runHead(handle.stdout)
              return yield* handle.exitCode
            })
          )
          const fiber = yield* Effect.forkChild(run)
          while (!(yield* files.exists("/pids"))) yield* Effect.sleep(5)
          yield* Effect.sleep(50)
          yield* Fiber.interrupt(fiber)
          return (yield* files.readFileString("/pids")).trim().split(" ").map(Number)
        })
      )
      for (const pid of pids) {
        const status = `/proc/${pid}/status`
        assert.isTrue(!fs.existsSync(status) || /^State:\s+Z/m.test(fs.readFileSync(status, "utf8")))
      }
    })
  })
}

it("what a process that is gone has left is removed, and what others have is not", async () => {
  const lines = [
    `aaaaaaaaaaaa ${os.hostname()}/999999999`,
    `bbbbbbbbbbbb ${os.hostname()}/${process.pid}`,
    "cccccccccccc elsewhere/999999999"
  ]
  fs.writeFileSync(path.join(base, "ps"), lines.join("\n"))
  await within({ edge: "runPromise", layer }, () => Effect.void)
  const words = asked()
  assert.include(words, "aaaaaaaaaaaa")
  assert.notInclude(words, "bbbbbbbbbbbb")
  assert.notInclude(words, "cccccccccccc")
})

it("an engine that is not there is refused when the Layer is built", () => {
  fs.writeFileSync(path.join(base, "broken"), "")
  const exit = Effect.runPromiseExit(Effect.provide(Sandbox.Sandbox, layer()))
  return exit.then((ended) =>
    assert.include(String(Exit.isFailure(ended) && ended.cause), "Cannot connect to the Docker daemon")
  )
})
