/**
 * `npm run build`: compiles src to dist, with declarations and source maps, after removing what was there.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { report, root, run } from "./support.ts"

const out = path.join(root, "dist")
fs.rmSync(out, { recursive: true, force: true })
const outcome = await run("tsc", ["-p", "tsconfig.build.json"])
report("build", outcome)
const bin = path.join(out, "bin.js")
if (fs.existsSync(bin)) fs.chmodSync(bin, 0o755)
process.exitCode = outcome.ok ? 0 : 1
