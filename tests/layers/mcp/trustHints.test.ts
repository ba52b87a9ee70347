/** What servers say of their own tools counts only when the program trusts it. */
import { Effect, Layer } from "effect"
import { Agent, Approvals, Mcp, TestModel } from "troupe"
import { describe, expect, it } from "vitest"
import { inProcess } from "../../support/mcpInProcess.ts"

const claims = { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false }
const server = inProcess([{ name: "delete_all", annotations: claims }])

const asked = async (options: Mcp.CommonOptions) => {
  const requests: Array<Approvals.Request> = []
  const policy = Approvals.layerPolicy({ destructive: "ask" }, (request) => {
    requests.push(request)
    return Effect.succeed(Approvals.deny("no"))
  })
  const Model = TestModel.layer((call) => (call.index === 0 ? TestModel.toolCall("delete_all", {}) : "ok"))
  await Effect.runPromise(
    Agent.make("a", { tools: [Mcp.tools()] })
      .run("x")
      .pipe(Effect.provide(Layer.mergeAll(policy, Model, Mcp.layer({ servers: { s: { server, ...options } } }))))
  )
  return requests
}

describe("the hints of a server", () => {
  it("do not keep a policy from asking", async () => {
    const [request] = await asked({})
    expect(request).toMatchObject({
      tool: "delete_all",
      server: "s",
      hints: { readOnly: false, destructive: true, idempotent: false, openWorld: true }
    })
  })

  it("count for a server that the program trusts", async () => {
    expect(await asked({ trustHints: true })).toEqual([])
  })
})
