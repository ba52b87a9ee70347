/** Cases for `edges.test.ts`: runs that fail, in a process of their own that counts unhandled rejections. */
import { assert } from "@effect/vitest"
import { Effect, Exit, Layer, Stream } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as SyncEdge from "troupe/SyncEdge"
import * as TestModel from "troupe/TestModel"
import type { Cases } from "./support/isolated.ts"

const unhandled: Array<unknown> = []
process.on("unhandledRejection", (reason) => unhandled.push(reason))
process.on("uncaughtException", (error) => unhandled.push(error))

const later = (ms: number, reject: (error: Error) => void) => setTimeout(() => reject(new Error("late")), ms)
const tool = (name: string, execute: (params: unknown, context: AgentTool.ToolContext) => unknown) =>
  AgentTool.fromFunction(name, { description: name, failureMode: "error", execute })
const down = new AiError.InternalProviderError({ description: "down" })

const tools = {
  throws: tool("throws", () => {
    throw new Error("thrown")
  }),
  rejects: tool("rejects", async () => {
    throw new Error("rejected")
  }),
  "rejects later": tool("rejects-later", () => new Promise((_, reject) => void later(5, reject))),
  "rejects when it is aborted": tool(
    "rejects-aborted",
    (_, { signal }) => new Promise((__, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))))
  ),
  "rejects after it was aborted": tool(
    "rejects-after",
    (_, { signal }) => new Promise((__, reject) => signal.addEventListener("abort", () => later(5, reject)))
  ),
  "rejects after its timeout": tool("rejects-timeout", () => new Promise((_, reject) => void later(30, reject))),
  "fails in an Effect's promise": tool("effect", () => Effect.promise(() => Promise.reject(new Error("inside")))),
  dies: tool("dies", () => Effect.die(new Error("died")))
}

type Program = Effect.Effect<unknown, unknown>
const programs: Record<string, Program> = Object.fromEntries(
  Object.entries(tools).flatMap(([name, one]): Array<readonly [string, Program]> => {
    const broken = tool("broken", () => Effect.andThen(Effect.sleep("3 millis"), Effect.fail("broken")))
    const calls = (...names: ReadonlyArray<string>) =>
      TestModel.layer(() => TestModel.toolCalls(...names.map((name) => ({ name, params: {} }))))
    const agent = (options: { readonly toolTimeout?: "10 millis" }) =>
      Agent.make("agent", { tools: [one, broken], toolConcurrency: 4, maxSteps: 2, ...options })
    return [
      [`a tool that ${name}, alone`, Effect.provide(agent({ toolTimeout: "10 millis" }).run("go"), calls(one.name))],
      [
        `a tool that ${name}, alongside one that fails`,
        Effect.provide(agent({}).run("go"), calls(one.name, "broken", one.name))
      ],
      [
        `a tool that ${name}, in a stream`,
        Stream.runDrain(agent({}).stream("go")).pipe(Effect.provide(calls("broken", one.name)))
      ],
      [
        `a tool that ${name}, in a run that is interrupted`,
        Effect.timeout(agent({}).run("go"), "2 millis").pipe(Effect.provide(calls(one.name)))
      ]
    ]
  })
)
const agent = Agent.make("agent", { retry: "none" })
Object.assign(programs, {
  "a model that fails": agent.run("go").pipe(Effect.provide(TestModel.layer([TestModel.fail(down)]))),
  "a model that fails in the middle of its stream": Stream.runDrain(agent.stream("go")).pipe(
    Effect.provide(TestModel.layer([{ text: "abcdef", chunk: 1, after: 2, fail: down }]))
  ),
  "a model whose promise rejects": agent.run("go").pipe(
    Effect.provide(
      Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({
          generateText: () => Effect.promise((): Promise<never> => Promise.reject(new Error("no model"))),
          streamText: () =>
            Stream.fromEffect(Effect.promise((): Promise<never> => Promise.reject(new Error("no model"))))
        })
      )
    )
  ),
  "a consumer that stops": agent
    .stream("go")
    .pipe(
      Stream.take(2),
      Stream.runDrain,
      Effect.andThen(Effect.fail("stopped")),
      Effect.provide(TestModel.layer([{ text: "abcdef", chunk: 1, chunkDelay: "1 millis" }]))
    ),
  "a consumer that fails": agent.stream("go").pipe(
    Stream.runForEach(() => Effect.fail("consumer")),
    Effect.provide(TestModel.layer([{ text: "abcdef", chunk: 1, chunkDelay: "1 millis" }]))
  ),
  "a consumer that throws": agent.stream("go").pipe(
    Stream.runForEach((): Effect.Effect<void> => {
      throw new Error("consumer")
    }),
    Effect.provide(TestModel.layer([{ text: "abcdef", chunk: 1, chunkDelay: "1 millis" }]))
  )
} satisfies Record<string, Program>)

const nothingUnhandled = async (name: string, exit: Exit.Exit<unknown, unknown>) => {
  assert.isTrue(Exit.isFailure(exit), "it did not fail")
  // What rejects last does so after 35 ms.
  await new Promise((resolve) => setTimeout(resolve, 60))
  assert.deepStrictEqual(unhandled.splice(0), [], name)
}

export const cases: Cases = Object.fromEntries(
  Object.entries(programs).flatMap(([name, program]) => [
    [`runPromise: ${name}`, async () => nothingUnhandled(name, await Effect.runPromiseExit(program))],
    [`runSync: ${name}`, () => nothingUnhandled(name, Effect.runSyncExit(Effect.provide(program, SyncEdge.layer)))]
  ])
)
