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
    // More than there are cores: many tests wait for a process, a server or a limit of time.
    maxWorkers: 3,
    // For what would never end. A machine that has other things to do takes long to start a process.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    allowOnly: false
  }
})
