/** What `npm ci` installs is compared with hashes, and the package installs no more than it says. */
import * as fs from "node:fs"
import * as path from "node:path"
import { expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")
const read = (file: string) => JSON.parse(fs.readFileSync(path.join(root, file), "utf8")) as any

it.each(["package-lock.json", "bench/package-lock.json"])("every package of %s has an integrity", (file) => {
  const packages = Object.entries<any>(read(file).packages).filter(([name, one]) => name !== "" && one.link !== true)
  expect(packages.length).toBeGreaterThan(10)
  expect(packages.filter(([, one]) => !String(one.integrity).startsWith("sha512-")).map(([name]) => name)).toEqual([])
})

it("what must exist once in a program is a peer, and is developed on", () => {
  const { dependencies, devDependencies, peerDependencies, peerDependenciesMeta } = read("package.json")
  expect(Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional !== true)).toEqual([
    "effect"
  ])
  expect(peerDependencies.effect).toBe("~4.1.0")
  for (const name of Object.keys(peerDependencies)) {
    expect(dependencies).not.toHaveProperty(name)
    expect(devDependencies).toHaveProperty(name)
  }
  expect(Object.keys(dependencies).length).toBeLessThanOrEqual(11)
})
