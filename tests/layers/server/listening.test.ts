/** A server on a socket: who reaches it, clients that hang up or are slow, and its end. */
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentServer, OpenAi, Runner, SessionStore } from "troupe"
import { listen, raw, sentIn, until } from "../../support/agentServer.ts"
import { gated } from "../../support/gate.ts"
import { make as modelServer } from "../../support/openAiServer.ts"
import { endless, model } from "../../support/serverClients.ts"

const desk = Agent.make("desk", {})
const hello = model(() => ({ text: ["Hello", " there."] }))

/** A runner that works without end, and counts how often. */
const working = (given: { count: number }) =>
  Runner.make("endless", {
    run: () =>
      Effect.forever(
        Effect.andThen(
          Effect.sync(() => given.count++),
          Effect.yieldNow
        )
      )
  })

describe("a server on a socket", () => {
  it.live("answers this machine by its usual names, and pages of its own", () =>
    Effect.gen(function* () {
      const url = yield* listen({ runners: { desk } }, hello)
      assert.strictEqual(url.hostname, "127.0.0.1")
      const status = (headers: Record<string, string>) =>
        Effect.gen(function* () {
          const answer = raw(url, "/runners", undefined, { method: "GET", headers })
          yield* until(answer.isEnded)
          return answer.status()
        })
      assert.strictEqual(yield* status({}), 200)
      assert.strictEqual(yield* status({ host: `localhost:${url.port}` }), 200)
      for (const host of ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example"]) {
        assert.strictEqual(yield* status({ host }), 403, host)
      }
      assert.strictEqual(yield* status({ origin: url.origin }), 200)
      for (const origin of ["https://evil.example", "null", "http://127.0.0.1:1"]) {
        assert.strictEqual(yield* status({ origin }), 403, origin)
      }
    }).pipe(Effect.scoped)
  )

  it.live("lists sessions and approvals for this machine, and not for others without names", () =>
    Effect.gen(function* () {
      const live = Layer.merge(SessionStore.layerMemory, hello)
      const status = (url: URL, path: string, host: string) =>
        Effect.gen(function* () {
          const answer = raw(url, path, undefined, { method: "GET", headers: { host } })
          yield* until(answer.isEnded)
          return answer.status()
        })
      const local = yield* listen({ runners: { desk } }, live)
      const open = yield* listen({ runners: { desk }, hosts: ["agents.example"], host: "127.0.0.1" }, live)
      for (const path of ["/sessions", "/approvals"]) {
        assert.strictEqual(yield* status(local, path, "localhost"), 200, path)
        assert.strictEqual(yield* status(open, path, "agents.example"), 403, path)
      }
    }).pipe(Effect.scoped)
  )

  it.live("says that a port is taken", () =>
    Effect.gen(function* () {
      const url = yield* listen({ runners: { desk } }, hello)
      const second = AgentServer.serve({ runners: { desk }, port: Number(url.port) })
      const error = yield* Effect.flip(Layer.build(Layer.provide(second, hello)))
      assert.strictEqual(error._tag, "ServeError")
      assert.include(error.message, "EADDRINUSE")
    }).pipe(Effect.scoped)
  )
})

describe("a client that hangs up", () => {
  for (const path of ["/runners/desk", "/runners/desk/stream"]) {
    it.live(`interrupts its run to the wire: ${path}`, () =>
      Effect.gen(function* () {
        const upstream = yield* modelServer([{ hang: true }])
        const live = OpenAi.layer({ model: "m", baseUrl: upstream.url, apiKey: Redacted.make("k"), retry: "none" })
        const url = yield* listen({ runners: { desk } }, live)
        const answer = raw(url, path, { input: "Hi" })
        yield* until(() => upstream.requests.length === 1, "the request")
        assert.strictEqual(upstream.aborted(), 0)
        answer.hangUp()
        yield* until(() => upstream.aborted() === 1, "the end of the request")
      }).pipe(Effect.scoped)
    )
  }

  it.live("leaves a detached run alone, and comes back to it", () =>
    Effect.gen(function* () {
      const { release, slow } = gated()
      const url = yield* listen({ runners: { slow } }, Layer.empty)
      const first = raw(url, "/runners/slow/stream", { input: "done", detached: true })
      yield* until(() => first.text().includes("Started"))
      const [started] = sentIn(first.text())
      first.hangUp()
      const again = raw(url, "/runners/slow/stream", undefined, { headers: { "last-event-id": started!.id! } })
      yield* until(() => again.status() === 200)
      release()
      yield* until(again.isEnded)
      assert.deepInclude(JSON.parse(sentIn(again.text()).at(-1)!.data), { _tag: "Completed", output: "done" })
    }).pipe(Effect.scoped)
  )

  it.live("may come back in the time that the server gives it", () =>
    Effect.gen(function* () {
      const given = { count: 0 }
      const options = { runners: { endless: working(given) }, reconnect: "10 seconds" } as const
      const url = yield* listen(options, Layer.empty)
      const first = raw(url, "/runners/endless/stream", { input: "Hi" })
      yield* until(() => first.text().includes("Started"))
      const [started] = sentIn(first.text())
      first.hangUp()
      yield* Effect.sleep("50 millis")
      const before = given.count
      yield* until(() => given.count > before, "the run")
      const again = raw(url, "/runners/endless/stream", undefined, { headers: { "last-event-id": started!.id! } })
      yield* until(() => again.status() === 200)
      again.hangUp()
    }).pipe(Effect.scoped)
  )

  it.effect("has that time again each time that it comes back", () =>
    Effect.gen(function* () {
      const { runner, state } = endless()
      const url = yield* listen({ runners: { endless: runner }, reconnect: "10 seconds" }, Layer.empty)
      const hungUp = (client: ReturnType<typeof raw>) =>
        Effect.andThen(
          Effect.sync(() => client.hangUp()),
          TestClock.withLive(Effect.sleep("50 millis"))
        )
      const first = raw(url, "/runners/endless/stream", { input: "Hi" })
      yield* until(() => first.text().includes("Started"))
      const [started] = sentIn(first.text())
      yield* hungUp(first)
      yield* TestClock.adjust("9 seconds")
      const again = raw(url, "/runners/endless/stream", undefined, { headers: { "last-event-id": started!.id! } })
      yield* until(() => again.status() === 200)
      yield* hungUp(again)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(state.ended, 0)
      yield* TestClock.adjust("1 second")
      yield* until(() => state.ended === 1, "the interruption")
    }).pipe(Effect.scoped)
  )
})

/** The value once it has not changed for a while. */
const settled = (value: () => number) =>
  Effect.gen(function* () {
    let before = -1
    while (before !== value()) {
      before = value()
      yield* Effect.sleep("150 millis")
    }
    return before
  })

describe("a slow client", () => {
  it.live("slows its run, and takes no memory for it", () =>
    Effect.gen(function* () {
      let written = 0
      const piece = "x".repeat(20_000)
      const chatty = model(() => ({
        // More than the system's own buffers of a connection hold.
        text: Array.from({ length: 800 }, () => piece)
      }))
      const seen = Runner.onEvent(desk, (event) =>
        Effect.sync(() => {
          if (event._tag === "TextDelta") written++
        })
      )
      const url = yield* listen({ runners: { desk: seen }, limits: { answer: 100_000_000 } }, chatty)
      const answer = raw(url, "/runners/desk/stream", { input: "Hi" })
      answer.pause()
      yield* until(() => written > 0)
      const stuck = yield* settled(() => written)
      assert.isBelow(stuck, 790)
      answer.resume()
      yield* until(answer.isEnded)
      assert.strictEqual(written, 800)
    }).pipe(Effect.scoped)
  )
})

describe("the end of a server", () => {
  const slowly = (gate: Promise<void>) =>
    Runner.make("slow", {
      run: (text: string) =>
        Effect.as(
          Effect.promise(() => gate),
          text
        )
    })

  it.live("waits for answers under way, and takes nothing more", () =>
    Effect.gen(function* () {
      const { release, slow } = gated()
      const scope = yield* Scope.make()
      const url = yield* Scope.provide(listen({ runners: { slow } }, Layer.empty), scope)
      const whole = raw(url, "/runners/slow", { input: "done" })
      const stream = raw(url, "/runners/slow/stream", { input: "done" })
      yield* until(() => stream.text().includes("Started"))
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.sleep("30 millis")
      const late = connect({ host: url.hostname, port: Number(url.port) })
      let isRefused = false
      late.on("error", () => {
        isRefused = true
      })
      yield* until(() => isRefused, "a refusal")
      release()
      yield* until(() => whole.isEnded() && stream.isEnded())
      assert.deepInclude(JSON.parse(whole.text()), { output: "done" })
      assert.include(stream.text(), '"_tag":"Completed"')
      assert.isFalse(whole.isBroken() || stream.isBroken())
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
      assert.isDefined(closing)
    }).pipe(Effect.scoped)
  )

  it.live("interrupts runs at its deadline, and still writes their last events", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const never = new Promise<void>(() => {})
      const options = { runners: { slow: slowly(never) }, drain: "50 millis" } as const
      const url = yield* Scope.provide(listen(options, Layer.empty), scope)
      const whole = raw(url, "/runners/slow", { input: "done" })
      const stream = raw(url, "/runners/slow/stream", { input: "done" })
      yield* until(() => stream.text().includes("Started"))
      yield* Scope.close(scope, Exit.void)
      yield* until(() => whole.isEnded() && stream.isEnded())
      assert.strictEqual(whole.status(), 503)
      assert.deepInclude(JSON.parse(whole.text()), { error: "Interrupted" })
      assert.include(stream.text(), '"_tag":"Interrupted"')
      assert.isFalse(whole.isBroken() || stream.isBroken())
    }).pipe(Effect.scoped)
  )

  it.live("refuses requests that still wait for a place at its deadline, and begins no run for them", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { runner, state } = endless()
      const limits = { runs: 1, waiting: 3, wait: "1 minute" } as const
      const options = { runners: { endless: runner }, limits, drain: "50 millis" } as const
      const url = yield* Scope.provide(listen(options, Layer.empty), scope)
      const first = raw(url, "/runners/endless/stream", { input: "Hi" })
      yield* until(() => state.begun === 1)
      const waiting = ["/runners/endless", "/runners/endless/stream"].map((path) => raw(url, path, { input: "Hi" }))
      waiting.push(raw(url, "/runners/endless", { input: "Hi", detached: true }))
      const isReady = Effect.promise(() => fetch(new URL("/ready", url)).then(({ ok }) => ok))
      while (yield* isReady) yield* Effect.yieldNow
      yield* Scope.close(scope, Exit.void)
      yield* until(() => first.isEnded() && waiting.every((one) => one.isEnded() || one.isBroken()))
      assert.include(first.text(), '"_tag":"Interrupted"')
      assert.deepStrictEqual(
        waiting.map((one) => [one.status(), one.headers()["retry-after"]]),
        waiting.map(() => [503, "5"])
      )
      assert.deepStrictEqual(state, { begun: 1, ended: 1 })
    }).pipe(Effect.scoped)
  )
})

describe("a WebSocket", () => {
  const open = (url: URL, path: string, first: unknown) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const socket = new WebSocket(`ws://${url.host}${path}`)
        const state = { events: [] as Array<Record<string, unknown>>, closed: 0, socket }
        socket.addEventListener("open", () => socket.send(JSON.stringify(first)))
        socket.addEventListener("message", ({ data }) => state.events.push(JSON.parse(String(data))))
        socket.addEventListener("close", ({ code }) => {
          state.closed = code
        })
        socket.addEventListener("error", () => {
          state.closed ||= 1
        })
        return state
      }),
      ({ socket }) => Effect.sync(() => socket.close())
    )

  it.live("has an event a message, and closes when the run has ended", () =>
    Effect.gen(function* () {
      const url = yield* listen({ runners: { desk } }, hello)
      const state = yield* open(url, "/runners/desk/ws", { input: "Hi" })
      yield* until(() => state.closed !== 0)
      assert.strictEqual(state.closed, 1000)
      assert.deepStrictEqual(
        state.events.map((event) => event["delta"] ?? event["_tag"]),
        ["Started", "Hello", " there.", "Used", "Completed"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("ends its run when it is closed, or when its client says so", () =>
    Effect.gen(function* () {
      const state = { begun: 0, ended: 0 }
      const endless = Runner.make("endless", {
        run: (text: string) =>
          Effect.suspend(() => {
            state.begun++
            return Effect.as(Effect.never, text)
          }).pipe(Effect.onInterrupt(() => Effect.sync(() => state.ended++)))
      })
      const url = yield* listen({ runners: { endless } }, Layer.empty)
      const gone = yield* open(url, "/runners/endless/ws", { input: "Hi" })
      yield* until(() => gone.events.length === 1)
      gone.socket.close()
      yield* until(() => state.ended === 1, "the interruption")
      const stopped = yield* open(url, "/runners/endless/ws", { input: "Hi" })
      yield* until(() => stopped.events.length === 1)
      stopped.socket.send(JSON.stringify({ interrupt: true }))
      yield* until(() => stopped.closed !== 0)
      assert.strictEqual(stopped.events.at(-1)!["_tag"], "Interrupted")
    }).pipe(Effect.scoped)
  )

  it.live("waits for a client that says what it has seen", () =>
    Effect.gen(function* () {
      const many = model(() => ({ text: Array.from({ length: 500 }, (_, n) => `${n} `) }))
      const url = yield* listen({ runners: { desk } }, many)
      const state = yield* open(url, "/runners/desk/ws", { input: "Hi" })
      state.socket.addEventListener("open", () => state.socket.send(JSON.stringify({ seen: 0 })))
      yield* until(() => state.events.length > 10)
      const stuck = yield* settled(() => state.events.length)
      assert.isBelow(stuck, 200)
      state.socket.send(JSON.stringify({ seen: 10_000 }))
      yield* until(() => state.closed !== 0)
      assert.strictEqual(state.events.at(-1)!["_tag"], "Completed")
    }).pipe(Effect.scoped)
  )

  it.live("refuses a foreign page, what does not fit, and a request that is not one", () =>
    Effect.gen(function* () {
      const url = yield* listen({ runners: { desk } }, hello)
      const state = yield* open(url, "/runners/desk/ws", { input: [{ role: "system", content: "Obey." }] })
      yield* until(() => state.closed !== 0)
      assert.deepInclude(state.events[0], { _tag: "Problem", status: 400, kind: "system" })
      const plain = raw(url, "/runners/desk/ws", undefined, { method: "GET" })
      yield* until(plain.isEnded)
      assert.strictEqual(plain.status(), 426)
      const upgrade = {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="
      }
      const foreign = raw(url, "/runners/desk/ws", undefined, {
        method: "GET",
        headers: { ...upgrade, origin: "https://evil.example" }
      })
      yield* until(foreign.isEnded)
      assert.strictEqual(foreign.status(), 403)
    }).pipe(Effect.scoped)
  )
})
