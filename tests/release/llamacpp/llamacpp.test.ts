/**
 * llama.cpp on a tiny model with random weights that the test makes: real loading, real generating. In this process on the async edge,
 * and in one alongside it on the sync edge.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schema, Scope, Stream } from "effect"
import { EmbeddingModel, LanguageModel, type Response } from "effect/ai"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as LlamaCpp from "troupe/LlamaCpp"
import * as ModelInfo from "troupe/ModelInfo"
import * as Models from "troupe/Models"
import * as SyncEdge from "troupe/SyncEdge"
import { processes } from "../../../src/layers/llamacpp/internal/elsewhere.ts"
import { loaded } from "../../../src/layers/llamacpp/internal/here.ts"
import { isSync } from "../../../src/services/SyncBridge.ts"
import { orderSuite } from "../../contract/embedding.ts"
import { it as onBoth } from "../../support/edges.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { writeTinyGguf } from "../../support/tinyGguf.ts"

const folder = temporaryFolder()()
const modelPath = path.join(folder, "tiny.gguf")
writeTinyGguf(modelPath)

const options = { modelPath, threads: 1, gpu: false, contextTokens: 1024 } as const
const layer = (more: Partial<LlamaCpp.Options> = {}) => LlamaCpp.layer({ ...options, maxOutputTokens: 40, ...more })

const flip = AgentTool.fromFunction("flip", {
  description: "Flips a switch",
  parameters: Schema.Struct({ on: Schema.Literals([true, false]) }),
  execute: ({ on }) => !on
})

/** Kills the processes that run files, which are children of this one. */
const killChildren = (): void => {
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [command = "", , script = ""] = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")
      const parent = / \w (\d+) /.exec(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]
      const isOurs = parent === String(process.pid) && command === process.execPath && script.includes("LlamaChat")
      if (isOurs) process.kill(Number(pid), "SIGKILL")
    } catch {
      // It has ended in the meantime.
    }
  }
}

describe("LlamaCpp.layer", () => {
  it.live("answers, whole and streamed, as long as it may, and counts tokens", () =>
    Effect.gen(function* () {
      const whole = yield* LanguageModel.generateText({ prompt: "hello" })
      assert.isAbove(whole.text.length, 0)
      assert.strictEqual(whole.finishReason, "length")
      assert.strictEqual(whole.usage.outputTokens.total, 40)
      assert.isAbove(whole.usage.inputTokens.total ?? 0, 5)
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "hello" }))
      const types = parts.map(({ type }) => type)
      assert.deepStrictEqual([types[0], types.at(-2), types.at(-1)], ["text-start", "text-end", "finish"])
      const short = yield* LanguageModel.generateText({ prompt: "hello" }).pipe(
        Effect.provideService(ModelInfo.MaxOutputTokens, 7)
      )
      assert.strictEqual(short.usage.outputTokens.total, 7)
    }).pipe(Effect.provide(layer()))
  )

  it.live("gives the same answer for the same seed", () =>
    Effect.gen(function* () {
      const ask = Effect.map(LanguageModel.generateText({ prompt: "hello" }), ({ text }) => text)
      assert.strictEqual(yield* ask, yield* ask)
    }).pipe(Effect.provide(layer({ seed: 3, temperature: 1 })))
  )

  onBoth.live("holds an answer to its schema, and a call to its tool's, by a grammar", () =>
    Effect.gen(function* () {
      const judge = Agent.make("judge", { output: Schema.Struct({ ok: Schema.Boolean }) })
      assert.include([true, false], (yield* judge.run("Is it?")).ok)
      const parts = yield* LanguageModel.generateText({
        prompt: "Flip it.",
        toolkit: { tools: { flip: flip.tool }, handle: () => Effect.die("not run here") } as never,
        toolChoice: "required",
        disableToolCallResolution: true
      } as { readonly prompt: string })
      const content: ReadonlyArray<Response.AnyPart> = parts.content
      const call = content.find((part) => part.type === "tool-call")
      assert.strictEqual(call?.name, "flip")
      assert.include([true, false], call?.params.on)
      let flips = 0
      const counted = AgentTool.fromFunction("flip", {
        description: "Flips a switch",
        parameters: Schema.Struct({ on: Schema.Literals([true, false]) }),
        execute: () => ++flips
      })
      const switcher = Agent.make("switcher", { tools: [counted], toolChoice: "required", maxSteps: 1 })
      assert.strictEqual((yield* Effect.flip(switcher.run("Flip it.")))._tag, "MaxStepsExceeded")
      assert.strictEqual(flips, 1)
    }).pipe(Effect.provide(layer({ maxOutputTokens: 400 })))
  )

  it.live("goes on after a tool's result", () =>
    LanguageModel.generateText({
      prompt: [
        { role: "system", content: "Flip." },
        { role: "user", content: "Flip it." },
        { role: "assistant", content: [{ type: "tool-call", id: "c1", name: "flip", params: { on: true } }] },
        { role: "tool", content: [{ type: "tool-result", id: "c1", name: "flip", isFailure: false, result: false }] }
      ]
    }).pipe(
      // A model with random weights may end at any token.
      Effect.map(({ finishReason }) => assert.include(["length", "stop"], finishReason)),
      Effect.provide(layer())
    )
  )

  onBoth.live("loads the weights of a file once for all Layers, and frees them with the last scope", () =>
    Effect.gen(function* () {
      const counts = (yield* isSync) ? () => ({ loads: processes().started, now: processes().now }) : () => loaded()
      assert.strictEqual(counts().now, 0)
      const before = counts().loads
      const scopes = yield* Effect.forEach([1, 2, 3], () => Scope.make())
      yield* Effect.forEach(scopes, (scope) => Scope.provide(Layer.build(layer()), scope), { concurrency: "unbounded" })
      assert.strictEqual(counts().loads - before, 1)
      assert.strictEqual(counts().now, 1)
      yield* Scope.close(scopes[0]!, Exit.void)
      yield* Scope.close(scopes[1]!, Exit.void)
      assert.strictEqual(counts().now, 1)
      yield* Scope.close(scopes[2]!, Exit.void)
      assert.strictEqual(counts().now, 0)
    })
  )

  it.live("makes one answer at a time, the first one first, and as many at once as there are sequences", () =>
    Effect.gen(function* () {
      const run = (more: Partial<LlamaCpp.Options>) =>
        Effect.gen(function* () {
          const order: Array<string> = []
          yield* Effect.forEach(
            ["a", "b", "c"],
            (name) =>
              Stream.runForEach(LanguageModel.streamText({ prompt: name }), (part) =>
                Effect.sync(() => {
                  if (part.type === "text-start" || part.type === "finish") order.push(`${name} ${part.type}`)
                })
              ),
            { concurrency: "unbounded" }
          )
          return order
        }).pipe(Effect.provide(layer(more)))
      const one = yield* run({})
      assert.deepStrictEqual(
        one.filter((event) => event.endsWith("finish")),
        ["a finish", "b finish", "c finish"]
      )
      assert.isBelow(one.indexOf("a finish"), one.indexOf("b text-start"))
      const three = yield* run({ sequences: 3, maxOutputTokens: 200 })
      assert.isBelow(
        three.lastIndexOf("c text-start"),
        three.findIndex((event) => event.endsWith("finish"))
      )
    })
  )

  onBoth.live("stops after a token when it is interrupted, and the next call is answered", () =>
    Effect.gen(function* () {
      let seen = 0
      const long = Stream.runForEach(LanguageModel.streamText({ prompt: "go" }), () => Effect.sync(() => seen++))
      const fiber = yield* Effect.forkChild(long)
      yield* Effect.sync(() => seen).pipe(
        Effect.tap(() => Effect.sleep("1 millis")),
        Effect.repeat({ until: (now) => now > 2 })
      )
      yield* Effect.timeout(Fiber.interrupt(fiber), "10 seconds")
      assert.isBelow(seen, 900)
      const next = yield* LanguageModel.generateText({ prompt: "hi" }).pipe(
        Effect.provideService(ModelInfo.MaxOutputTokens, 3)
      )
      assert.strictEqual(next.usage.outputTokens.total, 3)
    }).pipe(Effect.provide(layer({ maxOutputTokens: 900 })))
  )

  onBoth.live("lets a call that waits for its turn be interrupted at once, and keeps the order of the others", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const ask = (name: string, tokens: number) =>
        LanguageModel.generateText({ prompt: name }).pipe(
          Effect.provideService(ModelInfo.MaxOutputTokens, tokens),
          Effect.ensuring(Effect.sync(() => order.push(name)))
        )
      const first = yield* Effect.forkChild(ask("first", 700), { startImmediately: true })
      const second = yield* Effect.forkChild(ask("second", 3), { startImmediately: true })
      const third = yield* Effect.forkChild(ask("third", 3), { startImmediately: true })
      yield* Fiber.interrupt(second)
      yield* Effect.all([Fiber.join(first), Fiber.join(third)])
      assert.deepStrictEqual(order, ["second", "first", "third"])
    }).pipe(Effect.provide(layer({ maxOutputTokens: 900 })))
  )

  onBoth.live("gives an answer up when its time is over", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(LanguageModel.generateText({ prompt: "go" }))
      assert.match(error.message, /no answer within/)
    }).pipe(Effect.provide(layer({ maxOutputTokens: 900, timeout: "20 millis" })))
  )

  it.live("refuses what it cannot read, and what cannot be loaded", () =>
    Effect.gen(function* () {
      const image = { type: "file", mediaType: "image/png", data: new Uint8Array([137]) } as const
      const error = yield* LanguageModel.generateText({ prompt: [{ role: "user", content: [image] }] }).pipe(
        Effect.provide(layer()),
        Effect.flip
      )
      assert.match(error.message, /image\/png/)
      const build = (file: string) =>
        Effect.flip(Effect.scoped(Layer.build(LlamaCpp.layer({ ...options, modelPath: file }))))
      assert.match((yield* build(path.join(folder, "none.gguf"))).message, /no such file/)
      const broken = path.join(folder, "broken.gguf")
      fs.writeFileSync(broken, "not a model")
      assert.match((yield* build(broken)).message, /cannot be loaded/)
      assert.throws(() => LlamaCpp.layer({ modelPath, threads: 0 }), /threads/)
    })
  )

  it("is refused by Effect.runSync without the sync edge, and where it was built without it", async () => {
    const error = Effect.runSync(Effect.flip(Effect.scoped(Layer.build(layer()))))
    assert.match(error.message, /SyncEdge\.layer.*Effect\.runPromise/)
    const program = Effect.gen(function* () {
      const model = yield* LanguageModel.LanguageModel
      return Effect.runSyncExit(model.generateText({ prompt: "hello" }))
    })
    assert.match(JSON.stringify(await Effect.runPromise(Effect.provide(program, layer()))), /under Effect\.runSync too/)
  })

  onBoth.sync("fails what waits for a process that was killed, and starts another", () =>
    Effect.gen(function* () {
      const first = yield* Scope.make()
      const context = yield* Scope.provide(Layer.build(layer({ maxOutputTokens: 900 })), first)
      const asked = yield* Effect.forkChild(
        Effect.flip(Effect.provide(LanguageModel.generateText({ prompt: "go" }), context))
      )
      yield* Effect.yieldNow
      killChildren()
      assert.match((yield* Fiber.join(asked)).message, /process of the model has ended/)
      const whole = yield* Effect.provide(LanguageModel.generateText({ prompt: "hello" }), layer())
      assert.strictEqual(whole.usage.outputTokens.total, 40)
      yield* Scope.close(first, Exit.void)
      assert.strictEqual(processes().now, 0)
    })
  )

  it("is not loaded again for Effect.runPromise where a program of Effect.runSync has it", async () => {
    const scope = Scope.makeUnsafe()
    const [started, loads] = [processes().started, loaded().loads]
    const sync = <A, E>(effect: Effect.Effect<A, E>): A => Effect.runSync(Effect.provide(effect, SyncEdge.layer))
    sync(Scope.provide(Layer.build(layer()), scope))
    const answer = LanguageModel.generateText({ prompt: "hello" }).pipe(Effect.provide(layer()))
    assert.strictEqual((await Effect.runPromise(answer)).usage.outputTokens.total, 40)
    assert.deepStrictEqual([processes().started - started, loaded().loads - loads], [1, 0])
    sync(Scope.close(scope, Exit.void))
    assert.strictEqual(processes().now, 0)
  })

  it.live("is found by name", () =>
    Effect.gen(function* () {
      const info = yield* ModelInfo.get
      assert.deepStrictEqual([info?.provider, info?.model], ["llamacpp", "tiny.gguf"])
    }).pipe(Effect.provide(Models.layer(`llamacpp:${modelPath}`)))
  )

  orderSuite(
    "LlamaCpp.layerEmbedding",
    Effect.succeed(LlamaCpp.layerEmbedding({ modelPath, threads: 1, gpu: false, contextTokens: 256 }))
  )

  onBoth.live("makes embeddings", () =>
    Effect.gen(function* () {
      const model = yield* EmbeddingModel.EmbeddingModel
      const { embeddings } = yield* model.embedMany(["one", "two", "one"])
      assert.strictEqual(embeddings.length, 3)
      assert.strictEqual(embeddings[0]!.vector.length, 64)
      assert.deepStrictEqual(embeddings[0]!.vector, embeddings[2]!.vector)
    }).pipe(Effect.provide(LlamaCpp.layerEmbedding({ modelPath, threads: 1, gpu: false, contextTokens: 256 })))
  )
})
