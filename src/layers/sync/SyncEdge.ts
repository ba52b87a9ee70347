/**
 * The sync edge: with this Layer provided, `Effect.runSync` runs the same program as `Effect.runPromise`, with real
 * concurrency. The Layer swaps the scheduler and the clock for a loop that can block; I/O is done by one shared thread.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Scheduler from "effect/Scheduler"
import { NestedSyncEdge } from "../../RunError.ts"
import { isSyncFiber, SyncBridge } from "../../services/SyncBridge.ts"
import * as Bridge from "../internal/io/bridge.ts"
import { EventLoop, isNestedTooDeep } from "./internal/eventLoop.ts"
import * as SyncFileSystem from "./internal/fileSystem.ts"
import * as SyncHttpClient from "../internal/io/httpClient.ts"
import * as IoWorker from "../internal/io/ioWorker.ts"

const make = (allowNested: boolean): Layer.Layer<never> =>
  Layer.effectContext(
    Effect.withFiber((fiber) => {
      // Under runPromise the program needs none of this, and on the edge it has it already.
      if (!isSyncFiber(fiber) || fiber.getRef(SyncBridge) !== undefined) {
        return Effect.succeed(Context.empty())
      }
      if (isNestedTooDeep()) return Effect.die(new NestedSyncEdge({ situation: "depth" }))
      const loop = EventLoop.enter(fiber, allowNested)
      const acquire = Effect.sync(() => {
        IoWorker.acquire()
        return Bridge.make(loop)
      })
      const release = (bridge: Bridge.Bridge) =>
        Effect.sync(() => {
          bridge.close()
          IoWorker.release()
        })
      return Effect.map(
        Effect.acquireRelease(acquire, release),
        (bridge) =>
          Context.make(Scheduler.Scheduler, loop).pipe(
            Context.add(Scheduler.MaxOpsBeforeYield, loop.opLimit),
            // It would hide fibers from the loop.
            Context.add(Scheduler.PreventSchedulerYield, false),
            Context.add(Clock.Clock, loop.clock(fiber.getRef(Clock.Clock))),
            Context.add(SyncBridge, bridge)
          ) as Context.Context<never>
      )
    })
  )

/**
 * Lets `Effect.runSync`, `Effect.runSyncExit` and `ManagedRuntime.runSync` run agents: concurrent requests overlap;
 * timers, timeouts, retries, streams, interruption with abort on the wire, finalizers and typed errors are as under
 * `runPromise`. Provide it around everything else. Under `runPromise` it does nothing.
 *
 * It refuses what it cannot do instead of hanging, as soon as no timer or request is pending: a tool that waits for a
 * bare promise fails with `AsyncToolError`; a program that cannot make progress fails with `StuckSyncEdge`; blocking a
 * running fiber or a server with `NestedSyncEdge`. Agents fail with these as typed errors; in other Effects they are
 * defects. `Effect.runSync` itself blocks the thread: signal handlers wait, and SIGINT ends a process that has none.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, SyncEdge } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const answer: string = Effect.runSync(
 *   agent.run("What is 2 + 40?").pipe(Effect.provide(DemoModel.layer), Effect.provide(SyncEdge.layer))
 * )
 */
export const layer: Layer.Layer<never> = make(false)

/**
 * As {@link layer}, and blocks also a running fiber, and a process that is serving connections, where `layer` fails with
 * `NestedSyncEdge`. Everything else in the thread waits until the program is done.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, SyncEdge } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const answer = Effect.runSync(
 *   agent.run("What is 2 + 40?").pipe(Effect.provide(DemoModel.layer), Effect.provide(SyncEdge.layerNested))
 * )
 */
export const layerNested: Layer.Layer<never> = make(true)

/**
 * An `HttpClient` for tools and providers on `effect/http`, at both edges. It fails as any `HttpClient` does, with
 * `HttpClientError`; interruption aborts the request on the wire.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { HttpClient } from "effect/http"
 * import { SyncEdge } from "troupe"
 *
 * const status = HttpClient.get("http://localhost:8080/").pipe(
 *   Effect.map((response) => response.status),
 *   Effect.provide(Layer.provideMerge(SyncEdge.layerHttpClient, SyncEdge.layer))
 * )
 */
export const layerHttpClient: Layer.Layer<HttpClient.HttpClient> = SyncHttpClient.layer

/**
 * A `FileSystem` that works at both edges. Each operation runs in place and blocks the thread until it is done; what
 * the system refuses is a `PlatformError`.
 *
 * @example
 * import { Effect, FileSystem } from "effect"
 * import { SyncEdge } from "troupe"
 *
 * const text = Effect.runSync(
 *   Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString("README.md")).pipe(
 *     Effect.provide(SyncEdge.layerFileSystem)
 *   )
 * )
 */
export const layerFileSystem: Layer.Layer<FileSystem.FileSystem> = SyncFileSystem.layer
