/** What errors of connections say, and that it is never the password in an address. */
import { assert, describe, it } from "@effect/vitest"
import { describe as describeError } from "../../src/internal/connectionError.ts"
import { problemOf, type ProblemParts } from "../../src/layers/mcp/internal/problem.ts"

const parts = {
  UnauthorizedError: class extends Error {},
  types: { McpError: class extends Error {}, ErrorCode: {} }
} as unknown as ProblemParts

describe("an error of a connection", () => {
  const views = {
    "to a model": (error: unknown) => describeError(error).message,
    "to an MCP server": (error: unknown) => problemOf(parts, error, false).message
  }
  for (const [name, messageOf] of Object.entries(views)) {
    it(`${name} reports the address without its password, for all passwords`, () => {
      for (const pair of ["user:secret", "user:se@cret", "user:@@s:ec@ret"]) {
        const cause = new Error(`cannot connect to http://${pair}@127.0.0.1:9/v1`)
        const message = messageOf(new TypeError("fetch failed", { cause }))
        assert.strictEqual(message, "fetch failed: cannot connect to http://127.0.0.1:9/v1")
      }
    })
  }
})
