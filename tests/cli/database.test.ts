/** Databases that a command names. */
import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import { shownName } from "../../src/cli/database.ts"

describe("a database that is shown", () => {
  const shown: ReadonlyArray<readonly [name: string, as: string]> = [
    ["postgres://ada:s3cr3t@db.example:5432/runs?password=s3cr3t", "postgres://db.example:5432/runs"],
    ["postgresql://ada:s3/cr@3t@db.example/runs", "postgresql://db.example/runs"],
    ["postgres://db.example/runs", "postgres://db.example/runs"],
    ["runs@2x.db", "runs@2x.db"]
  ]
  for (const [name, as] of shown) it(`is ${as}`, () => assert.strictEqual(shownName(Option.some(name)), as))
})
