import { assert, describe, it } from "vitest"
import { deferred } from "../../src/internal/deferred.ts"

const counted = (exports: object = { make: () => 1, name: "x" }) => {
  const seen = { loads: 0 }
  return { seen, namespace: deferred("Name", () => (seen.loads++, exports)) as Record<string, any> }
}

describe("a deferred namespace", () => {
  it("loads its module when it is first used, and once", () => {
    const { namespace, seen } = counted()
    assert.strictEqual(seen.loads, 0)
    assert.strictEqual(namespace["make"](), 1)
    assert.strictEqual(namespace["name"], "x")
    assert.strictEqual(namespace["other"], undefined)
    assert.strictEqual(seen.loads, 1)
  })

  it("is used as a namespace is: taken apart, spread, listed, asked for a name", () => {
    const { namespace } = counted()
    const { name } = namespace
    assert.strictEqual(name, "x")
    assert.deepStrictEqual(Object.keys({ ...namespace }), ["make", "name"])
    assert.deepStrictEqual(Object.keys(namespace), ["make", "name"])
    assert.isTrue("make" in namespace)
    assert.isFalse("other" in namespace)
  })

  it("cannot be changed", () => {
    const { namespace } = counted()
    assert.throws(() => (namespace["make"] = 1), TypeError)
    assert.throws(() => delete namespace["make"], TypeError)
    assert.throws(() => Object.freeze(namespace), TypeError)
  })

  it("of a module that does not load fails as it does, and loads it again when it is used again", () => {
    let loads = 0
    const namespace = deferred("Name", () => {
      if (++loads === 1) throw new Error("a package is missing")
      return { name: "x" }
    }) as Record<string, unknown>
    assert.throws(() => namespace["name"], "a package is missing")
    assert.strictEqual(namespace["name"], "x")
  })

  it("of a module that an import() is loading says what to write", () => {
    const namespace = deferred("Mcp", () => {
      throw Object.assign(new Error("not yet fully loaded"), { code: "ERR_REQUIRE_ESM_RACE_CONDITION" })
    }) as Record<string, unknown>
    assert.throws(() => namespace["connect"], 'Await the import(), or import "troupe/Mcp" where it is used')
  })
})
