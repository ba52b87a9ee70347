/** How the tests run. `troupe` means src/ in them, as it does for tsc and for node in this project's scripts. */
import { configDefaults, defineConfig } from "vitest/config"

const conditions = ["troupe-source", "module", "node", "development|production"]

/** Tests that change nothing of the process they run in: they share one, and so load the modules once. */
const shared = [
  "tests/{mermaid,unreadFailures,Run*,Transcript}.test.ts",
  "tests/{agents,cli,contract,design,eval,internal,journal,middleware,telemetry,workflows}/**/*.test.ts",
  "tests/layers/{aisdk,code,demo,durable,internal,llamacpp,models,openai,state,tools}/**/*.test.ts",
  "tests/layers/server/**/*.test.ts",
  // The others look at what this process has open, replace timers, end the I/O thread, or set variables of the
  // environment, which Config reads once.
  "tests/layers/mcp/!(Mcp|bothEdges|configFile|http).test.ts",
  "tests/layers/testing/{Cassette,TestModel,cassetteFile,cassetteHttp,cassetteRandomTraffic,cassetteScrubbing}.test.ts"
]

/** What packs, installs, bundles, runs conformance suites or waits for processes. */
const release = "tests/release/**/*.test.ts"

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["troupe-source", "node"] } },
  test: {
    setupFiles: ["tests/support/setup.ts"],
    // Processes, not threads: tests block with Atomics.wait, take signals and watch the event loop.
    pool: "forks",
    // More than there are cores: many tests wait for a process, a server or a limit of time.
    maxWorkers: 6,
    // For what would never end. A machine that has other things to do takes long to start a process.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    allowOnly: false,
    projects: [
      { extends: true, test: { name: "shared", include: shared, isolate: false } },
      {
        extends: true,
        test: {
          name: "apart",
          include: ["tests/**/*.test.ts"],
          exclude: [...configDefaults.exclude, release, ...shared]
        }
      },
      {
        extends: true,
        test: { name: "release", include: [release] }
      }
    ]
  }
})
