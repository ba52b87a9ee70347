/**
 * A module that takes its time to load, as one with large libraries does: until the file that its URL names as `gate` is
 * there. Its function returns which attempts it was called for.
 */
import * as fs from "node:fs"

const gate = new URL(import.meta.url).searchParams.get("gate")!
while (!fs.existsSync(gate)) await new Promise((resolve) => setTimeout(resolve, 5))
const attempts: Array<number> = []
export default ({ attempt }: { readonly attempt: number }) => {
  attempts.push(attempt)
  return { attempts }
}
