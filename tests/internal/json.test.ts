/** Any value has a JSON form, and a plain object keeps its fields as they are. */
import { assert, describe, it } from "@effect/vitest"
import { toJson } from "../../src/internal/json.ts"

describe("the JSON of a value", () => {
  it("of plain objects has their own fields in their order, without functions and what is undefined", () => {
    const given = { b: 1, a: { c: [undefined, "x"] }, f: () => 1, none: undefined, not: Number.NaN }
    assert.strictEqual(JSON.stringify(toJson(given)), '{"b":1,"a":{"c":[null,"x"]},"not":"NaN"}')
    assert.notStrictEqual(toJson(given), given as never)
  })

  it("of a field called __proto__ is a field", () => {
    const json = toJson(JSON.parse('{"__proto__":{"isAdmin":true},"a":1}'))
    assert.strictEqual(JSON.stringify(json), '{"__proto__":{"isAdmin":true},"a":1}')
    assert.strictEqual((json as { isAdmin?: boolean }).isAdmin, undefined)
  })

  it("of objects that say it themselves, of errors and of cycles is what can be said", () => {
    const cycle: Record<string, unknown> = { a: 1 }
    cycle["self"] = cycle
    assert.deepStrictEqual(toJson(cycle), { a: 1, self: "[circular]" })
    assert.deepStrictEqual(toJson({ toJSON: () => [1] }), [1])
    assert.deepStrictEqual(toJson(Object.assign(new Error("no"), { code: 1 })), {
      name: "Error",
      message: "no",
      code: 1
    })
    const throws = Object.defineProperty({}, "a", { enumerable: true, get: () => assert.fail("no") })
    assert.strictEqual(toJson(throws), "[object Object]")
  })
})
