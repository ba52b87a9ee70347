/**
 * A tool that blocks, in a worker thread: the event loop goes on, a run that takes too long is stopped for real, and the same
 * tool works without an event loop. The model follows a script.
 */
import { Effect, Exit } from "effect"
import { Agent, SyncEdge, TestModel, WorkerTool } from "troupe"

const countPrimes = WorkerTool.fromModule<typeof import("./primes.ts").default>(new URL("./primes.ts", import.meta.url))
const agent = Agent.make("mathematician", { tools: [countPrimes] })
const counting = (limit: number) =>
  agent
    .result(`How many primes are below ${limit}?`)
    .pipe(
      Effect.provide(TestModel.layer([TestModel.toolCall("count_primes", { limit }), "Counted."], { unused: "ignore" }))
    )
const found = ({ transcript }: Effect.Success<ReturnType<typeof counting>>) =>
  transcript.content.flatMap((message) =>
    message.role === "tool" ? message.content.flatMap((part) => (part.type === "tool-result" ? [part.result] : [])) : []
  )

let ticks = 0
const timer = setInterval(() => ticks++, 5)
const [count] = found(await Effect.runPromise(counting(2_000_000)))
clearInterval(timer)
console.log(`async: ${count} primes, and the event loop turned ${ticks} times meanwhile`)

const stopped = await Effect.runPromiseExit(Effect.timeout(counting(Number.MAX_SAFE_INTEGER), "300 millis"))
console.log(`stopped: ${Exit.isFailure(stopped)}`)

const [same] = found(Effect.runSync(Effect.provide(counting(2_000_000), SyncEdge.layer)))
console.log(`sync:  ${same} primes`)

if (count !== 148_933 || same !== count || ticks < 5 || Exit.isSuccess(stopped)) throw new Error("that went wrong")
