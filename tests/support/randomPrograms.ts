/**
 * A child process that runs random programs under `runSync` and under `runPromise` and compares their ends. It prints
 * the number of the program it is at, so that a watchdog that kills it for hanging knows which one hung.
 */
import { Cause, Deferred, Effect, Exit, Fiber, Queue, Semaphore } from "effect"
import * as SyncEdge from "troupe/SyncEdge"

const [, , from, count] = process.argv

/** A small generator of our own: the same numbers for the same program, on each edge. */
const randomOf = (seed: number) => {
  let state = seed * 2654435761 + 1
  return (n: number): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % n
  }
}

type Program = Effect.Effect<number, string>

/**
 * `promises`: whether waits that only the event loop can end may occur. Where ends are compared no timeout may fire, for a
 * busy machine would have it fire under one edge and not under the other.
 */
const build = (pick: (n: number) => number, depth: number, promises: boolean): Program => {
  // Everything is chosen while the program is built: chosen while it runs, it would depend on the order of its fibers.
  const ms = pick(4)
  const value = pick(10)
  const leaves: ReadonlyArray<() => Program> = [
    () => Effect.succeed(value),
    () => Effect.as(Effect.sleep(ms), value),
    () => Effect.as(Effect.yieldNow, value),
    () => Effect.fail(`fail${ms}`),
    () => Effect.die(`die${ms}`),
    ...(promises
      ? [
          () => Effect.promise(() => Promise.resolve(1)),
          () => Effect.never,
          () => Effect.flatMap(Deferred.make<number>(), Deferred.await)
        ]
      : [])
  ]
  if (depth === 0) return leaves[pick(leaves.length)]!()
  const [one, two, three] = [0, 0, 0].map(() => build(pick, depth - 1, promises)) as [Program, Program, Program]
  const width = pick(3) + 1
  const nodes: ReadonlyArray<() => Program> = [
    () => Effect.map(Effect.all([one, two], { concurrency: 2 }), ([a, b]) => a + b),
    () => Effect.map(Effect.all([one, two, three], { concurrency: width }), (all) => all.length),
    () => Effect.flatMap(Effect.forkChild(one), Fiber.join),
    () => Effect.flatMap(Effect.forkDetach(one), Fiber.join),
    () => Effect.scoped(Effect.flatMap(Effect.forkScoped(one), Fiber.join)),
    // Of a failure and a defect at nearly the same time either may come first, so both are caught.
    () => Effect.catchCause(one, () => two),
    () => Effect.map(Effect.exit(one), (exit) => (Exit.isSuccess(exit) ? exit.value : -1)),
    () => Effect.ensuring(one, Effect.sleep(ms)),
    () =>
      Effect.acquireUseRelease(
        one,
        () => two,
        () => Effect.sleep(ms)
      ),
    () => Effect.uninterruptible(one),
    () => Effect.timeoutOrElse(one, { duration: promises ? 20 : 60_000, orElse: () => Effect.succeed(99) }),
    () => Effect.flatMap(one, () => two),
    () =>
      Effect.gen(function* () {
        const queue = yield* Queue.bounded<number>(1)
        yield* Effect.forkChild(Effect.forEach([1, 2, 3], (n) => Queue.offer(queue, n)))
        const first = yield* one
        return first + (yield* Queue.take(queue)) + (yield* Queue.take(queue))
      }),
    () =>
      Effect.gen(function* () {
        const semaphore = yield* Semaphore.make(1)
        const both = yield* Effect.all([semaphore.withPermits(1)(one), semaphore.withPermits(1)(two)], {
          concurrency: 2
        })
        return both[0] - both[1]
      })
  ]
  return nodes[pick(nodes.length)]!()
}

/** What can be compared: values and kinds of failure; which of several that fail at once comes first is not promised. */
const shape = (exit: Exit.Exit<number, string>): string => {
  if (Exit.isSuccess(exit)) return `value ${exit.value}`
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "failed"
}

for (let seed = Number(from); seed < Number(from) + Number(count); seed++) {
  process.stdout.write(`${seed}\n`)
  const promises = seed % 4 === 0
  const program = () => Effect.suspend(() => build(randomOf(seed), 1 + (seed % 4), promises))
  const sync = Effect.runSyncExit(program().pipe(Effect.provide(SyncEdge.layer)))
  if (promises) continue
  const other = await Effect.runPromiseExit(program())
  if (shape(sync) !== shape(other)) {
    process.stderr.write(`program ${seed}: runSync ${shape(sync)}, runPromise ${shape(other)}\n`)
    process.exit(1)
  }
}
process.exit(0)
