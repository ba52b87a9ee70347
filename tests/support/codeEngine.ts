/** An engine for programs that starts in some milliseconds, for tests that are not about threads. */
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { CodeMode } from "troupe"

const file = createRequire(import.meta.url).resolve("quickjs-wasi/quickjs.wasm")

/** Runs programs in the thread of the tests. */
export const Engine = CodeMode.layerQuickJsInline({ wasm: fs.readFileSync(file) })
