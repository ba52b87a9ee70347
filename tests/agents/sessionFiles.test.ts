/** Sessions that go back with their files, and files that are put back by a program. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { Agent, Approvals, FileTools, RunError, Sandbox, Session, SessionStore, TestModel, Workspace } from "troupe"

const coder = Agent.make("coder", { use: [FileTools.feature({ write: true })] })
const chat = Session.of(coder, "s", { files: "rewind" })
const write = (content: string) => TestModel.toolCall("write_file", { path: "a.txt", content })
const world = (...turns: ReadonlyArray<TestModel.Turn | string>) =>
  Layer.mergeAll(TestModel.layer(turns), SessionStore.layerMemory, Sandbox.layerMemory({ files: { "/a.txt": "zero" } }))
const approver = (decision: Approvals.Decision, asked: Array<Approvals.Request> = []) =>
  Approvals.layer((request) => {
    asked.push(request)
    return Effect.succeed(decision)
  })
const yes = approver(Approvals.approve)
const text = Effect.flatMap(Sandbox.Sandbox, ({ files }) => files.readFileString("/a.txt"))
const put = (content: string) =>
  Effect.flatMap(Sandbox.Sandbox, ({ files }) => files.writeFileString("/a.txt", content))
const twoTurns = Effect.andThen(chat.run("one"), chat.run("two"))
const script = [write("first"), "done", write("second"), "done"]

describe("a session with files", () => {
  it.effect("goes back with them: conversation and files are as before the turn, and it is an event", () =>
    Effect.gen(function* () {
      yield* twoTurns
      assert.strictEqual(yield* text, "second")
      const events = yield* Stream.runCollect(Session.rewind("s", "again", { before: 2 }).stream()).pipe(
        Effect.provide(yes)
      )
      const restored = events.filter((event) => event._tag === "FilesRestored")
      assert.deepStrictEqual(
        restored.map(({ changes, total }) => ({ changes, total })),
        [{ changes: [{ path: "a.txt", change: "modified" }], total: 1 }]
      )
      assert.strictEqual(yield* text, "first")
      const history = JSON.stringify(yield* SessionStore.history("again"))
      assert.include(history, "one")
      assert.notInclude(history, "two")
      assert.deepStrictEqual(yield* Session.rewind("again", "start", { before: 1, approved: true }).run(), ["a.txt"])
      assert.strictEqual(yield* text, "zero")
    }).pipe(Effect.provide(world(...script)))
  )

  it.effect("asks: without an approver, or with one that denies or decides later, nothing is restored", () =>
    Effect.gen(function* () {
      yield* twoTurns
      const asked: Array<Approvals.Request> = []
      for (const layer of [Layer.empty, approver(Approvals.deny("not now"), asked), approver(Approvals.later)]) {
        const error = yield* Effect.flip(Session.rewind("s", "t", { before: 1 }).run()).pipe(Effect.provide(layer))
        assert.instanceOf(error, Workspace.WorkspaceError)
        assert.strictEqual(error.reason, "Refused")
      }
      const floor = Approvals.floor({ destructive: "deny" })
      const error = yield* Effect.flip(Session.rewind("s", "t", { before: 1 }).run()).pipe(Effect.provide([yes, floor]))
      assert.strictEqual((error as Workspace.WorkspaceError).reason, "Refused")
      assert.strictEqual(asked[0]!.tool, "restore_files")
      assert.deepStrictEqual((asked[0]!.params as { readonly changes: unknown }).changes, ["modified a.txt"])
      assert.strictEqual(yield* text, "second")
    }).pipe(Effect.provide(world(...script)))
  )

  it.effect("is refused when a person changed the files meanwhile, or the new session is there already", () =>
    Effect.gen(function* () {
      yield* twoTurns
      yield* put("by hand")
      const changed = yield* Effect.flip(Session.rewind("s", "t", { before: 1, approved: true }).run())
      assert.instanceOf(changed, Workspace.WorkspaceError)
      assert.deepStrictEqual([changed.reason, changed.paths], ["Changed", ["a.txt"]])
      assert.strictEqual(yield* text, "by hand")
      yield* put("second")
      const taken = yield* Effect.flip(Session.rewind("s", "s", { before: 1, approved: true }).run())
      assert.instanceOf(taken, RunError.SessionConflict)
      assert.strictEqual(yield* text, "second")
    }).pipe(Effect.provide(world(...script)))
  )

  it.effect("goes back before a turn whose process died in its middle, of which the steps are kept", () =>
    Effect.gen(function* () {
      const kept = Session.of(coder, "s", { files: "rewind", onFailure: "keep" })
      yield* kept.run("one")
      const store = yield* SessionStore.SessionStore
      // What the store has of a turn whose process is gone.
      const { records, seq } = (yield* store.read("s", 0))!
      const partial = records[0]!
      assert.strictEqual(partial.status, "partial")
      yield* store.remove("s")
      yield* store.append("s", { expectedSeq: 0, records: [partial] })
      assert.isAbove(seq, 1)
      yield* kept.run("two")
      yield* Session.rewind("s", "again", { before: 1, approved: true }).run()
      assert.strictEqual(yield* text, "zero")
    }).pipe(Effect.provide(world(write("first"), "done", write("second"), "done")))
  )

  it.effect("one that noted no files says so, and a misspelt option is refused", () =>
    Effect.gen(function* () {
      yield* Session.of(coder, "plain").run("one")
      const error = yield* Effect.flip(Session.rewind("plain", "t", { before: 1 }).run())
      assert.strictEqual((error as Workspace.WorkspaceError).reason, "Unknown")
      assert.throws(() => Session.of(coder, "x", { files: "back" as never }), RunError.InvalidDefinition)
    }).pipe(Effect.provide(world("done")))
  )
})

it.effect("a program restores what it noted, and expects what it saw", () =>
  Effect.gen(function* () {
    const before = yield* Workspace.snapshot
    yield* put("changed")
    const after = yield* Workspace.snapshot
    assert.deepStrictEqual(yield* Workspace.diff(before, after), [{ path: "a.txt", change: "modified" }])
    yield* put("by hand")
    const error = yield* Effect.flip(Workspace.restore(before, { expected: after, approved: true }))
    assert.strictEqual(error.reason, "Changed")
    yield* Workspace.restore(before, { approved: true })
    assert.strictEqual(yield* text, "zero")
    assert.deepStrictEqual(yield* Workspace.restore(before), [])
  }).pipe(Effect.provide(Sandbox.layerMemory({ files: { "/a.txt": "zero" } })))
)
