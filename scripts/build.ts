/**
 * `npm run build`: compiles src to dist, with declarations and source maps, after removing what was there.
 * `node scripts/build.ts DIRECTORY` compiles to another place.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { report, root, run } from "./support.ts"

const out = path.resolve(root, process.argv[2] ?? "dist")
fs.rmSync(out, { recursive: true, force: true })
const outcome = await run("tsc", ["-p", "tsconfig.build.json", "--outDir", out])
report("build", outcome)
const bin = path.join(out, "bin.js")
if (fs.existsSync(bin)) fs.chmodSync(bin, 0o755)
process.exitCode = outcome.ok ? 0 : 1
