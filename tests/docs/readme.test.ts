/** What the README lists is what the package has. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")

it("the README says what each public module is for", () => {
  const { exports } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
    readonly exports: object
  }
  const text = fs.readFileSync(path.join(root, "README.md"), "utf8")
  const table = text.slice(text.indexOf("## What there is"), text.indexOf("## More"))
  const listed = new Set(Array.from(table.matchAll(/`(\w+)`/g), ([, name]) => name))
  const modules = Object.keys(exports).flatMap((name) => /^\.\/(\w+)$/.exec(name)?.[1] ?? [])
  assert.isAbove(modules.length, 50)
  assert.deepStrictEqual(
    modules.filter((name) => !listed.has(name)),
    []
  )
})
