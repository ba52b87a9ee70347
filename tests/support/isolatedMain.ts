/** Runs cases of a file, one after the other, and says of each what became of it. See `isolated.ts`. */
import { writeSync } from "node:fs"
import { pathToFileURL } from "node:url"
import { inspect } from "node:util"
import type { Cases } from "./isolated.ts"

const [, , file = "", ...names] = process.argv
const { cases } = (await import(pathToFileURL(file).href)) as { readonly cases: Cases }
for (const name of names) {
  let error: string | undefined
  try {
    await cases[name]!()
  } catch (thrown) {
    error = inspect(thrown)
  }
  writeSync(1, `${JSON.stringify({ name, error })}\n`)
}
process.exit(0)
