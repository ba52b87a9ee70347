/** Scripts of skills in a sandbox. */
import { Effect } from "effect"
import { assert, it } from "vitest"
import { Sandbox, Skills } from "troupe"
import { folder, skill } from "../../support/skillFolders.ts"
import { edges } from "../../support/toolCalls.ts"

const skills = () =>
  folder({
    "note/SKILL.md": skill("note"),
    "note/words.txt": "from the skill",
    "note/scripts/write.sh": 'cat "$SKILL_DIR/words.txt" > note.txt; echo "$1 in $(pwd)"'
  })

for (const edge of Object.keys(edges)) {
  it(`a script works in the workspace, and reads its skill's folder, by ${edge}`, async () => {
    const root = folder({})
    const program = Effect.gen(function* () {
      const service = yield* Skills.Skills
      const { files } = yield* Sandbox.Sandbox
      const ran = yield* service.run("note", "scripts/write.sh", { args: ["done"] })
      return [ran.stdout, yield* files.readFileString("/note.txt")]
    }).pipe(Effect.provide(Skills.layerSandbox({ folders: [skills()] })), Effect.provide(Sandbox.layerLocal({ root })))
    const exit = await edges[edge]!(program)
    assert.deepStrictEqual(exit._tag === "Success" ? exit.value : exit, [`done in ${root}\n`, "from the skill"])
  })
}

it("a sandbox that cannot show a script its folder refuses it", async () => {
  const program = Effect.flatMap(Skills.Skills, (service) => Effect.flip(service.run("note", "scripts/write.sh"))).pipe(
    Effect.provide(Skills.layerSandbox({ folders: [skills()] })),
    Effect.provide(Sandbox.layerMemory())
  )
  const error = await Effect.runPromise(program)
  assert.include(error.message, "scripts cannot be run in this sandbox (memory)")
})
