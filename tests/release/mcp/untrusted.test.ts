/** Dangerous tools after results of an MCP server, which is a process: that of a server that is trusted, and of one that is not. */
import { Effect } from "effect"
import { assert, it } from "vitest"
import { Agent, AgentTool, Approvals, CodeMode, Mcp, TestModel } from "troupe"
import { Engine } from "../../support/codeEngine.ts"
import { toolsServer } from "../../support/mcpEverything.ts"

const wipe = (made: Array<string>) =>
  AgentTool.fromFunction("wipe", {
    description: "Wipes",
    hints: { destructive: true, openWorld: false },
    execute: () => made.push("wiped")
  })

it("asks after a result of a server that is not trusted, of the agent and in a program, and not else", async () => {
  const asked: Array<string> = []
  const made: Array<string> = []
  const approver = (trusted: ReadonlyArray<string>) =>
    Approvals.layerRules(
      [{ rule: "allow", server: "ours" }],
      { afterUntrusted: "ask", trusted: { servers: trusted } },
      (request) => {
        asked.push(`${request.toolCallId}`)
        return Effect.succeed(Approvals.approve)
      }
    )
  const call = (id: string, name: string, params: object = {}) => ({ toolCalls: [{ id, name, params }] })
  const direct = Agent.make("direct", { tools: [Mcp.tools(), wipe(made)] })
  const coder = Agent.make("coder", { use: [CodeMode.feature([Mcp.tools(), wipe(made)], { destructive: "allow" })] })
  const program = "await tools.wipe(); const pid = await tools.pid(); await tools.wipe(); return pid"
  const turns = [call("one", "wipe"), call("two", "pid"), call("three", "wipe"), "done"]
  const runs = Effect.gen(function* () {
    yield* direct.run("go").pipe(Effect.provide([approver([]), TestModel.layer(turns)]))
    yield* coder
      .run("go")
      .pipe(Effect.provide([approver([]), TestModel.layer([call("p", "run_program", { program }), "done"])]))
    yield* direct.run("go").pipe(Effect.provide([approver(["ours"]), TestModel.layer(turns)]))
  })
  await Effect.runPromise(Effect.provide(runs, [Mcp.layer({ servers: { ours: toolsServer() } }), Engine]))
  assert.deepStrictEqual(asked, ["three", "p/3"])
  assert.strictEqual(made.length, 6)
})
