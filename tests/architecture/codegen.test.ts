/** Programs of threads are ordinary modules that travel as text: the texts are those of the modules. */
import * as fs from "node:fs"
import * as path from "node:path"
import { expect, it } from "vitest"
import { generate } from "../../scripts/codegen.ts"

const root = path.resolve(import.meta.dirname, "../..")

it("the bundles of thread programs and the version are fresh", { timeout: 60_000 }, async () => {
  for (const [file, text] of await generate()) {
    expect(fs.readFileSync(path.join(root, file), "utf8"), `${file} is stale: run npm run codegen`).toBe(text)
  }
})
