/** The laws of sessions: what holds for every store. */
import { assert, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, type Layer, Schema } from "effect"
import { AiError, Prompt } from "effect/ai"
import {
  Agent,
  AgentTool,
  Approvals,
  Chain,
  Compaction,
  EvaluatorOptimizer,
  Middleware,
  RunError,
  Runner,
  Session,
  SessionStore,
  Telemetry,
  TestModel,
  Transcript
} from "troupe"

type Store = Layer.Layer<SessionStore.SessionStore, unknown>

/** One model for all laws: it answers with how many messages of the user it was sent, and the last one. */
const echo = TestModel.layer(
  ({ prompt }) => {
    const texts = textsOf(prompt)
    const last = texts.at(-1) ?? ""
    if (last === "fail") return { fail: new AiError.InvalidRequestError({ description: "no" }) }
    if (last === "hang") return { hang: true }
    const results = prompt.content.filter(({ role }) => role === "tool").length
    if (last === "pay" && prompt.content.at(-1)?.role !== "tool") return TestModel.toolCall("pay", { to: "x" })
    if (last.startsWith("tool") && prompt.content.at(-1)?.role !== "tool")
      return TestModel.toolCall("note", { text: last })
    if (last === "tool, then fail") return { fail: new AiError.InvalidRequestError({ description: "no" }) }
    if (last === "tool, then hang") return { hang: true }
    if (last === "tool, then pay" && results === 1) return TestModel.toolCall("pay", { to: "x" })
    return `${texts.length}/${results}: ${last}`
  },
  { unused: "ignore" }
)

const textsOf = (prompt: Prompt.Prompt) =>
  prompt.content.flatMap((message) =>
    message.role === "user" ? message.content.flatMap((part) => (part.type === "text" ? [part.text] : [])) : []
  )

const note = AgentTool.fromFunction("note", {
  description: "Notes a text",
  parameters: Schema.Struct({ text: Schema.String }),
  execute: ({ text }) => `noted ${text}`
})
const clerk = Agent.make("clerk", { tools: [note] })
const chatOf = (id: string, options?: Session.Options) => Session.of(clerk, id, options)
const conflictOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof RunError.SessionConflict ? Effect.succeed(error.reason) : Effect.die(error)
  )
const roles = (history: Prompt.Prompt) => history.content.map(({ role }) => role)

let count = 0
/** An id that no other law has. */
const fresh = (name: string) => `${name}-${++count}`

/** `connect` gives another connection to the same store each time; a store that has only one gives `undefined`. */
export const sessionLaws = (store: Store, connect?: () => Store): void => {
  const law = <A, E>(name: string, effect: () => Effect.Effect<A, E, Needs>) =>
    it.live(name, () =>
      effect().pipe(Effect.provide([store, echo]), Effect.provideService(Telemetry.LogFailures, false))
    )
  turnLaws(law)
  orderLaws(law)
  managementLaws(law)
  leaseLaws(law)
  stepLaws(law)
  waitingLaws(law)
  foreignLaws(law)
  if (connect !== undefined) sharedLaws(law, connect)
}

type Needs = SessionStore.SessionStore | Layer.Success<typeof echo>
type Law = <A, E>(name: string, effect: () => Effect.Effect<A, E, Needs>) => void

const turnLaws = (law: Law): void => {
  law("a turn goes on from the turns before it, and other sessions do not", () =>
    Effect.gen(function* () {
      const [a, b] = [chatOf(fresh("a")), chatOf(fresh("b"))]
      assert.strictEqual(yield* a.run("one"), "1/0: one")
      assert.strictEqual(yield* a.run("two"), "2/0: two")
      assert.strictEqual(yield* b.run("other"), "1/0: other")
      assert.strictEqual(yield* a.run("three"), "3/0: three")
    })
  )

  law("the history is what was said, tool calls and results included", () =>
    Effect.gen(function* () {
      const id = fresh("history")
      assert.deepStrictEqual((yield* SessionStore.history(id)).content, [])
      yield* chatOf(id).run("tool")
      yield* chatOf(id).run("more")
      const history = yield* SessionStore.history(id)
      assert.deepStrictEqual(roles(history), ["user", "assistant", "tool", "assistant", "user", "assistant"])
      assert.deepStrictEqual(
        Transcript.toolCalls(history).map(({ result, status }) => ({ result, status })),
        [{ result: "noted tool", status: "completed" }]
      )
      assert.strictEqual(Transcript.answer(history), "2/1: more")
    })
  )

  law("the conversation of a result and of the next turn are the same as in the store", () =>
    Effect.gen(function* () {
      const id = fresh("same")
      yield* chatOf(id).run("one")
      const { transcript } = yield* chatOf(id).result("tool")
      const encode = Schema.encodeSync(Prompt.Prompt)
      assert.deepStrictEqual(encode(yield* SessionStore.history(id)), encode(transcript))
    })
  )

  for (const [input, kept] of [
    ["fail", []],
    ["tool, then fail", ["user", "assistant", "tool"]]
  ] as const) {
    law(`a turn that fails leaves nothing, or its completed steps: ${input}`, () =>
      Effect.gen(function* () {
        const id = fresh("failing")
        yield* Effect.flip(chatOf(id).run(input))
        assert.deepStrictEqual(roles(yield* SessionStore.history(id)), [])
        yield* Effect.flip(chatOf(id, { onFailure: "keep" }).run(input))
        assert.deepStrictEqual<ReadonlyArray<string>>(roles(yield* SessionStore.history(id)), kept)
        assert.match(yield* chatOf(id).run("next"), /: next$/)
      })
    )
  }

  law("a turn that is interrupted leaves nothing, or its completed steps, and the next one has its turn", () =>
    Effect.gen(function* () {
      const id = fresh("interrupted")
      for (const onFailure of ["discard", "keep"] as const) {
        const chat = chatOf(id, { onFailure })
        const fiber = yield* Effect.forkChild(chat.run("tool, then hang"))
        yield* Effect.yieldNow
        yield* untilHanging
        yield* Fiber.interrupt(fiber)
        const kept = roles(yield* SessionStore.history(id))
        assert.deepStrictEqual(kept, onFailure === "keep" ? ["user", "assistant", "tool"] : [])
      }
      assert.strictEqual(yield* chatOf(id).run("next"), "2/1: next")
    })
  )

  law("of a runner that is not an agent, input and output are kept as texts", () =>
    Effect.gen(function* () {
      const id = fresh("workflow")
      const chain = Chain.make("chain", [
        clerk,
        Runner.make("double", { run: (text: string) => Effect.succeed([text, text]) })
      ])
      const chat = Session.of(chain, id)
      assert.deepStrictEqual(yield* chat.run("one"), ["1/0: one", "1/0: one"])
      assert.deepStrictEqual(yield* chat.run("two"), ["2/0: two", "2/0: two"])
      const history = yield* SessionStore.history(id)
      assert.deepStrictEqual(
        Transcript.turns(history).map(({ answer, user }) => [user, answer]),
        [
          ["one", '["1/0: one","1/0: one"]'],
          ["two", '["2/0: two","2/0: two"]']
        ]
      )
    })
  )

  law("attachments come back as they were, byte for byte, also those of tool results", () =>
    Effect.gen(function* () {
      const id = fresh("files")
      const bytes = Uint8Array.from({ length: 3000 }, (_, i) => (i * 7) % 256)
      const parts = [
        Prompt.filePart({ mediaType: "image/png", data: bytes }),
        Prompt.filePart({ mediaType: "text/plain", data: "dGV4dA==".repeat(200) }),
        Prompt.filePart({ mediaType: "image/png", data: new URL("https://example.com/a.png") }),
        Prompt.textPart({ text: "look" })
      ]
      yield* chatOf(id).run([Prompt.userMessage({ content: parts })])
      yield* chatOf(id).run("and now")
      const [first] = (yield* SessionStore.history(id)).content
      assert.deepStrictEqual(
        (first as Prompt.UserMessage).content.map((part) => (part.type === "file" ? part.data : part.type)),
        [bytes, "dGV4dA==".repeat(200), new URL("https://example.com/a.png"), "text"]
      )
    })
  )

  law("a session that is changed by combinators keeps its turns as well", () =>
    Effect.gen(function* () {
      const id = fresh("changed")
      const chat = chatOf(id).pipe(
        Runner.map((text) => text.length),
        Runner.withTimeout("1 minute"),
        Runner.named("chat")
      )
      yield* chat.run("one")
      yield* chat.run("two")
      assert.strictEqual(yield* chatOf(id).run("three"), "3/0: three")
    })
  )

  law("the run is the runner's own: its name, its events, and the session as its conversation", () =>
    Effect.gen(function* () {
      const id = fresh("own")
      const seen: Array<string> = []
      const looking = Agent.make("looking", {
        instructions: () =>
          Effect.map(Runner.current, (run) => {
            if (run._tag === "Some") seen.push(run.value.conversationId, run.value.path.join())
            return "Be brief."
          })
      })
      yield* Session.of(looking, id).run("one")
      assert.deepStrictEqual(seen, [id, "looking"])
    })
  )
}

/** Waits until the model hangs: by then all that comes before it has happened. */
const untilHanging = Effect.flatMap(TestModel.TestModel, ({ calls }) =>
  Effect.gen(function* () {
    for (;;) {
      const last = (yield* calls).at(-1)
      const text = last === undefined ? "" : (textsOf(last.prompt).at(-1) ?? "")
      const isThere = text === "hang" || (text.endsWith("hang") && last!.prompt.content.at(-1)?.role === "tool")
      if (isThere && !last!.interrupted) return
      yield* Effect.sleep(1)
    }
  })
)

const orderLaws = (law: Law): void => {
  law("turns of one session are taken one at a time, in their order; different sessions at once", () =>
    Effect.gen(function* () {
      const id = fresh("order")
      let [inside, peak] = [0, 0]
      const busy = Agent.make("busy", {
        instructions: () =>
          Effect.sync(() => {
            peak = Math.max(peak, ++inside)
            return ""
          }).pipe(
            Effect.tap(Effect.yieldNow),
            Effect.tap(() => Effect.sync(() => inside--))
          )
      })
      const answers = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, i) => `t${i}`),
        (text) => Session.of(busy, id).run(text),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        answers,
        Array.from({ length: 12 }, (_, i) => `${i + 1}/0: t${i}`)
      )
      assert.strictEqual(peak, 1)
      // Each waits for the other, so they end only if both are under way.
      const [left, right] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const meeting = (own: Deferred.Deferred<void>, other: Deferred.Deferred<void>) =>
        Agent.make("meeting", {
          instructions: () =>
            Deferred.succeed(own, undefined).pipe(Effect.andThen(Deferred.await(other)), Effect.as(""))
        })
      yield* Effect.all(
        [
          Session.of(meeting(left, right), fresh("left")).run("x"),
          Session.of(meeting(right, left), fresh("right")).run("x")
        ],
        { concurrency: 2 }
      )
    })
  )

  law('whenBusy: "reject" fails while a turn is under way, and not after it', () =>
    Effect.gen(function* () {
      const id = fresh("reject")
      const fiber = yield* Effect.forkChild(chatOf(id).run("hang"))
      yield* untilHanging
      assert.strictEqual(yield* conflictOf(chatOf(id, { whenBusy: "reject" }).run("x")), "busy")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* chatOf(id, { whenBusy: "reject" }).run("x"), "1/0: x")
    })
  )

  law('whenBusy: "interrupt" ends the turn that is under way and takes its place', () =>
    Effect.gen(function* () {
      const id = fresh("interrupt")
      const fiber = yield* Effect.forkChild(Effect.exit(chatOf(id).run("hang")))
      yield* untilHanging
      assert.strictEqual(yield* chatOf(id, { whenBusy: "interrupt" }).run("x"), "1/0: x")
      const exit = yield* Fiber.join(fiber)
      assert.strictEqual(yield* conflictOf(Effect.flatten(Effect.succeed(exit))), "interrupted")
    })
  )

  law("a turn of a session inside of its own turn is refused, and one of another session is not", () =>
    Effect.gen(function* () {
      const [id, other] = [fresh("outer"), fresh("inner")]
      const nested = (inner: string) =>
        Runner.make("nested", { run: (input: Prompt.RawInput) => chatOf(inner).run(input) })
      assert.strictEqual(yield* conflictOf(Session.of(nested(id), id).run("x")), "nested")
      assert.strictEqual(yield* Session.of(nested(other), id).run("x"), "1/0: x")
    })
  )

  law("a turn that waits for its turn can be interrupted, and holds nothing up", () =>
    Effect.gen(function* () {
      const id = fresh("waiting")
      const first = yield* Effect.forkChild(chatOf(id).run("hang"))
      yield* untilHanging
      const second = yield* Effect.forkChild(chatOf(id).run("second"), { startImmediately: true })
      yield* Fiber.interrupt(second)
      yield* Fiber.interrupt(first)
      assert.strictEqual(yield* chatOf(id).run("third"), "1/0: third")
    })
  )
}

const managementLaws = (law: Law): void => {
  law("a fork has the turns before the one that is named, and then goes its own way", () =>
    Effect.gen(function* () {
      const [id, all, some] = [fresh("forked"), fresh("all"), fresh("some")]
      for (const text of ["one", "two", "three"]) yield* chatOf(id).run(text)
      yield* SessionStore.fork(id, all)
      yield* SessionStore.fork(id, some, { before: 2 })
      assert.strictEqual(yield* chatOf(all).run("x"), "4/0: x")
      assert.strictEqual(yield* chatOf(some).run("x"), "2/0: x")
      assert.strictEqual(yield* chatOf(id).run("x"), "4/0: x")
      assert.strictEqual(yield* conflictOf(SessionStore.fork(id, all)), "exists")
      assert.strictEqual(yield* conflictOf(SessionStore.fork(fresh("none"), fresh("none"))), "missing")
    })
  )

  law("a renamed session goes on under its new id, and its old id is free", () =>
    Effect.gen(function* () {
      const [from, to] = [fresh("from"), fresh("to")]
      yield* chatOf(from).run("one")
      yield* SessionStore.rename(from, to)
      assert.strictEqual(yield* chatOf(to).run("two"), "2/0: two")
      assert.strictEqual(yield* chatOf(from).run("new"), "1/0: new")
      assert.strictEqual(yield* conflictOf(SessionStore.rename(from, to)), "exists")
      assert.strictEqual(yield* conflictOf(SessionStore.rename(fresh("none"), fresh("none"))), "missing")
      const fiber = yield* Effect.forkChild(chatOf(to).run("hang"))
      yield* untilHanging
      assert.strictEqual(yield* conflictOf(SessionStore.rename(to, fresh("none"))), "busy")
      yield* Fiber.interrupt(fiber)
    })
  )

  law("a list has each session once, by id, in pages; failed first turns make no session", () =>
    Effect.gen(function* () {
      const prefix = fresh("list")
      const ids = Array.from({ length: 5 }, (_, i) => `${prefix}-${i}`)
      for (const id of ids.toReversed()) yield* chatOf(id).run("one")
      yield* chatOf(ids[1]!).run("two")
      yield* Effect.flip(chatOf(`${prefix}-2-failed`).run("fail"))
      const found: Array<SessionStore.Info> = []
      for (let after = prefix; ; after = found.at(-1)!.id) {
        const page = yield* SessionStore.list({ limit: 2, after })
        found.push(...page.filter(({ id }) => id.startsWith(`${prefix}-`)))
        if (page.length < 2 || !page.at(-1)!.id.startsWith(prefix)) break
      }
      assert.deepStrictEqual(
        found.map(({ id, turns, waiting }) => ({ id, turns, waiting })),
        ids.map((id, i) => ({ id, turns: i === 1 ? 2 : 1, waiting: false }))
      )
      assert.isAtLeast(found[1]!.updatedAt, found[1]!.createdAt)
    })
  )

  law("a removed session is gone with all that it held, and a turn that was under way is not kept", () =>
    Effect.gen(function* () {
      const id = fresh("removed")
      yield* chatOf(id).run("one")
      yield* SessionStore.remove(id)
      assert.deepStrictEqual((yield* SessionStore.history(id)).content, [])
      yield* SessionStore.remove(id)
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const slow = Agent.make("slow", {
        instructions: () => Deferred.succeed(begun, undefined).pipe(Effect.andThen(Deferred.await(go)), Effect.as(""))
      })
      const fiber = yield* Effect.forkChild(Session.of(slow, id).run("two"))
      yield* Deferred.await(begun)
      yield* SessionStore.remove(id)
      yield* Deferred.succeed(go, undefined)
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.deepInclude({ ...error }, { _tag: "SessionConflict", reason: "lost" })
      assert.include(error.message, "was removed meanwhile")
      assert.strictEqual(yield* chatOf(id).run("three"), "1/0: three")
    })
  )

  law("pruning removes what had no turn for so long, and nothing that has one under way", () =>
    Effect.gen(function* () {
      const [old, busy] = [fresh("old"), fresh("busy")]
      yield* chatOf(old).run("one")
      yield* chatOf(busy).run("one")
      const fiber = yield* Effect.forkChild(chatOf(busy).run("hang"))
      yield* untilHanging
      assert.strictEqual(yield* SessionStore.prune({ idle: "1 hour" }), 0)
      assert.isAtLeast(yield* SessionStore.prune({ idle: 0 }), 1)
      assert.deepStrictEqual((yield* SessionStore.history(old)).content, [])
      assert.strictEqual((yield* SessionStore.history(busy)).content.length, 2)
      yield* Fiber.interrupt(fiber)
    })
  )
}

/** A record of a turn, for stores that are asked directly. */
export const recordOf = (turn: number): SessionStore.Record => ({
  v: 1,
  turn,
  status: "completed",
  at: 0,
  runId: "run",
  path: ["clerk"],
  continues: false,
  messages: Prompt.make("x")
})

const leaseLaws = (law: Law): void => {
  law("records are added only to the session as it was read, and only by the owner of its lease", () =>
    Effect.gen(function* () {
      const store = yield* SessionStore.SessionStore
      const id = fresh("append")
      assert.strictEqual(yield* store.append(id, { expectedSeq: 0, records: [recordOf(1)] }), 1)
      assert.strictEqual(yield* conflictOf(store.append(id, { expectedSeq: 0, records: [recordOf(1)] })), "changed")
      yield* store.acquire(id, "me", Duration.seconds(30))
      assert.strictEqual(yield* conflictOf(store.append(id, { expectedSeq: 1, records: [recordOf(2)] })), "busy")
      const other = { expectedSeq: 1, records: [recordOf(2)], owner: "other" }
      assert.strictEqual(yield* conflictOf(store.append(id, other)), "lost")
      assert.strictEqual(yield* store.append(id, { ...other, owner: "me", release: true }), 2)
      const stored = yield* store.read(id, 1)
      assert.deepStrictEqual(
        stored?.records.map(({ turn }) => turn),
        [2]
      )
      assert.strictEqual((yield* store.acquire(id, "other", Duration.seconds(30)))._tag, "Acquired")
      yield* store.release(id, "other")
    })
  )

  law("a lease is one owner's until it is given back or ends", () =>
    Effect.gen(function* () {
      const store = yield* SessionStore.SessionStore
      const id = fresh("lease")
      const get = (owner: string, ms: number) =>
        Effect.map(store.acquire(id, owner, Duration.millis(ms)), ({ _tag }) => _tag)
      assert.strictEqual(yield* get("a", 60_000), "Acquired")
      assert.strictEqual(yield* get("b", 60_000), "Busy")
      assert.strictEqual(yield* store.renew(id, "a", Duration.millis(0)), "held")
      yield* Effect.sleep(2)
      assert.strictEqual(yield* get("b", 60_000), "Acquired")
      assert.strictEqual(yield* store.renew(id, "a", Duration.seconds(1)), "lost")
      yield* store.release(id, "a")
      assert.strictEqual(yield* get("c", 60_000), "Busy")
      yield* store.release(id, "b")
      assert.strictEqual(yield* get("c", 60_000), "Acquired")
      yield* store.release(id, "c")
      assert.isUndefined(yield* store.read(id, 0))
    })
  )
}

const waitingLaws = (law: Law): void => {
  let paid: Array<string> = []
  const pay = AgentTool.fromFunction("pay", {
    description: "Pays",
    parameters: Schema.Struct({ to: Schema.String }),
    needsApproval: true,
    execute: ({ to }) => {
      paid.push(to)
      return `paid ${to}`
    }
  })
  const cashier = Agent.make("cashier", { tools: [pay, note] })
  const suspended = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Effect.flip(effect), (error) =>
      error instanceof RunError.RunSuspended ? Effect.succeed(error) : Effect.die(error)
    )
  const idsOf = (id: string) => Effect.map(SessionStore.pending(id), (all) => all.map((one) => one.id))

  law("a suspended turn is kept, waits for its answers, and goes on where it was", () =>
    Effect.gen(function* () {
      paid = []
      const id = fresh("suspended")
      const chat = Session.of(cashier, id)
      yield* chat.run("one")
      const error = yield* suspended(chat.run("pay"))
      const ids = yield* idsOf(id)
      assert.deepStrictEqual(
        ids,
        error.waitingFor.map((one) => one.id)
      )
      assert.strictEqual((yield* SessionStore.history(id)).content.length, 2)
      assert.deepInclude(
        (yield* SessionStore.list({ limit: 1000 })).find((one) => one.id === id),
        { turns: 1, waiting: true }
      )
      const waiting = yield* Effect.flip(chat.run("two"))
      assert.instanceOf(waiting, RunError.SessionWaiting)
      assert.include(waiting.message, ids[0]!)
      const unknown = yield* Effect.flip(Session.resume(chat, { other: Approvals.approve }))
      assert.deepInclude(unknown, { _tag: "InvalidApproval", reason: "unknown" })
      assert.deepStrictEqual(paid, [])
      assert.strictEqual(yield* Session.resume(chat, { [ids[0]!]: Approvals.approve }), "2/1: pay")
      assert.deepStrictEqual(paid, ["x"])
      assert.deepStrictEqual(yield* idsOf(id), [])
      const history = yield* SessionStore.history(id)
      assert.deepStrictEqual(roles(history), ["user", "assistant", "user", "assistant", "tool", "assistant"])
      assert.strictEqual(yield* chat.run("two"), "3/1: two")
      const none = yield* Effect.flip(Session.resume(chat, { [ids[0]!]: Approvals.approve }))
      assert.deepInclude(none, { _tag: "InvalidApproval", reason: "unknown" })
      assert.deepStrictEqual(paid, ["x"])
    })
  )

  law("the transcript of the suspended turn with its answers goes on as well, and no other one does", () =>
    Effect.gen(function* () {
      paid = []
      const id = fresh("answered")
      const chat = Session.of(cashier, id)
      yield* chat.run("one")
      const { transcript, waitingFor } = yield* suspended(chat.run("pay"))
      const sent = Schema.decodeSync(Prompt.Prompt)(
        JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript)))
      )
      const answer = { [waitingFor[0].id]: Approvals.deny("too much") }
      const changed = Prompt.fromMessages([
        Prompt.makeMessage("user", { content: [Prompt.textPart({ text: "changed" })] }),
        ...transcript.content.slice(1)
      ])
      assert.instanceOf(yield* Effect.flip(chat.run(Runner.answer(changed, answer))), RunError.SessionWaiting)
      assert.instanceOf(yield* Effect.flip(chat.run(sent)), RunError.SessionWaiting)
      assert.strictEqual(yield* chat.run(Runner.answer(sent, answer)), "2/1: pay")
      assert.deepStrictEqual(paid, [])
    })
  )

  law("the transcript of a turn that was answered or given up is not gone on from once more", () =>
    Effect.gen(function* () {
      paid = []
      const id = fresh("twice")
      const chat = Session.of(cashier, id)
      const { transcript, waitingFor } = yield* suspended(chat.run("pay"))
      const answer = { [waitingFor[0].id]: Approvals.approve }
      yield* chat.run(Runner.answer(transcript, answer))
      const twice = yield* Effect.flip(chat.run(Runner.answer(transcript, answer)))
      assert.deepInclude(twice, { _tag: "InvalidApproval", reason: "unknown", approvalId: waitingFor[0].id })

      const later = yield* suspended(chat.run("pay"))
      yield* SessionStore.giveUp(id)
      const given = Runner.answer(later.transcript, { [later.waitingFor[0].id]: Approvals.approve })
      assert.instanceOf(yield* Effect.flip(chat.run(given)), RunError.InvalidApproval)
      assert.deepStrictEqual(paid, ["x"])
    })
  )

  law("a suspended turn of a workflow goes on as well, and its input and output are kept", () =>
    Effect.gen(function* () {
      paid = []
      const id = fresh("workflow")
      const chat = Session.of(Chain.make("desk", [cashier, clerk]), id)
      yield* chat.run("one")
      yield* suspended(chat.run("pay"))
      const answers = Object.fromEntries((yield* idsOf(id)).map((one) => [one, Approvals.approve]))
      const output = yield* Session.resume(chat, answers)
      assert.deepStrictEqual(paid, ["x"])
      const turns = Transcript.turns(yield* SessionStore.history(id))
      assert.deepStrictEqual(
        turns.map(({ user }) => user),
        ["one", "pay"]
      )
      assert.strictEqual(turns[1]!.answer, output)
    })
  )

  law("an input that begins with the conversation so far adds what is new, as in rounds and tasks of a workflow", () =>
    Effect.gen(function* () {
      const id = fresh("again")
      const chat = Session.of(clerk, id)
      yield* chat.run("one")
      const transcript = Schema.encodeSync(Prompt.Prompt)(yield* SessionStore.history(id))
      const sent = Schema.decodeSync(Prompt.Prompt)(JSON.parse(JSON.stringify(transcript)))
      yield* chat.run(Prompt.concat(sent, "two"))
      yield* chat.run("one")
      const users = (id: string) =>
        Effect.map(SessionStore.history(id), (history) => Transcript.turns(history).map(({ user }) => user))
      assert.deepStrictEqual(yield* users(id), ["one", "two", "one"])

      const rounds = fresh("rounds")
      const refined = EvaluatorOptimizer.make(
        "refined",
        { generator: Session.of(clerk, rounds), evaluator: (draft) => Effect.succeed(draft.startsWith("3/0")) },
        { accept: (isGood) => isGood, maxRounds: 3 }
      )
      yield* refined.run("write")
      assert.strictEqual((yield* users(rounds)).length, 3)
    })
  )

  law("a fork has nothing of a suspended turn whose steps were kept", () =>
    Effect.gen(function* () {
      const [id, all, some] = [fresh("kept-suspended"), fresh("all"), fresh("some")]
      yield* suspended(Session.of(cashier, id, { onFailure: "keep" }).run("tool, then pay"))
      yield* SessionStore.fork(id, all)
      yield* SessionStore.fork(id, some, { before: 2 })
      for (const fork of [all, some]) assert.deepStrictEqual(roles(yield* SessionStore.history(fork)), [])
    })
  )

  law("a suspended turn that is given up leaves nothing, and a fork does not have it", () =>
    Effect.gen(function* () {
      const [id, fork] = [fresh("given-up"), fresh("fork")]
      const chat = Session.of(cashier, id)
      yield* chat.run("one")
      yield* suspended(chat.run("pay"))
      yield* SessionStore.fork(id, fork)
      assert.strictEqual(yield* Session.of(cashier, fork).run("two"), "2/0: two")
      yield* SessionStore.giveUp(id)
      yield* SessionStore.giveUp(id)
      assert.deepStrictEqual(yield* idsOf(id), [])
      assert.strictEqual(yield* chat.run("two"), "2/0: two")
    })
  )

  law('whenBusy: "steer" hands its input to the turn under way, and returns what that turn returns', () =>
    Effect.gen(function* () {
      const id = fresh("steer")
      const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = AgentTool.fromFunction("note", {
        description: "Notes a text",
        parameters: Schema.Struct({ text: Schema.String }),
        execute: () => Deferred.succeed(begun, undefined).pipe(Effect.andThen(Deferred.await(go)), Effect.as("noted"))
      })
      const worker = Agent.make("worker", { tools: [slow] })
      const first = yield* Effect.forkChild(Session.of(worker, id).run("tool"))
      yield* Deferred.await(begun)
      const second = yield* Effect.forkChild(Session.of(worker, id, { whenBusy: "steer" }).run("and this"), {
        startImmediately: true
      })
      yield* Effect.yieldNow
      yield* Deferred.succeed(go, undefined)
      assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(second)], ["2/1: and this", "2/1: and this"])
      assert.deepStrictEqual(roles(yield* SessionStore.history(id)), ["user", "assistant", "tool", "user", "assistant"])
      assert.strictEqual(yield* Session.of(worker, id, { whenBusy: "steer" }).run("alone"), "3/1: alone")
    })
  )
}

const invalidOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof RunError.StoreError ? Effect.succeed(`${error.reason}: ${error.message}`) : Effect.die(error)
  )

/** A file of this size comes back as it was. */
export const keepsFile = (length: number) =>
  Effect.gen(function* () {
    const id = fresh("large")
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 31) % 251)
    const content = [Prompt.filePart({ mediaType: "video/mp4", data: bytes })]
    const store = yield* SessionStore.SessionStore
    yield* store.append(id, {
      expectedSeq: 0,
      records: [{ ...recordOf(1), messages: Prompt.fromMessages([Prompt.userMessage({ content })]) }]
    })
    const [first] = (yield* SessionStore.history(id)).content
    const [file] = (first as Prompt.UserMessage).content
    assert.isTrue(file?.type === "file" && Buffer.compare(Buffer.from(file.data as Uint8Array), bytes) === 0)
    yield* SessionStore.remove(id)
  })

/** What comes from outside: any text, as an id and in a conversation. */
const foreignLaws = (law: Law): void => {
  law("any text is kept in a conversation, or as near to it as JSON is", () =>
    Effect.gen(function* () {
      const id = fresh("texts '\"%_;--\\ 名前 🙂")
      const texts = [
        "a\0b",
        "half \ud800 pair",
        "🙂👩‍👩‍👧",
        "'; DROP TABLE x; --",
        "\u2028\r\n\t\u0007",
        "x".repeat(300_000)
      ]
      for (const text of texts) yield* chatOf(id).run(text)
      assert.deepStrictEqual(textsOf(yield* SessionStore.history(id)), texts)
      assert.deepStrictEqual(
        (yield* SessionStore.list({ limit: 1000 })).filter((one) => one.id === id).map(({ turns }) => turns),
        [texts.length]
      )
    })
  )

  law("an id that some database does not keep is refused, and a long one in every character is kept", () =>
    Effect.gen(function* () {
      for (const bad of ["a\0b", "half \ud800", "x".repeat(10_000)]) {
        const id = fresh("named")
        yield* chatOf(id).run("one")
        for (const refused of [
          SessionStore.fork(id, bad),
          SessionStore.rename(id, bad),
          SessionStore.history(bad),
          SessionStore.pending(bad),
          SessionStore.remove(bad)
        ]) {
          assert.match(yield* invalidOf(refused), /^invalid: .*Use a shorter text of whole characters, without NUL/)
        }
        assert.isArray(yield* SessionStore.list({ after: bad }))
        assert.throws(() => chatOf(bad), /id/)
      }
      for (const character of ["x", "名", "🙂"]) {
        const id = character.repeat(512 / character.length)
        assert.strictEqual(yield* chatOf(id).run("one"), "1/0: one")
        assert.strictEqual(yield* chatOf(id).run("two"), "2/0: two")
        yield* SessionStore.remove(id)
      }
    })
  )

  law("an attachment that is read in pieces comes back byte for byte", () => keepsFile(9_000_003))

  law("whether a session is there is known without reading it", () =>
    Effect.gen(function* () {
      const store = yield* SessionStore.SessionStore
      const id = fresh("there")
      assert.isUndefined(yield* store.read(id, Number.MAX_SAFE_INTEGER))
      yield* chatOf(id).run("one")
      assert.deepInclude(yield* store.read(id, Number.MAX_SAFE_INTEGER), { seq: 1, records: [] })
      yield* SessionStore.remove(id)
    })
  )

  law("limits and pages of any number are taken", () =>
    Effect.gen(function* () {
      const id = fresh("pages")
      yield* chatOf(id).run("one")
      for (const limit of [0, -1, Number.NaN, Infinity, 1.5, 1e300]) {
        assert.isArray(yield* SessionStore.list({ limit }))
      }
      for (const before of [0, -1, 1.5, Number.NaN, 1e300]) {
        const to = fresh("forked")
        yield* SessionStore.fork(id, to, { before })
        yield* SessionStore.remove(to)
      }
    })
  )
}

const stepLaws = (law: Law): void => {
  law("a turn whose process dies leaves nothing, and its session is free when its lease has ended", () =>
    Effect.gen(function* () {
      const store = yield* SessionStore.SessionStore
      const id = fresh("crashed")
      yield* chatOf(id).run("one")
      // A process that took its turn and is gone, and renews its lease no more.
      yield* store.acquire(id, "dead", Duration.seconds(30))
      assert.strictEqual(yield* conflictOf(chatOf(id, { whenBusy: "reject" }).run("two")), "busy")
      // As 30 seconds later.
      yield* store.renew(id, "dead", Duration.zero)
      assert.strictEqual(yield* chatOf(id).run("three"), "2/0: three")
      const late = { expectedSeq: 1, records: [recordOf(2)], owner: "dead" }
      assert.strictEqual(yield* conflictOf(store.append(id, late)), "lost")
    })
  )

  law("where a conversation was compacted is kept with its session, and the next turn sends the same", () =>
    Effect.gen(function* () {
      const id = fresh("compacted")
      const [summarised, asked]: [Array<string>, Array<Prompt.Prompt>] = [[], []]
      const summary = Runner.make("summary", {
        run: (text: string) => {
          summarised.push(text)
          return Effect.succeed("They have talked about trees.")
        }
      })
      const looking = Middleware.make("looking", {
        model: (request, next) => {
          asked.push(request.prompt)
          return next(request)
        }
      })
      const compaction = Compaction.make({
        window: 2000,
        at: 0.5,
        policies: [Compaction.summarise({ keepTurns: 2, by: summary })]
      })
      const agent = Agent.make("agent", { middleware: [compaction, looking] })
      const long = "All of this has been said before. ".repeat(12)
      for (let turn = 0; turn < 6; turn++) yield* Session.of(agent, id).run(`${turn} ${long}`)
      const history = yield* SessionStore.history(id)
      assert.strictEqual(history.content.length, 12)
      assert.isNotEmpty(Compaction.marks(history))
      const before = summarised.length
      const last = asked.at(-1)!.content
      assert.strictEqual(before, 1)
      assert.include(JSON.stringify(last), "They have talked about trees.")
      // The next process has only what is kept: it begins with what was sent, and summarises nothing again.
      yield* Session.of(agent, id).run("and now")
      const next = asked.at(-1)!.content
      assert.deepStrictEqual(next.slice(0, 2), last.slice(0, 2))
      assert.strictEqual(summarised.length, before)
    })
  )

  law("a turn that is kept step by step leaves the steps that it completed when its process dies", () =>
    Effect.gen(function* () {
      const store = yield* SessionStore.SessionStore
      const id = fresh("died")
      const chat = chatOf(id, { onFailure: "keep" })
      yield* chat.run("one")
      const fiber = yield* Effect.forkChild(chat.run("tool, then hang"))
      yield* untilHanging
      const atDeath = yield* store.read(id, 0)
      yield* Fiber.interrupt(fiber)
      yield* SessionStore.remove(id)
      // As the next process finds it.
      yield* store.append(id, { expectedSeq: 0, records: atDeath!.records })
      assert.deepStrictEqual(
        atDeath!.records.map(({ status, turn }) => `${turn} ${status}`),
        ["1 completed", "2 partial"]
      )
      assert.deepStrictEqual(roles(yield* SessionStore.history(id)), ["user", "assistant", "user", "assistant", "tool"])
      assert.strictEqual(yield* chat.run("next"), "3/1: next")
    })
  )

  law("a turn that is kept step by step is the same in the end, also when it was retried", () =>
    Effect.gen(function* () {
      const [whole, stepwise] = [fresh("whole"), fresh("stepwise")]
      const encode = Schema.encodeSync(Prompt.Prompt)
      let attempts = 0
      const unsure = Runner.mapEffect(clerk, (text) =>
        ++attempts % 2 === 1 ? Effect.fail("again") : Effect.succeed(text)
      )
      for (const runner of [clerk, Runner.withRetry(unsure, { times: 1 })]) {
        yield* Session.of(runner, whole).run("tool")
        yield* Session.of(runner, stepwise, { onFailure: "keep" }).run("tool")
      }
      const texts = (prompt: Prompt.Prompt) => JSON.stringify(encode(prompt)).replaceAll(/call_\d+/g, "call")
      assert.strictEqual(texts(yield* SessionStore.history(stepwise)), texts(yield* SessionStore.history(whole)))
      assert.strictEqual((yield* SessionStore.history(whole)).content.length, 8)
    })
  )
}

/** Laws of a store that processes share. A second connection stands for a second process. */
const sharedLaws = (law: Law, connect: () => Store): void => {
  const elsewhere = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.orDie(Effect.provide(Effect.orDie(effect), connect(), { local: true }))

  law("a fork is whole, also while turns are added to its session or it is removed", () =>
    Effect.gen(function* () {
      const store = yield* SessionStore.SessionStore
      const bytes = (n: number) => new Uint8Array(1000).fill(n)
      const turnOf = (n: number) => ({
        ...recordOf(n),
        messages: Prompt.fromMessages([
          Prompt.userMessage({ content: [Prompt.filePart({ mediaType: "image/png", data: bytes(n) })] })
        ])
      })
      for (let round = 0; round < 12; round++) {
        const id = fresh("grows")
        yield* store.append(id, { expectedSeq: 0, records: [turnOf(1)] })
        const growing = Effect.forEach([2, 3, 4, 5, 6, 7, 8], (n) =>
          store.append(id, { expectedSeq: n - 1, records: [turnOf(n)] })
        )
        const forks = Array.from({ length: 6 }, () => fresh("fork"))
        const forking = Effect.forEach(forks, (to) => Effect.exit(SessionStore.fork(id, to)), { concurrency: 3 })
        const removing = Effect.delay(SessionStore.remove(id), round)
        yield* Effect.all([Effect.exit(elsewhere(growing)), forking, round % 2 === 0 ? removing : Effect.void], {
          concurrency: 3
        })
        for (const to of forks) {
          const stored = yield* store.read(to, 0)
          if (stored === undefined) continue
          assert.deepStrictEqual(
            stored.records.map(({ turn }) => turn),
            stored.records.map((_, index) => index + 1)
          )
          const next = stored.seq + 1
          assert.strictEqual(yield* store.append(to, { expectedSeq: stored.seq, records: [turnOf(next)] }), next)
          yield* SessionStore.remove(to)
        }
        yield* SessionStore.remove(id)
      }
    })
  )

  law("a session that is removed or pruned as turns are added is gone, or whole", () =>
    Effect.gen(function* () {
      const store = yield* SessionStore.SessionStore
      for (let round = 0; round < 25; round++) {
        const id = fresh("going")
        const add = (seq: number) => store.append(id, { expectedSeq: seq, records: [recordOf(seq + 1)] })
        yield* add(0)
        const adding = Effect.forEach([1, 2, 3, 4, 5, 6], add)
        const removing = round % 2 === 0 ? SessionStore.remove(id) : SessionStore.prune({ idle: 0 })
        yield* Effect.all([Effect.exit(elsewhere(adding)), Effect.delay(removing, round % 6)], { concurrency: 2 })
        const stored = yield* store.read(id, 0)
        const seq = stored?.seq ?? 0
        assert.strictEqual(stored?.records.length ?? 0, seq)
        // Nothing that was left stands in the way of another session of this id.
        yield* Effect.forEach([0, 1, 2, 3, 4, 5, 6], (n) => add(seq + n))
        assert.strictEqual((yield* store.read(id, 0))?.records.length, seq + 7)
        yield* SessionStore.remove(id)
      }
    })
  )

  law("turns of one session from two connections are taken one at a time, and none is lost", () =>
    Effect.gen(function* () {
      const id = fresh("two")
      const turns = (from: string) =>
        Effect.forEach([1, 2, 3, 4, 5], (i) => chatOf(id).run(`${from}${i}`), { concurrency: "unbounded" })
      const all = yield* Effect.all([turns("a"), elsewhere(turns("b"))], { concurrency: 2 })
      const numbers = all.flat().map((answer) => Number(answer.split("/")[0]))
      assert.deepStrictEqual(
        numbers.toSorted((a, b) => a - b),
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
      )
      assert.deepStrictEqual(
        Transcript.turns(yield* SessionStore.history(id)).map(({ answer }) => answer),
        all.flat().toSorted((a, b) => Number.parseInt(a) - Number.parseInt(b))
      )
    })
  )

  law("a turn of another connection is interrupted by its next heartbeat", () =>
    Effect.gen(function* () {
      const id = fresh("elsewhere")
      const fiber = yield* Effect.forkChild(elsewhere(Effect.exit(chatOf(id).run("hang"))))
      yield* untilHanging
      assert.strictEqual(yield* conflictOf(chatOf(id, { whenBusy: "reject" }).run("x")), "busy")
      assert.strictEqual(yield* chatOf(id, { whenBusy: "interrupt" }).run("x"), "1/0: x")
      const exit = yield* Fiber.join(fiber)
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(yield* conflictOf(Effect.flatten(Effect.succeed(exit))), "interrupted")
    }).pipe(Effect.provideService(SessionStore.Lease, "300 millis"))
  )

  law("a turn whose lease another connection took over is interrupted and not kept", () =>
    Effect.gen(function* () {
      const id = fresh("stolen")
      const store = yield* SessionStore.SessionStore
      const fiber = yield* Effect.forkChild(Effect.exit(chatOf(id).run("hang")))
      yield* untilHanging
      // As when the process was stopped for longer than its lease.
      yield* elsewhere(
        Effect.flatMap(SessionStore.SessionStore, (other) =>
          Effect.andThen(other.remove(id), other.acquire(id, "other", Duration.seconds(9)))
        )
      )
      const exit = yield* Fiber.join(fiber)
      assert.strictEqual(yield* conflictOf(Effect.flatten(Effect.succeed(exit))), "lost")
      yield* store.release(id, "other")
    }).pipe(Effect.provideService(SessionStore.Lease, "120 millis"))
  )
}
