/**
 * `npm run examples`: runs every program of examples/ as a reader would, without a key and without a network. Each must
 * end well within 30 seconds; a preset, which needs a language model, has to say so and exit with 2 (with a model they run
 * in tests/examples). `node scripts/examples.ts NAME` runs only those whose name contains NAME.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { env, report, root, run } from "./support.ts"

const timeoutMs = 30_000
/** What a preset says without a model. */
const saysWhatToSet = /needs a language model[^]*OPENAI_API_KEY[^]*OPENAI_BASE_URL/

/** Runs the examples four at a time and prints a line for each. */
export const examples = async (filter = ""): Promise<{ readonly passed: number; readonly failed: number }> => {
  const waiting = fs
    .readdirSync(path.join(root, "examples"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && file.includes(filter))
    .toSorted()
  const isolated: NodeJS.ProcessEnv = {
    ...env,
    NO_COLOR: "1",
    // No server but one on this machine can be reached: requests to others go to a proxy that is not there.
    NODE_USE_ENV_PROXY: "1",
    HTTP_PROXY: "http://127.0.0.1:9",
    HTTPS_PROXY: "http://127.0.0.1:9",
    NO_PROXY: "localhost,127.0.0.1,::1"
  }
  // A key or a server of the reader's must not change what the examples do.
  for (const name of Object.keys(isolated)) if (/^(OPENAI|ANTHROPIC|TROUPE)_/.test(name)) delete isolated[name]
  let passed = 0
  let failed = 0
  const worker = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const outcome = await run("node", ["--conditions=troupe-source", path.join("examples", file)], {
        timeoutMs,
        env: isolated
      })
      const isPreset = file.startsWith("presets") && !file.endsWith("model.ts")
      const ok = isPreset ? outcome.code === 2 && saysWhatToSet.test(outcome.output) : outcome.ok
      report(`examples/${file}`, { ...outcome, ok })
      if (ok) passed++
      else failed++
    }
  }
  await Promise.all(Array.from({ length: 4 }, worker))
  return { passed, failed }
}

if (import.meta.main) {
  const { passed, failed } = await examples(process.argv[2])
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1
}
