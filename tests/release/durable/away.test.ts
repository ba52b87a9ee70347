/** A PostgreSQL that is away for a while: how often it is asked for, and what is said of it. */
import { expect, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import { eventually } from "../../support/durable.ts"
import { postgres } from "../../support/postgres.ts"
import { tcpProxy } from "../../support/tcpProxy.ts"

const server = postgres()
const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
const definitions = (["a", "b", "c", "d"] as const).map((name) =>
  Durable.make(echo, { name, version: "1", key: String })
)

/** Executes four definitions on a database behind a proxy, and keeps what is said meanwhile. */
const behindProxy = (name: string) =>
  Effect.gen(function* () {
    const url = new URL(yield* Effect.promise(() => server.urlOf(name)))
    const direct = Number(url.port)
    const proxy = yield* Effect.acquireRelease(
      Effect.promise(() => tcpProxy(direct)),
      ({ close }) => Effect.promise(close)
    )
    url.port = String(proxy.port)
    const said: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void said.push(`${logLevel} ${String(message)}`))
    const live = Durable.worker(...definitions).pipe(
      Layer.provideMerge(Durable.layerPostgres({ url: url.href, lease: "1 second", poll: "20 millis" })),
      Layer.provideMerge(Logger.layer([logger]))
    )
    return {
      proxy,
      said,
      live,
      goAway: () => {
        // Nothing listens at this port.
        proxy.retarget(1)
        proxy.cut()
      },
      comeBack: () => proxy.retarget(direct)
    }
  })

it.live(
  "a thousand statements to a PostgreSQL that is away make one attempt to connect after the other",
  () =>
    Effect.gen(function* () {
      const { goAway, live, proxy } = yield* behindProxy("storm")
      yield* Effect.gen(function* () {
        for (const one of definitions) yield* one.run("before")
        goAway()
        yield* Effect.flip(Durable.list())
        const before = proxy.total()
        const ask = Effect.flip(Durable.list())
        yield* Effect.all(
          Array.from({ length: 250 }, () => ask),
          { concurrency: "unbounded" }
        )
        // Each statement is made four times.
        expect(proxy.total() - before).toBeLessThan(12)
      }).pipe(Effect.provide(live))
    }).pipe(Effect.scoped),
  60_000
)

it.live(
  "one line says that a PostgreSQL is away, and one that it is back",
  () =>
    Effect.gen(function* () {
      const { comeBack, goAway, live, proxy, said } = yield* behindProxy("lines")
      yield* Effect.gen(function* () {
        for (const one of definitions) yield* one.run("before")
        goAway()
        const before = proxy.total()
        // Until every node has noticed: each renews its lease more often than that many attempts are made.
        yield* eventually(Effect.sync(() => proxy.total() - before > 10))
        comeBack()
        yield* eventually(Effect.sync(() => said.length > 1))
        for (const one of definitions) expect(yield* Effect.retry(one.run("after"), { times: 20 })).toBe("after")
      }).pipe(Effect.provide(live))
      expect(said).toEqual([
        expect.stringMatching(
          /^Warn The database of durable runs cannot be reached, and they go on when it is there: /
        ),
        expect.stringMatching(/^Info The database of durable runs can be reached again, after \d+ seconds\.$/)
      ])
    }).pipe(Effect.scoped),
  60_000
)
