import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, it } from "vitest"

it("a worker of a cluster counts as serving when its server listens", () => {
  const main = fileURLToPath(new URL("../../support/clusterMain.ts", import.meta.url))
  const said = execFileSync(process.execPath, ["--conditions=troupe-source", main], {
    encoding: "utf8",
    timeout: 60_000
  })
  assert.strictEqual(said, "slept server\n")
}, 70_000)
