/**
 * Commands in a real container, where this machine has an engine: `docker`, or the program that `CONTAINER_ENGINE` names, with the image
 * that `CONTAINER_IMAGE` names. What is asked of an engine is tested without one in `docker.test.ts`.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect } from "effect"
import { ChildProcess } from "effect/process"
import { assert, describe, it } from "vitest"
import * as Sandbox from "troupe/Sandbox"
import * as Skills from "troupe/Skills"
import { commandLaws, filesLaws, groupLaws, linkLaws, output, within } from "../../support/sandboxLaws.ts"
import { folder, skill } from "../../support/skillFolders.ts"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"

const docker = process.env["CONTAINER_ENGINE"] ?? "docker"
const image = process.env["CONTAINER_IMAGE"] ?? "debian:stable-slim"
const asks = (...args: ReadonlyArray<string>) => spawnSync(docker, args, { encoding: "utf8" })
const hasEngine = asks("image", "inspect", image).status === 0

let base: string
let root: string
folderOfEachTest((folder) => {
  base = folder
  fs.chmodSync(base, 0o755)
  root = path.join(base, "root")
  fs.mkdirSync(root)
})

const inContainer = () => {
  const subject = {
    edge: "runPromise",
    layer: () => Sandbox.layerDocker({ image, root, docker }),
    root: () => root
  }
  filesLaws(subject)
  linkLaws(subject)
  commandLaws(subject)
  groupLaws(subject)

  it("has no network and no .git to write, sees nothing of the machine, and is gone afterwards", async () => {
    fs.mkdirSync(path.join(root, ".git"))
    const script = `echo x > .git/config; echo x > /etc/x; echo $$; ls /proc | grep -c '^[0-9]'; cat /proc/net/dev | wc -l; ls ${base}`
    const ended = await within(subject, ({ processes }) =>
      output(processes, ChildProcess.make("sh", ["-c", `exec 2>&1; ${script}`]))
    )
    const text = JSON.stringify(ended)
    assert.include(text, "Read-only file system")
    assert.include(text, "No such file or directory")
    assert.deepStrictEqual(fs.readdirSync(path.join(root, ".git")), [])
    assert.strictEqual(asks("ps", "--all", "--quiet", "--filter", "label=troupe.sandbox").stdout.trim(), "")
  })

  it("shows a script its skill's folder, which also root in it cannot change", async () => {
    const skills = folder({
      "note/SKILL.md": skill("note"),
      "note/words.txt": "from the skill",
      "note/scripts/write.sh":
        'cat "$SKILL_DIR/words.txt" > note.txt; echo x > "$SKILL_DIR/words.txt" || echo "cannot: $SKILL_DIR"'
    })
    const ran = await within(subject, (sandbox) =>
      Effect.gen(function* () {
        const { stdout } = yield* (yield* Skills.Skills).run("note", "scripts/write.sh")
        return [stdout, yield* sandbox.files.readFileString("/note.txt")]
      }).pipe(
        Effect.provide(Skills.layerSandbox({ folders: [skills] })),
        Effect.provideService(Sandbox.Sandbox, sandbox)
      )
    )
    assert.match(ran[0]!, /^cannot: \/skills\/\w{32}\/note\n$/)
    assert.strictEqual(ran[1], "from the skill")
  })
}

if (hasEngine) describe("a real container", inContainer)
else {
  it("a machine without an engine is refused when the Layer is built, and nothing runs", async () => {
    const layer = Sandbox.layerDocker({ image, root, docker: path.join(base, "no-docker") })
    const error = await Effect.runPromise(Effect.flip(Effect.provide(Sandbox.Sandbox, layer)))
    assert.include(error.message, "commands never run without it")
  })
}
