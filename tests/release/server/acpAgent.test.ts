/** Programs that speak ACP as runners: one of the protocol's own SDK, and ones that misbehave, each a real process. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Redacted, Stream } from "effect"
import * as AcpAgent from "troupe/AcpAgent"
import * as Approvals from "troupe/Approvals"
import { specOf } from "../../../src/layers/server/internal/acp/agentSpec.ts"
import { terminalsOf } from "../../../src/layers/server/internal/acp/agentTerminals.ts"
import { until } from "../../support/agentServer.ts"
import { collect } from "../../support/grammar.ts"
import { scopedFolder } from "../../support/temporaryFolder.ts"

const main = fileURLToPath(new URL("../../support/acpAgentMain.ts", import.meta.url))
/** What Node compiles is kept, so that processes start fast. */
const cached = { NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? "" }
const fixture = (options: Partial<AcpAgent.Options> = {}) =>
  AcpAgent.make("other", {
    command: process.execPath,
    args: [main],
    startTimeout: "60 seconds",
    ...options,
    env: { ...cached, ...options.env }
  })
const script = (source: string, options: Partial<AcpAgent.Options> = {}) =>
  AcpAgent.make("other", { command: process.execPath, args: ["-e", source], grace: 200, ...options })
/** A program that answers requests with these, in their order. */
const answering = (answers: ReadonlyArray<object>) =>
  `const answers = ${JSON.stringify(answers)}
  require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
    const { id } = JSON.parse(line)
    if (id !== undefined) console.log(JSON.stringify({ jsonrpc: "2.0", id, ...answers[id - 1] }))
  })`
const act = (act: string, given: object = {}) => JSON.stringify({ act, ...given })

/** Whether a process lives. A zombie does not. */
const lives = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "latin1"))
  } catch {
    return false
  }
}

const errorOf = <A, E>(exit: Exit.Exit<A, E>): AcpAgent.AcpAgentError => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  if (!(error instanceof AcpAgent.AcpAgentError)) return assert.fail(`no error of an agent: ${String(error)}`)
  return error
}

describe("AcpAgent", () => {
  it.live("has text, reasoning and tool calls as steps, and the text after the last call as its output", () =>
    Effect.gen(function* () {
      const { events, exit } = yield* collect(fixture({ env: { ANSWER: "four" } }), act("answer"))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepInclude(events.at(-1), { output: "It is four without HOME." })
      const seen = events.flatMap((event): ReadonlyArray<unknown> => {
        switch (event._tag) {
          case "TextDelta":
          case "ReasoningDelta":
            return [event.delta]
          case "ToolCalled":
            return [[event.tool, event.params]]
          case "ToolCompleted":
          case "ToolFailed":
            return [[event._tag, event.result]]
          case "StepStarted":
            return [event.step]
          default:
            return []
        }
      })
      assert.deepStrictEqual(seen, [
        1,
        "Hm.",
        "Let me look. ",
        ["read", { file: "a" }],
        ["ToolCompleted", "four"],
        2,
        "While it reads: ",
        ["read", { title: "Read b" }],
        ["ToolFailed", { why: "gone" }],
        3,
        "It is ",
        "four without HOME."
      ])
    })
  )

  it.live("puts its questions to the approvers, and never allows forever", () =>
    Effect.gen(function* () {
      const approving = Approvals.layer((request) => {
        assert.deepStrictEqual([request.tool, request.params], ["edit", { path: "a.txt" }])
        assert.isTrue(request.hints.destructive)
        return Effect.succeed(Approvals.approve)
      })
      // The second question is denied by a floor.
      let asked = 0
      const denying = Approvals.floor({ declared: "ask" }, () =>
        Effect.sync(() => (asked++ === 0 ? Approvals.approve : Approvals.deny("enough")))
      )
      const live = Layer.merge(approving, denying)
      const { events } = yield* Effect.provide(collect(fixture(), act("ask", { times: "2" })), live)
      assert.deepInclude(events.at(-1), { output: "no " })
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "ApprovalAnswered" ? [event.approved] : [])),
        [true, false]
      )
      const last = events.at(-1)
      assert.deepStrictEqual(last?._tag === "RunCompleted" ? last.spent.toolCalls.map(({ status }) => status) : [], [
        "completed",
        "denied"
      ])
      const error = errorOf(yield* Effect.exit(fixture().run(act("ask", { times: "1" }))))
      assert.strictEqual(error.reason, "permission")
      assert.include(error.message, "Approvals.layer")
    })
  )

  it.live("cancels the turn, and ends the process with all that it had started", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "pid")
      const seen: Array<string> = []
      const running = fixture().stream(act("work", { file }))
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(running, (event) => Effect.sync(() => seen.push(event._tag)))
      )
      yield* until(() => seen.includes("TextDelta"), "work", 60_000)
      const pid = Number(readFileSync(file, "utf8"))
      assert.isTrue(lives(pid))
      yield* Fiber.interrupt(fiber)
      assert.isTrue(existsSync(`${file}.cancelled`))
      assert.isFalse(lives(pid))
    }).pipe(Effect.scoped)
  )

  it.live("uses files and commands only where the options give them", () =>
    Effect.gen(function* () {
      const root = yield* scopedFolder
      writeFileSync(path.join(root, "a.txt"), "one\ntwo\nthree")
      const given = yield* fixture({ files: { root, write: true }, terminals: true }).run(act("use", { root }))
      const [read, outside, written, ran] = given.split("\n")
      assert.deepStrictEqual([read, written, ran], ["read two", "written", "ran 42 3"])
      assert.include(outside, "Outside")
      assert.strictEqual(readFileSync(path.join(root, "b.txt"), "utf8"), "new")
      const none = yield* fixture().run(act("use", { root }))
      assert.deepStrictEqual(
        none
          .trim()
          .split("\n")
          .map((line) => /There is no|not found/i.test(line)),
        [true, true, true, true]
      )
    }).pipe(Effect.scoped)
  )

  it.live("has its client run so many commands at once, and no more", () =>
    Effect.gen(function* () {
      const terminals = yield* terminalsOf(specOf("other", { command: "none", terminals: true }))
      const created = yield* Effect.forEach(
        Array.from({ length: 18 }),
        () =>
          Effect.exit(
            Effect.flatMap(terminals!.asked({ command: "sleep", args: ["1000"] }), (asked) => terminals!.create(asked))
          ),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(created.filter(Exit.isSuccess), 16)
    }).pipe(Effect.scoped)
  )

  it.live("says why there is no answer, and keeps its secrets", () =>
    Effect.gen(function* () {
      const error = (agent: AcpAgent.AcpAgent, input: string) => Effect.map(Effect.exit(agent.run(input)), errorOf)
      const died = yield* error(fixture({ env: { KEY: Redacted.make("sk-secret") } }), act("die"))
      assert.deepStrictEqual([died.reason, died.stderr], ["ended", "the key is <redacted>"])
      assert.include(died.message, "code 7")
      const said = answering([{ error: { code: -32000, message: "sk-secret is not a key" } }])
      const refused = yield* error(script(said, { env: { KEY: Redacted.make("sk-secret") } }), "")
      assert.strictEqual(refused.reason, "unauthorized")
      assert.include(refused.message, "<redacted> is not a key")
      const stopping = answering([
        { result: { protocolVersion: 1 } },
        { result: { sessionId: "one" } },
        { result: { stopReason: "max_tokens" } }
      ])
      assert.strictEqual((yield* error(script(stopping), "")).reason, "stopped")
      const missing = AcpAgent.make("other", { command: "no-such-program-here" })
      assert.strictEqual((yield* error(missing, "")).reason, "unstartable")
    })
  )

  it.live("survives agents that misbehave", () =>
    Effect.gen(function* () {
      const error = (agent: AcpAgent.AcpAgent) => Effect.map(Effect.exit(agent.run("")), (exit) => errorOf(exit).reason)
      const reasons = yield* Effect.all(
        [
          error(script("process.stdin.resume()", { startTimeout: 300 })),
          error(script("setInterval(() => process.stdout.write('x'.repeat(9999) + '\\n'), 1)", { limit: 100_000 })),
          error(script("process.stdout.write('x'.repeat(99999)); process.stdin.resume()", { limit: 1000 })),
          error(script("for (let n = 0; n < 2000; n++) console.log('hello'); process.stdin.resume()")),
          error(
            script(
              "process.stdin.on('data', () => console.log(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { protocolVersion: 9 } })))"
            )
          ),
          error(
            script(
              "process.stdin.on('data', () => console.log(JSON.stringify({ jsonrpc: '2.0', id: 1, result: 'five' })))"
            )
          )
        ],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(reasons, ["slow", "too-large", "too-large", "unreadable", "unsupported", "unreadable"])
    })
  )
})
