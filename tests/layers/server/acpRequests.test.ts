/** What an editor may send to an agent, without a process: conversations, images, and what is refused. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { AcpServer, Agent, Runner, Session, SessionStore, TestModel, Transcript } from "troupe"
import * as Rpc from "../../../src/layers/server/internal/acp/rpc.ts"
import { handlers } from "../../../src/layers/server/internal/acp/serverRequests.ts"
import { make as makeSessions } from "../../../src/layers/server/internal/acp/serverSessions.ts"
import type { ServedAgent } from "../../../src/layers/server/internal/acp/serverTurn.ts"

/** An editor and an agent that are connected without a pipe. */
const connected = (runner: unknown, maxSessions = 10) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const texts: Array<string> = []
    const sessions = makeSessions(maxSessions)
    const served = { name: "desk", version: "1", runner: runner as ServedAgent, sessions, scope, peer: () => server }
    const server: Rpc.Peer<never> = Rpc.make<never>(
      {
        ...handlers(served),
        send: (line) => Effect.suspend(() => editor.take(line)),
        unreadable: () => Effect.sync(() => void texts.push("unreadable"))
      },
      scope
    )
    const editor: Rpc.Peer<never> = Rpc.make<never>(
      {
        request: () => Rpc.refuse(Rpc.codes.unknownMethod, "unknown"),
        notification: (_, params) =>
          Effect.sync(() => void texts.push((params as { update: { content: { text: string } } }).update.content.text)),
        send: (line) => Effect.suspend(() => server.take(line)),
        unreadable: () => Effect.void
      },
      scope
    )
    const prompt = (sessionId: string, ...blocks: ReadonlyArray<object>) =>
      editor.request("session/prompt", { sessionId, prompt: blocks })
    const opened = Effect.map(
      editor.request("session/new", { cwd: "/project", mcpServers: [] }),
      (given) => (given as { readonly sessionId: string }).sessionId
    )
    return { editor, opened, prompt, server, texts: () => texts.splice(0) }
  })

interface Listed {
  readonly sessions: ReadonlyArray<{ readonly sessionId: string; readonly [field: string]: string }>
  readonly nextCursor?: string
}

const text = (text: string) => ({ type: "text", text })
const codeOf = <A>(effect: Effect.Effect<A, Rpc.RpcFailure>) =>
  Effect.match(effect, { onSuccess: () => 0, onFailure: ({ code }) => code })

const scripted = (runner: Runner.Runner<string, unknown, unknown, never>) => runner
const desk = Agent.make("desk", {}).pipe(
  Runner.provide(
    TestModel.layer(({ prompt }) => {
      const turns = Transcript.turns(prompt)
      return `${turns.length}: ${turns.at(-1)!.user}`
    })
  )
)

describe("an agent of editors", () => {
  it.effect("goes on with the conversation of its session, and knows the editor's folder", () =>
    Effect.gen(function* () {
      const { opened, prompt, texts } = yield* connected(desk)
      const [one, two] = [yield* opened, yield* opened]
      yield* prompt(one, text("hello"))
      yield* prompt(one, text("see "), { type: "resource_link", name: "a.ts", uri: "file:///a.ts" })
      yield* prompt(two, text("hello"))
      assert.deepStrictEqual(texts(), ["1: hello", "2: see [a.ts](file:///a.ts)", "1: hello"])
      const folder = scripted(
        Runner.make("folder", {
          run: (_input: string) => Effect.map(AcpServer.CurrentSession, (session) => session?.cwd)
        })
      )
      const other = yield* connected(folder)
      yield* other.prompt(yield* other.opened, text("where?"))
      assert.deepStrictEqual(other.texts(), ["/project"])
    }).pipe(Effect.scoped)
  )

  it.effect("refuses what it does not take, and goes on", () =>
    Effect.gen(function* () {
      const { editor, opened, prompt, server, texts } = yield* connected(desk, 2)
      const id = yield* opened
      const refused = [
        prompt("acp-1", text("hello")),
        prompt(id),
        prompt(id, { type: "audio", data: "", mimeType: "audio/wav" }),
        prompt(id, { type: "image", data: "?", mimeType: "image/png" }),
        editor.request("session/prompt", { sessionId: id }),
        editor.request("session/load", { sessionId: id, cwd: "/", mcpServers: [] }),
        editor.request("session/unheard_of", {})
      ]
      assert.deepStrictEqual(yield* Effect.all(refused.map(codeOf)), [
        Rpc.codes.notFound,
        Rpc.codes.invalidParams,
        Rpc.codes.invalidParams,
        Rpc.codes.invalidParams,
        Rpc.codes.invalidParams,
        Rpc.codes.unknownMethod,
        Rpc.codes.unknownMethod
      ])
      yield* server.take("{")
      yield* server.take("[1]")
      yield* server.take('{"jsonrpc":"2.0","id":99,"result":1}')
      assert.deepStrictEqual(texts(), ["unreadable", "unreadable"])
      // The one that was used the longest time ago makes room.
      const next = [yield* opened, yield* opened]
      assert.strictEqual(yield* codeOf(prompt(id, text("hello"))), Rpc.codes.notFound)
      yield* prompt(next[0]!, text("hello"))
      yield* editor.request("session/close", { sessionId: next[0]! })
      assert.strictEqual(yield* codeOf(prompt(next[0]!, text("hello"))), Rpc.codes.notFound)
      assert.deepStrictEqual(texts(), ["1: hello"])
    }).pipe(Effect.scoped)
  )

  it.effect("answers requests whose id is of another kind, and opens no session in a folder that could be any", () =>
    Effect.gen(function* () {
      const answers: Array<{ readonly id: unknown; readonly error?: { readonly code: number } }> = []
      const scope = yield* Effect.scope
      const opened: Array<unknown> = []
      const peer = Rpc.make<never>(
        {
          request: (method) => Effect.sync(() => (opened.push(method), {})),
          notification: (method) => Effect.sync(() => void opened.push(method)),
          send: (line) => Effect.sync(() => void answers.push(JSON.parse(line))),
          unreadable: () => Effect.void
        },
        scope
      )
      for (const id of ["null", "1.5", "{}", "[1]", "true", "1e999"]) {
        yield* peer.take(`{"jsonrpc":"2.0","id":${id},"method":"session/new"}`)
      }
      assert.deepStrictEqual(
        answers.map(({ error, id }) => [id, error?.code]),
        Array.from({ length: 6 }, () => [null, Rpc.codes.invalidRequest])
      )
      yield* peer.take('{"jsonrpc":"2.0","method":"session/cancel"}')
      assert.deepStrictEqual(opened, ["session/cancel"])
      const { editor } = yield* connected(desk)
      for (const cwd of ["", "..", "../..", "project", "~"]) {
        const given = { cwd, mcpServers: [] }
        assert.strictEqual(yield* codeOf(editor.request("session/new", given)), Rpc.codes.invalidParams, cwd)
      }
      for (const cwd of ["/project", "C:\\project", "d:/project", "\\\\server\\project"]) {
        assert.strictEqual(yield* codeOf(editor.request("session/new", { cwd, mcpServers: [] })), 0, cwd)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("lists the sessions that the store keeps, of one folder or of all, a page at a time", () =>
    Effect.gen(function* () {
      const { editor, prompt } = yield* connected(desk, 100)
      const list = (params: object) => Effect.map(editor.request("session/list", params), (given) => given as Listed)
      const open = (cwd: string) =>
        Effect.map(
          editor.request("session/new", { cwd, mcpServers: [] }),
          (given) => (given as { readonly sessionId: string }).sessionId
        )
      const { agentCapabilities } = (yield* editor.request("initialize", { protocolVersion: 1 })) as {
        readonly agentCapabilities: { readonly sessionCapabilities: object }
      }
      assert.deepStrictEqual(agentCapabilities.sessionCapabilities, { close: {}, list: {} })
      const mine = yield* open("/home/ada/Größe 1")
      yield* prompt(mine, text("  What is\n2 + 40?"), text(" Say it."))
      // What is not of an editor, or has no turn, is not listed.
      yield* open("/empty")
      yield* Session.of(desk, "user-1").run("hello")
      for (let i = 0; i < 60; i++) yield* prompt(yield* open("/other"), text(`number ${i}`))
      const own = yield* list({ cwd: "/home/ada/Größe 1" })
      assert.deepStrictEqual(own, {
        sessions: [
          {
            sessionId: mine,
            cwd: "/home/ada/Größe 1",
            title: "What is 2 + 40? Say it.",
            updatedAt: "1970-01-01T00:00:00.000Z"
          }
        ]
      })
      const first = yield* list({})
      assert.lengthOf(first.sessions, 50)
      const second = yield* list({ cwd: null, cursor: first.nextCursor })
      assert.isUndefined(second.nextCursor)
      const ids = [...first.sessions, ...second.sessions].map(({ sessionId }) => sessionId)
      assert.strictEqual(new Set(ids).size, 61)
      assert.strictEqual(yield* codeOf(list({ cursor: "user-" })), Rpc.codes.invalidParams)
      yield* editor.request("session/load", { sessionId: mine, cwd: "/home/ada/Größe 1", mcpServers: [] })
    }).pipe(Effect.provide(SessionStore.layerMemory), Effect.scoped)
  )

  it.effect("cancels the first turn of a session that is loaded meanwhile", () =>
    Effect.gen(function* () {
      const { editor, opened, prompt } = yield* connected(
        Runner.make("busy", { run: (_input: string) => Effect.never })
      )
      const sessionId = yield* opened
      const turn = yield* Effect.forkChild(prompt(sessionId, text("hello")))
      yield* Effect.yieldNow
      const load = editor.request("session/load", { sessionId, cwd: "/project", mcpServers: [] })
      assert.strictEqual(yield* codeOf(load), Rpc.codes.notFound)
      yield* editor.notify("session/cancel", { sessionId })
      assert.deepStrictEqual(yield* Fiber.join(turn), { stopReason: "cancelled" })
    }).pipe(Effect.provide(SessionStore.layerMemory), Effect.scoped)
  )

  it.effect("answers a request once, also where it is cancelled while its answer is written", () =>
    Effect.gen(function* () {
      const sent: Array<string> = []
      const [written, taken] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const peer = Rpc.make<never>(
        {
          request: () => Effect.succeed({}),
          notification: () => Effect.void,
          unreadable: () => Effect.void,
          send: (line) =>
            Effect.suspend(() => {
              sent.push(line)
              return Effect.andThen(Deferred.succeed(written, undefined), Deferred.await(taken))
            })
        },
        yield* Effect.scope
      )
      yield* peer.take('{"jsonrpc":"2.0","id":1,"method":"initialize"}')
      yield* Deferred.await(written)
      yield* peer.take('{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":1}}')
      yield* Effect.yieldNow
      yield* Deferred.succeed(taken, undefined)
      yield* Effect.yieldNow
      assert.deepStrictEqual(sent, ['{"jsonrpc":"2.0","id":1,"result":{}}'])
    }).pipe(Effect.scoped)
  )

  it.effect("answers a request that the end of the server comes right after", () =>
    Effect.gen(function* () {
      const sent: Array<string> = []
      const scope = yield* Scope.make()
      const peer = Rpc.make<never>(
        {
          request: () => Effect.never,
          notification: () => Effect.void,
          unreadable: () => Effect.void,
          send: (line) => Effect.sync(() => void sent.push(line))
        },
        scope
      )
      yield* peer.take('{"jsonrpc":"2.0","id":1,"method":"initialize"}')
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(
        sent.map((line) => (JSON.parse(line) as { readonly error: { readonly code: number } }).error.code),
        [Rpc.codes.cancelled]
      )
    })
  )

  it.effect("answers limits as ends of the turn, and failures with their words", () =>
    Effect.gen(function* () {
      const tired = Agent.make("tired", { maxSteps: 1, tools: [] }).pipe(
        Runner.provide(TestModel.layer([{ text: "cut", finishReason: "length" }], { unused: "ignore" }))
      )
      const { opened, prompt } = yield* connected(tired)
      assert.deepStrictEqual(yield* prompt(yield* opened, text("hello")), { stopReason: "max_tokens" })
      const broken = yield* connected(
        Runner.make("broken", { run: (_input: string) => Effect.fail(new Error("no luck")) })
      )
      const error = yield* Effect.flip(broken.prompt(yield* broken.opened, text("hello")))
      assert.deepInclude(error, { code: Rpc.codes.internal, message: "no luck" })
    }).pipe(Effect.scoped)
  )
})
