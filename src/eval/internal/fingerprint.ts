/** What tells two versions of a runner apart: its structure, and how agents in it are set. */
import type * as Schema from "effect/Schema"
import { hash } from "../../internal/fingerprint.ts"
import { outputOf } from "../../internal/runnerSchemas.ts"
import type { Drawable } from "../../internal/structure.ts"

/** The fingerprint of a runner. Code that its functions call, and a model that it brings, are not part of it. */
export const fingerprintOf = (runner: Drawable): string => hash(partOf(runner, []))

const partOf = (runner: Drawable, above: ReadonlyArray<Drawable>): Schema.Json => {
  if (above.includes(runner)) return runner.name
  const { kind, members, note, traits } = runner.definition.structure()
  return {
    name: runner.name,
    kind,
    note: note ?? null,
    traits: traits?.() ?? null,
    typed: outputOf(runner) !== undefined,
    members: members.map((member) => ({
      name: member.name,
      role: member.role ?? null,
      parameters: member.parameters?.() ?? null,
      runner: member.runner === undefined ? null : partOf(member.runner, [...above, runner])
    }))
  }
}
