/** Worker processes that are killed, paused and replaced, and an operator who answers what they leave open. */
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { Effect, type Scope, Stream } from "effect"
import { buildSync } from "esbuild"
import { expect } from "vitest"
import * as Durable from "troupe/Durable"
import * as RunEvent from "troupe/RunEvent"
import { checkGrammar } from "../../support/grammar.ts"
import { counts, trees } from "./tree.ts"

/** A worker that is started when it is needed and killed when it is not. */
export interface Worker {
  process: ChildProcess
}

export interface Settings {
  readonly engine: string
  readonly ledger: string
  readonly delay: number
  /** The file that `bundled` made. */
  readonly program: string
}

/** Makes one file of a program, which starts in a part of the time. */
export const bundled = (name: string, folder: string): string => {
  const outfile = join(folder, `${name}.mjs`)
  buildSync({
    entryPoints: [new URL(`${name}.ts`, import.meta.url).pathname],
    bundle: true,
    platform: "node",
    format: "esm",
    conditions: ["troupe-source"],
    external: ["redis", "undici"],
    banner: {
      js: 'import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);'
    },
    logLevel: "error",
    outfile
  })
  return outfile
}

const launch = ({ delay, engine, ledger, program }: Settings): ChildProcess =>
  spawn(process.execPath, [program], {
    env: { ...process.env, ENGINE: engine, LEDGER: ledger, DELAY: String(delay) },
    stdio: ["ignore", "ignore", "inherit"]
  })

/** Workers for as long as the scope is open. One that ends by itself is not replaced. */
export const workers = (count: number, settings: Settings): Effect.Effect<Array<Worker>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => Array.from({ length: count }, () => ({ process: launch(settings) }))),
    (all) =>
      Effect.sync(() => {
        for (const { process } of all) process.kill("SIGKILL")
      })
  )

/** Kills a worker with SIGKILL and starts another in its place. */
export const replace = (worker: Worker, settings: Settings): void => {
  worker.process.kill("SIGKILL")
  worker.process = launch(settings)
}

/** Answers, truly and until it is interrupted, each step whose outcome is not known. Gives what it was asked. */
export const operator = (seeds: ReadonlyArray<number>, ledger: string, asked: Map<string, string>) =>
  Effect.gen(function* () {
    for (const seed of seeds) {
      const key = `tree ${seed}`
      for (const wait of yield* Durable.pending(trees, key)) {
        if (wait.kind !== "outcome") continue
        const happened = (counts(ledger).get(`effect ${wait.id}`) ?? 0) > 0
        const answer = happened ? Durable.happened("found out") : Durable.didNotHappen
        yield* Effect.ignore(Durable.answer(trees, key, wait.id, answer))
        asked.set(wait.id, answer._tag)
      }
    }
    yield* Effect.sleep(100)
  }).pipe(Effect.forever)

/** The events of a run that has ended: numbered without a gap, with one end. */
export const hasOneEnd = (seed: number) =>
  Effect.map(Stream.runCollect(Durable.events(trees, `tree ${seed}`)), (events) => {
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index))
    const ends = events.filter((event) => event.path.length === 1 && RunEvent.isTerminal(event))
    expect(ends).toEqual([events.at(-1)])
    return events
  })

/** The same where no clock has jumped: they are those of a run that was executed once. */
export const hasOneHistory = (seed: number) => Effect.map(hasOneEnd(seed), (events) => checkGrammar(events))

/**
 * The sums at the end. Each tool call that is kept was made: once, and once more for each time that the operator said it was
 * not. Gives those of which that is not so.
 */
export const unaccounted = (seeds: ReadonlyArray<number>, ledger: string, asked: ReadonlyMap<string, string>) =>
  Effect.gen(function* () {
    const made = counts(ledger)
    const wrong: Array<string> = []
    for (const seed of seeds) {
      for (const { key, kind, name, state } of yield* Durable.steps(trees, `tree ${seed}`)) {
        if (kind !== "tool" || name !== "work" || (state !== "done" && state !== "failed")) continue
        const times = made.get(`effect ${key}`) ?? 0
        if (times !== 1 && !(times === 2 && asked.get(key) === "DidNotHappen")) wrong.push(`${key} ${times}`)
      }
    }
    for (const [line, times] of made) {
      if (times > 1 && line.startsWith("effect ") && asked.get(line.slice(7)) !== "DidNotHappen") wrong.push(line)
    }
    return wrong
  })
