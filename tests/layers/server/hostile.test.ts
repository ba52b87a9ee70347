/** Clients that are hostile or broken: what they send is refused by name, and nothing of it stays with the server. */
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { RunError, Runner, SessionStore, TestModel, TraceStore } from "troupe"
import { ask, get, handling, listen, post, raw, until } from "../../support/agentServer.ts"
import { chain, desk, endless, guide, model, paid, payer } from "../../support/serverClients.ts"

const hello = model(() => "Hello.")
const asks = model(({ prompt, tools }) =>
  tools.length === 0 || JSON.stringify(prompt.content).includes("tool-result")
    ? "Done."
    : TestModel.toolCall(tools[0]!, tools[0] === "pay" ? { amount: 5 } : { exact: true })
)

describe("a body", () => {
  it.live("is refused that is in another encoding or compressed, since it would be misread", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { desk } }, hello)
      const status = (headers: Record<string, string>) =>
        Effect.map(ask(handler, post("/runners/desk", { input: "Hi" }, headers)), (answer) => answer.status)
      for (const type of ["application/json; charset=utf-16", 'application/json;charset="latin1"']) {
        assert.strictEqual(yield* status({ "content-type": type }), 415, type)
      }
      for (const encoding of ["gzip", "br", "gzip, identity"]) {
        assert.strictEqual(yield* status({ "content-encoding": encoding }), 415, encoding)
      }
      for (const headers of [
        { "content-type": "application/json; charset=UTF-8" },
        { "content-encoding": "identity" }
      ]) {
        assert.strictEqual(yield* status(headers), 200, JSON.stringify(headers))
      }
    }).pipe(Effect.scoped)
  )

  it.live("is refused that is not UTF-8, over HTTP and by a function alike", () =>
    Effect.gen(function* () {
      const [url, handler] = [
        yield* listen({ runners: { desk } }, hello),
        yield* handling({ runners: { desk } }, hello)
      ]
      const body = Buffer.from('{ "input": "caf\xe9" }', "latin1")
      const headers = { "content-type": "application/json" }
      const sent = yield* Effect.promise(() => fetch(new URL("/runners/desk", url), { method: "POST", headers, body }))
      const called = yield* ask(handler, post("/runners/desk", "", {}, { body }))
      assert.deepStrictEqual([sent.status, called.status], [400, 400])
      assert.deepStrictEqual(yield* Effect.promise(() => sent.json()), called.body)
      assert.include(called.body.detail, "not in UTF-8")
    }).pipe(Effect.scoped)
  )

  it.live("that never comes to its end holds nothing back, and ends with the server", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const url = yield* Scope.provide(
        listen({ runners: { desk }, limits: { runs: 1 }, drain: "50 millis" }, hello),
        scope
      )
      const halves = Array.from({ length: 20 }, () => {
        const state = { isClosed: false }
        const socket = connect(Number(url.port), url.hostname)
        socket.on("error", () => {})
        socket.on("close", () => (state.isClosed = true))
        socket.write(
          `POST /runners/desk HTTP/1.1\r\nhost: ${url.host}\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"inp`
        )
        return state
      })
      const whole = raw(url, "/runners/desk", { input: "Hi" })
      yield* until(whole.isEnded)
      assert.strictEqual(whole.status(), 200)
      yield* Scope.close(scope, Exit.void)
      yield* until(() => halves.every(({ isClosed }) => isClosed), "the end of the halves")
    }).pipe(Effect.scoped)
  )
})

describe("an address", () => {
  it.live("with a character that no id has is refused at every route", () =>
    Effect.gen(function* () {
      const stores = Layer.mergeAll(hello, SessionStore.layerMemory, TraceStore.layerMemory)
      const handler = yield* handling({ runners: { desk } }, stores)
      for (const path of [
        "/runs/%00",
        "/sessions/a%00",
        "/sessions?after=%00",
        "/runners/%00/graph",
        "/traces?runner=%00"
      ]) {
        const { body, status } = yield* ask(handler, get(path))
        assert.deepStrictEqual([status, body.title], [400, "Bad Request"], path)
      }
    }).pipe(Effect.scoped)
  )
})

describe("what is not served", () => {
  it.live("is said to be so, over HTTP and by a function alike", () =>
    Effect.gen(function* () {
      const url = yield* listen({ runners: { desk } }, hello)
      const handler = yield* handling({ runners: { desk } }, hello)
      for (const [method, path, status, detail] of [
        ["GET", "/nothing", 404, "GET /runners lists what is"],
        ["GET", "/runners/desk/", 404, "Nothing is served here"],
        ["PUT", "/runners", 405, "takes GET"],
        ["GET", "/runners/desk", 405, "takes POST"],
        ["POST", "/runs/run_1", 405, "takes GET, DELETE"],
        ["GET", "/runs/%E0%A4%A", 400, "cannot be read"],
        ["GET", `/runs/${"x".repeat(5000)}`, 400, "cannot be read"]
      ] as const) {
        const answer = raw(url, path, undefined, { method })
        yield* until(answer.isEnded)
        const called = yield* ask(handler, get(path, {}, method))
        assert.deepStrictEqual([answer.status(), called.status], [status, status], path)
        assert.include(called.body.detail, detail)
        assert.deepStrictEqual(JSON.parse(answer.text()), called.body)
        if (status === 405) assert.include(detail, called.headers.get("allow")!)
      }
    }).pipe(Effect.scoped)
  )
})

it.live("an address that is not one of the web is read as far as its path", () =>
  Effect.gen(function* () {
    const stores = Layer.mergeAll(hello, SessionStore.layerMemory)
    const url = yield* listen({ runners: { desk }, playground: true }, stores)
    for (const path of ["/sessions?limit=1", "/"]) {
      const socket = connect(Number(url.port), url.hostname)
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      let text = ""
      socket.on("data", (chunk) => (text += String(chunk)))
      socket.write(`GET http://localhost:99999${path} HTTP/1.1\r\nhost: ${url.host}\r\n\r\n`)
      yield* until(() => text !== "")
      assert.match(text, /^HTTP\/1\.1 200 /, path)
    }
  }).pipe(Effect.scoped)
)

describe("a session", () => {
  it.live("with an id as long as it may be is read and removed by it", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { desk } }, Layer.merge(hello, SessionStore.layerMemory))
      for (const session of ["x".repeat(200), "💥".repeat(100), "漢".repeat(200)]) {
        yield* ask(handler, post("/runners/desk", { input: "Hi", session }))
        const path = `/sessions/${encodeURIComponent(session)}`
        assert.strictEqual((yield* ask(handler, get(path))).body.id, session)
        assert.strictEqual((yield* ask(handler, get(path, {}, "DELETE"))).status, 204)
        assert.strictEqual((yield* ask(handler, get(path))).status, 404)
      }
    }).pipe(Effect.scoped)
  )

  it.live("with an id that no store could keep is refused", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { desk } }, Layer.merge(hello, SessionStore.layerMemory))
      for (const session of ["", " ", "\u0000", "\ud800", "x".repeat(201), 5, null]) {
        const { body, status } = yield* ask(handler, post("/runners/desk", { input: "Hi", session }))
        assert.deepStrictEqual([status, body.part], [400, "session"], JSON.stringify(session))
      }
      for (const session of ["a/b", "../x", "💥", ".", "%2F", "a b", "a\nb"]) {
        assert.strictEqual((yield* ask(handler, post("/runners/desk", { input: "Hi", session }))).status, 200)
        const { body } = yield* ask(handler, get(`/sessions/${encodeURIComponent(session)}`))
        if (session !== ".") assert.strictEqual(body.id, session)
      }
    }).pipe(Effect.scoped)
  )

  it.live("of a client with a name is not come to by one without, which has sessions of its own", () =>
    Effect.gen(function* () {
      const bearer = (token: Redacted.Redacted<string>) =>
        Redacted.value(token) === "guest" ? true : Redacted.value(token)
      const handler = yield* handling({ runners: { desk }, bearer }, Layer.merge(hello, SessionStore.layerMemory))
      const alice = { authorization: "Bearer alice" }
      const guest = { authorization: "Bearer guest" }
      const said = post("/runners/desk", { input: "secret", session: "chat" }, alice)
      assert.strictEqual((yield* ask(handler, said)).status, 200)
      const foreign = post("/runners/desk", { input: "Hi", session: "alice/chat" }, guest)
      for (const request of [
        foreign,
        get("/sessions/alice%2Fchat", guest),
        get("/sessions/alice%2Fchat", guest, "DELETE")
      ]) {
        assert.strictEqual((yield* ask(handler, request)).status, 400)
      }
      const own = post("/runners/desk", { input: "mine", session: "chat" }, guest)
      assert.strictEqual((yield* ask(handler, own)).status, 200)
      const read = (headers: Record<string, string>) =>
        Effect.map(ask(handler, get("/sessions/chat", headers)), ({ body }) => body.messages[0].text)
      assert.deepStrictEqual([yield* read(alice), yield* read(guest)], ["secret", "mine"])
    }).pipe(Effect.scoped)
  )
})

describe("tokens", () => {
  it.live("are not guessed any faster than requests may come", () =>
    Effect.gen(function* () {
      const bearer = (token: Redacted.Redacted<string>) => Redacted.value(token) === "right"
      const limits = { rate: { requests: 3, per: "1 hour" } } as const
      const handler = yield* handling({ runners: { desk }, bearer, limits }, hello)
      const status = (token: string) =>
        Effect.map(ask(handler, get("/runners", { authorization: `Bearer ${token}` })), (answer) => answer.status)
      const guesses = [yield* status("a"), yield* status("b"), yield* status("c"), yield* status("d")]
      assert.deepStrictEqual(guesses, [401, 401, 401, 429])
      assert.strictEqual(yield* status("right"), 200)
    }).pipe(Effect.scoped)
  )
})

describe("the queue", () => {
  it.live("is left by a client that hangs up, whose place another one has at once", () =>
    Effect.gen(function* () {
      const { runner, state } = endless()
      const limits = { runs: 1, waiting: 2, wait: "1 minute" } as const
      const url = yield* listen({ runners: { endless: runner, desk }, limits }, hello)
      const first = raw(url, "/runners/endless", { input: "Hi" })
      yield* until(() => state.begun === 1)
      const ready = Effect.gen(function* () {
        const answer = raw(url, "/ready", undefined, { method: "GET" })
        yield* until(answer.isEnded)
        return answer.status()
      })
      const waiting = [1, 2].map(() => raw(url, "/runners/endless", { input: "Hi" }))
      while ((yield* ready) !== 503) yield* Effect.yieldNow
      for (const one of waiting) one.hangUp()
      while ((yield* ready) !== 200) yield* Effect.yieldNow
      const next = raw(url, "/runners/desk", { input: "Hi" })
      first.hangUp()
      yield* until(next.isEnded)
      assert.deepStrictEqual([next.status(), state.begun, state.ended], [200, 1, 1])
    }).pipe(Effect.scoped)
  )
})

describe("a run", () => {
  it.live("is not followed from beyond its last event", () =>
    Effect.gen(function* () {
      const { runner } = endless()
      const handler = yield* handling({ runners: { endless: runner, desk } }, hello)
      const begun = yield* ask(handler, post("/runners/endless", { input: "Hi", detached: true }))
      const done = yield* ask(handler, post("/runners/desk", { input: "Hi" }))
      for (const { runId } of [begun.body, done.body]) {
        const beyond = get(`/runs/${runId}/stream`, { "last-event-id": `${runId}:999999` })
        const { body, status } = yield* ask(handler, beyond)
        assert.strictEqual(status, 400)
        assert.include(body.detail, "after the last event")
      }
    }).pipe(Effect.scoped)
  )

  it.live("has no more than some messages that wait for it", () =>
    Effect.gen(function* () {
      const { runner } = endless()
      const handler = yield* handling({ runners: { endless: runner } }, Layer.empty)
      const { body } = yield* ask(handler, post("/runners/endless", { input: "Hi", detached: true }))
      const statuses: Array<number> = []
      const send = () =>
        handler(post(`/runs/${body.runId}/input`, { input: "More" })).then(({ status }) => statuses.push(status))
      for (let n = 0; n < 70; n++) void send()
      yield* until(() => statuses.length === 6, "the refusals")
      assert.deepStrictEqual(new Set(statuses), new Set([429]))
      // Those that wait hear that the run ended without them.
      yield* ask(handler, get(`/runs/${body.runId}`, {}, "DELETE"))
      yield* until(() => statuses.length === 70, "the answers")
      assert.deepStrictEqual(new Set(statuses), new Set([429, 200]))
    }).pipe(Effect.scoped)
  )

  it.live("is not gone on with as one of another runner", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { payer, guide, chain } }, asks)
      const user = { role: "user", content: "Where am I?" }
      const asked = yield* ask(handler, post("/v1/chat/completions", { model: "guide", messages: [user] }))
      const { message } = asked.body.choices[0]
      const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: '{"city":"Rome"}' }
      const messages = [user, message, result]
      for (const [name, status] of [
        ["payer", 409],
        ["guide", 200]
      ] as const) {
        const { status: seen } = yield* ask(handler, post("/v1/chat/completions", { model: name, messages }))
        assert.strictEqual(seen, status, name)
      }
      const part = { type: "text", text: "Pay" }
      const paying = yield* ask(handler, post("/ui/payer", { messages: [{ id: "1", role: "user", parts: [part] }] }))
      const found = (name: string) => new RegExp(`"${name}":"([^"]+)"`).exec(paying.text)![1]!
      const approved = {
        id: found("messageId"),
        role: "assistant",
        parts: [
          {
            type: "dynamic-tool",
            toolCallId: found("toolCallId"),
            state: "approval-responded",
            approval: { id: found("approvalId"), approved: true }
          }
        ]
      }
      for (const [name, status] of [
        ["guide", 409],
        ["payer", 200]
      ] as const) {
        const answer = yield* ask(handler, post(`/ui/${name}`, { messages: [approved] }))
        assert.strictEqual(answer.status, status, answer.text)
      }
    }).pipe(Effect.scoped)
  )
})

describe("a run that waits, and is given up,", () => {
  const rpc = (method: string, params: object) => ({ jsonrpc: "2.0", id: 1, method, params })

  it.live("takes no answer any more, by its id or by its session", () =>
    Effect.gen(function* () {
      paid.length = 0
      const handler = yield* handling({ runners: { payer } }, Layer.merge(asks, SessionStore.layerMemory))
      const { body } = yield* ask(handler, post("/runners/payer", { input: "Pay", session: "chat" }))
      const { runId, waitingFor } = body
      const answers = { [waitingFor[0].id]: { approved: true } }
      assert.strictEqual((yield* ask(handler, get(`/runs/${runId}`, {}, "DELETE"))).status, 204)
      assert.strictEqual((yield* ask(handler, get(`/runs/${runId}`))).body.status, "interrupted")
      assert.deepStrictEqual((yield* ask(handler, get(`/runs/${runId}/approvals`))).body.waitingFor, [])
      for (const [path, given] of [
        [`/runs/${runId}/approvals`, answers],
        [`/runs/${runId}/input`, { answers }],
        ["/runners/payer", { answers, session: "chat" }]
      ] as const) {
        assert.strictEqual((yield* ask(handler, post(path, given))).status, 409, path)
      }
      assert.deepStrictEqual(paid, [])
      assert.strictEqual((yield* ask(handler, post("/runners/payer", { input: "Pay", session: "chat" }))).status, 202)
    }).pipe(Effect.scoped)
  )

  it.live("is given up whole by the next request, where its session could not be for now", () =>
    Effect.gen(function* () {
      const store = Context.get(yield* Layer.build(SessionStore.layerMemory), SessionStore.SessionStore)
      const busy = new RunError.SessionConflict({ session: "chat", reason: "busy", expectedSeq: 0 })
      let isBusy = false
      const service = SessionStore.SessionStore.of({
        ...store,
        append: (id, entry) => Effect.suspend(() => (isBusy ? Effect.fail(busy) : store.append(id, entry)))
      })
      const live = Layer.merge(asks, Layer.succeed(SessionStore.SessionStore, service))
      const handler = yield* handling({ runners: { payer } }, live)
      for (const give of [
        (runId: string) =>
          Effect.map(ask(handler, get(`/runs/${runId}`, {}, "DELETE")), ({ status }) => status === 204),
        (id: string) =>
          Effect.map(ask(handler, post("/a2a/payer", rpc("CancelTask", { id }))), ({ body }) => "result" in body)
      ]) {
        const { body } = yield* ask(handler, post("/runners/payer", { input: "Pay", session: "chat" }))
        isBusy = true
        assert.isFalse(yield* give(body.runId))
        isBusy = false
        assert.isTrue(yield* give(body.runId))
        assert.deepStrictEqual((yield* ask(handler, get("/sessions/chat"))).body.waitingFor ?? [], [])
        assert.strictEqual((yield* ask(handler, get(`/runs/${body.runId}`))).body.status, "interrupted")
      }
    }).pipe(Effect.scoped)
  )

  it.live("as a task of A2A takes no answer by any other route either", () =>
    Effect.gen(function* () {
      paid.length = 0
      const handler = yield* handling({ runners: { payer } }, asks)
      const message = { messageId: "m", role: "ROLE_USER", parts: [{ text: "Pay" }] }
      const { body } = yield* ask(handler, post("/a2a/payer", rpc("SendMessage", { message })))
      const { id } = body.result.task
      const { body: asked } = yield* ask(handler, get(`/runs/${id}/approvals`))
      const canceled = yield* ask(handler, post("/a2a/payer", rpc("CancelTask", { id })))
      assert.strictEqual(canceled.body.result.status.state, "TASK_STATE_CANCELED")
      const answers = { [asked.waitingFor[0].id]: { approved: true } }
      assert.strictEqual((yield* ask(handler, post(`/runs/${id}/approvals`, answers))).status, 409)
      assert.deepStrictEqual(paid, [])
    }).pipe(Effect.scoped)
  )

  it.live("is not shown as waiting once it was answered", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { payer } }, asks)
      const { body } = yield* ask(handler, post("/runners/payer", { input: "Pay" }))
      const path = `/runs/${body.runId}/approvals`
      assert.lengthOf((yield* ask(handler, get(path))).body.waitingFor, 1)
      yield* ask(handler, post(path, { [body.waitingFor[0].id]: { approved: true } }))
      assert.deepStrictEqual((yield* ask(handler, get(path))).body.waitingFor, [])
    }).pipe(Effect.scoped)
  )
})

describe("a page of another origin", () => {
  it.live("that may call may send what an SDK sends of its own, and one that may not is not let on", () =>
    Effect.gen(function* () {
      const handler = yield* handling({ runners: { desk }, cors: ["https://app.example"] }, hello)
      const sent = "authorization,content-type,x-stainless-lang,a2a-version"
      const asking = (origin: string, headers: string) =>
        ask(handler, get("/v1/chat/completions", { origin, "access-control-request-headers": headers }, "OPTIONS"))
      const allowed = yield* asking("https://app.example", sent)
      assert.strictEqual(allowed.headers.get("access-control-allow-headers"), sent)
      assert.strictEqual(allowed.headers.get("access-control-allow-origin"), "https://app.example")
      const odd = yield* asking("https://app.example", "a;b")
      assert.notInclude(odd.headers.get("access-control-allow-headers")!, ";")
      assert.isNull((yield* asking("https://evil.example", sent)).headers.get("access-control-allow-origin"))
    }).pipe(Effect.scoped)
  )
})

describe("a WebSocket", () => {
  interface Opened {
    readonly socket: WebSocket
    readonly messages: Array<{ readonly [key: string]: unknown }>
    closed: number
  }
  const open = (url: URL, path: string) =>
    Effect.gen(function* () {
      const socket = new WebSocket(`ws://${url.host}${path}`)
      const state: Opened = { socket, messages: [], closed: 0 }
      socket.addEventListener("message", ({ data }) => state.messages.push(JSON.parse(String(data))))
      socket.addEventListener("close", ({ code }) => (state.closed = code))
      socket.addEventListener("error", () => (state.closed ||= 1))
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.close()))
      yield* until(() => socket.readyState !== WebSocket.CONNECTING)
      return state
    })

  it.live("that says nothing, and one whose run goes on forever, do not keep a server from ending", () =>
    Effect.gen(function* () {
      const { runner, state } = endless()
      const scope = yield* Scope.make()
      const url = yield* Scope.provide(
        listen({ runners: { endless: runner }, drain: "100 millis" }, Layer.empty),
        scope
      )
      const silent = yield* open(url, "/runners/endless/ws")
      const busy = yield* open(url, "/runners/endless/ws")
      busy.socket.send(JSON.stringify({ input: "Hi", detached: true }))
      yield* until(() => state.begun === 1)
      const ending = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* until(() => silent.closed !== 0)
      assert.deepInclude(silent.messages[0], { _tag: "Problem", status: 503 })
      yield* until(() => busy.closed !== 0)
      yield* until(() => ending.pollUnsafe() !== undefined, "the end of the server")
      assert.strictEqual(state.ended, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is closed by a message that is larger than any that is read", () =>
    Effect.gen(function* () {
      const url = yield* listen({ runners: { desk }, limits: { body: 1000 } }, hello)
      const refused = yield* open(url, "/runners/desk/ws")
      refused.socket.send(JSON.stringify({ input: "x".repeat(2000) }))
      yield* until(() => refused.closed !== 0)
      assert.deepInclude(refused.messages[0], { _tag: "Problem", status: 413 })
      const cut = yield* open(url, "/runners/desk/ws")
      cut.socket.send(JSON.stringify({ input: "x".repeat(100_000) }))
      yield* until(() => cut.closed !== 0)
      assert.deepStrictEqual([cut.messages, cut.closed], [[], 1009])
    }).pipe(Effect.scoped)
  )

  it.live("that sends more messages than may wait for its run is closed, and says so", () =>
    Effect.gen(function* () {
      const { runner, state } = endless()
      const url = yield* listen({ runners: { endless: runner } }, Layer.empty)
      const flood = yield* open(url, "/runners/endless/ws")
      flood.socket.send(JSON.stringify({ input: "Hi" }))
      yield* until(() => state.begun === 1)
      for (let n = 0; n < 65; n++) flood.socket.send(JSON.stringify({ input: "More" }))
      yield* until(() => flood.closed !== 0)
      assert.deepInclude(flood.messages.at(-1), { _tag: "Problem", status: 429 })
      yield* until(() => state.ended === 1, "the end of the run")
    }).pipe(Effect.scoped)
  )

  it.live("is closed by a message that it does not know, and bears any bytes", () =>
    Effect.gen(function* () {
      const { runner } = endless()
      const url = yield* listen({ runners: { endless: runner } }, Layer.empty)
      for (const message of [
        "null",
        "5",
        "[]",
        "{",
        '{"interrupt":false}',
        '{"seen":"all"}',
        '{"input":{"role":"system"}}'
      ]) {
        const state = yield* open(url, "/runners/endless/ws")
        state.socket.send(JSON.stringify({ input: "Hi" }))
        yield* until(() => state.messages.length > 0)
        state.socket.send(message)
        yield* until(() => state.closed !== 0)
        assert.deepInclude(state.messages.at(-1), { _tag: "Problem", status: 400 }, message)
      }
      const key = "AAAAAAAAAAAAAAAAAAAAAA=="
      const head = `GET /runners/endless/ws HTTP/1.1\r\nhost: ${url.host}\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`
      for (const bytes of [
        Buffer.from("garbage that is not a frame"),
        // A text that is not masked, one that is not UTF-8, one of a terabyte, and a close with a code that is not one.
        Buffer.from([0x81, 2, 123, 125]),
        Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]),
        Buffer.from([0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 123]),
        Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0, 1])
      ]) {
        const socket = connect(Number(url.port), url.hostname)
        let isClosed = false
        socket.on("error", () => {})
        socket.on("close", () => (isClosed = true))
        // The server says why, and waits until it is read.
        socket.resume()
        socket.write(head)
        socket.write(bytes)
        yield* until(() => isClosed || socket.readableEnded, "the end of the socket")
        socket.destroy()
      }
      const answer = raw(url, "/ready", undefined, { method: "GET" })
      yield* until(answer.isEnded)
      assert.strictEqual(answer.status(), 200)
    }).pipe(Effect.scoped)
  )

  it.live("has its turns kept as those of their session", () =>
    Effect.gen(function* () {
      const stores = Layer.mergeAll(hello, SessionStore.layerMemory, TraceStore.layerMemory)
      const url = yield* listen({ runners: { desk } }, stores)
      const state = yield* open(url, "/runners/desk/ws")
      state.socket.send(JSON.stringify({ input: "Hi", session: "chat" }))
      yield* until(() => state.closed !== 0)
      const kept = () => {
        const answer = raw(url, "/traces?session=chat", undefined, { method: "GET" })
        return Effect.map(until(answer.isEnded), () => (JSON.parse(answer.text()) as { runs: Array<unknown> }).runs)
      }
      while ((yield* kept()).length === 0) yield* Effect.yieldNow
      assert.lengthOf(yield* kept(), 1)
    }).pipe(Effect.scoped)
  )
})

it.live("a handshake that is not one of a WebSocket is refused as any other request is", () =>
  Effect.gen(function* () {
    const url = yield* listen({ runners: { desk } }, hello)
    const whole = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" }
    const key = "AAAAAAAAAAAAAAAAAAAAAA=="
    for (const headers of [
      whole,
      { ...whole, "sec-websocket-key": "short" },
      { ...whole, "sec-websocket-key": key, "sec-websocket-version": "7" }
    ]) {
      const answer = raw(url, "/runners/desk/ws", undefined, { method: "GET", headers })
      yield* until(answer.isEnded)
      assert.strictEqual(answer.status(), 400)
      assert.strictEqual(answer.headers()["content-type"], "application/problem+json")
    }
  }).pipe(Effect.scoped)
)

it.live("requests one after the other on one socket are answered in their order, one that is refused too", () =>
  Effect.gen(function* () {
    const url = yield* listen({ runners: { desk } }, hello)
    const socket = connect(Number(url.port), url.hostname)
    let text = ""
    socket.on("error", () => {})
    socket.on("data", (chunk) => (text += String(chunk)))
    yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
    const body = '{"input":"Hi"}'
    const head = `host: ${url.host}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`
    const asked = (name: string) => `POST /runners/${name} HTTP/1.1\r\n${head}\r\n\r\n${body}`
    socket.write([asked("desk"), asked("other"), asked("desk")].join(""))
    const statuses = () => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
    yield* until(() => statuses().length === 3)
    assert.deepStrictEqual(statuses(), ["200", "404", "200"])
  }).pipe(Effect.scoped)
)

it.live("a client that offers HTTP/2 is answered as any other, on a socket that stays", () =>
  Effect.gen(function* () {
    const url = yield* listen({ runners: { desk } }, hello)
    const socket = connect(Number(url.port), url.hostname)
    let text = ""
    socket.on("error", () => {})
    socket.on("data", (chunk) => (text += String(chunk)))
    yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
    const offer = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQBAAAAAAIAAAAA\r\n"
    const asked = `POST /runners/desk HTTP/1.1\r\nhost: ${url.host}\r\ncontent-type: application/json\r\n${offer}`
    const chunked = 'transfer-encoding: chunked\r\n\r\ne\r\n{"input":"Hi"}\r\n0\r\n\r\n'
    const statuses = () => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
    for (const rest of ['content-length: 14\r\n\r\n{"input":"Hi"}', chunked]) {
      const before = statuses().length
      socket.write(`${asked}${rest}`)
      yield* until(() => statuses().length > before || socket.destroyed)
    }
    assert.deepStrictEqual(statuses(), ["200", "200"])
  }).pipe(Effect.scoped)
)

describe("what goes wrong within", () => {
  it.live("is answered without a word of it", () =>
    Effect.gen(function* () {
      const dies = Runner.make("dies", { run: (): Effect.Effect<string> => Effect.die(new Error("/etc/s3cr3t")) })
      const handler = yield* handling({ runners: { dies } }, Layer.empty)
      for (const request of [
        post("/runners/dies", { input: "Hi" }),
        post("/runners/dies/stream", { input: "Hi" }),
        post("/v1/chat/completions", { model: "dies", messages: [{ role: "user", content: "Hi" }] }),
        post("/ui/dies", { messages: [{ id: "1", role: "user", parts: [{ type: "text", text: "Hi" }] }] })
      ]) {
        const { text } = yield* ask(handler, request)
        assert.notInclude(text, "s3cr3t", request.url)
        assert.match(text, /failed|error/i)
      }
    }).pipe(Effect.scoped)
  )
})
