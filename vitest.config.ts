/** How the tests run. `troupe` means src/ in them, as it does for tsc and for node in this project's scripts. */
import { defineConfig } from "vitest/config"

const conditions = ["troupe-source", "module", "node", "development|production"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["troupe-source", "node"] } },
  test: {
    include: ["tests/**/*.test.ts"],
    setupFiles: ["tests/support/setup.ts"],
    // Processes, not threads: tests block with Atomics.wait, take signals and watch the event loop.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 20_000,
    allowOnly: false
  }
})
