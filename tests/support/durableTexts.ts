/** What comes from outside into durable runs, as keys, names and values: the same for SQLite and PostgreSQL. */
import { expect, it } from "@effect/vitest"
import { Effect, type Layer, Schema } from "effect"
import { Agent, AgentTool, Runner, Step, TestModel } from "troupe"
import * as Durable from "troupe/Durable"
import type { DurableError } from "troupe/RunError"
import { eventually } from "./durable.ts"

/** A text that no database can make shorter. */
const long = (length: number): string => {
  let state = 7
  const next = () => (state = (state * 48_271) % 2_147_483_647)
  return Array.from({ length }, () => String.fromCharCode(33 + (next() % 90))).join("")
}
const strange = ["a\0b", "half \uD800", `q"uo\\te %_'`, "🙂 名前", long(5000)]

let count = 0
/** A durable runner that no other law has. */
const durable = <E>(run: (text: string) => Effect.Effect<string, E>) => {
  const name = `texts ${++count}`
  return Durable.make(Runner.make(name, { run: (text: string) => Effect.orDie(run(text)) }), {
    name,
    version: "1",
    key: (text) => text
  })
}

export const durableTexts = (engine: () => Layer.Layer<Durable.Engine, DurableError>): void => {
  const law = <E>(name: string, effect: Effect.Effect<void, E, Durable.Engine>) =>
    it.live(name, () => Effect.provide(effect, engine()))

  law(
    "steps of any name are kept, each for itself, and are not made again",
    Effect.gen(function* () {
      const made: Array<string> = []
      const names = [...strange, `${long(5000)}!`, "a\0c", "half \uD801"]
      const self = durable((text) =>
        Effect.gen(function* () {
          for (const name of names) {
            const work = Effect.sync(() => {
              made.push(name)
              return `${name} of ${text}\0\uD800`
            })
            expect(yield* Step.run(name, Schema.String, work)).toBe(`${name} of ${text}\0\uD800`)
          }
          // Replayed from here.
          yield* Step.sleep("a while", "1100 millis")
          return "done"
        })
      )
      expect(yield* self.run("x")).toBe("done")
      expect(made).toEqual(names)
    })
  )

  law(
    "signals of any name are taken by the run that waits for them, in their order",
    Effect.gen(function* () {
      const self = durable((text) =>
        Effect.gen(function* () {
          const name = strange[Number(text)]!
          const wait = Step.signal(name, Schema.String)
          return `${yield* wait} ${yield* wait}`
        })
      )
      yield* Effect.gen(function* () {
        for (const index of strange.keys()) {
          const key = yield* Durable.submit(self, String(index))
          yield* eventually(Effect.map(Durable.status(self, key), (status) => status === "suspended"))
          expect(yield* Durable.pending(self, key)).toMatchObject([{ kind: "signal", id: strange[index] }])
          for (const value of ["one\0", "two \uD800"]) yield* Durable.signal(self, key, strange[index]!, value)
        }
        for (const index of strange.keys()) {
          expect(yield* Durable.result(self, String(index))).toBe("one\0 two \uD800")
        }
      }).pipe(Effect.provide(Durable.worker(self)))
    })
  )

  law(
    "sleeps of any name end, and runs in runs may be as deep as they like",
    Effect.gen(function* () {
      let deep = Runner.make("leaf", {
        run: (text: string) =>
          Effect.gen(function* () {
            for (const name of strange) yield* Effect.orDie(Step.sleep(name, "10 millis"))
            yield* Effect.orDie(Step.sleep(strange[0]!, "1100 millis"))
            return yield* Effect.orDie(Step.run("s", Schema.String, Effect.succeed(`deep ${text}`)))
          })
      })
      for (let level = 0; level < 30; level++) {
        const inner = deep
        deep = Runner.make(`${level} ${long(150)}`, { run: (text: string) => inner.run(text) })
      }
      const self = durable((text) => deep.run(text))
      expect(yield* self.run("x")).toBe("deep x")
    })
  )

  law(
    "calls of tools are kept under any id that a model gives them",
    Effect.gen(function* () {
      const made: Array<string> = []
      const note = AgentTool.fromFunction("note", {
        description: "Notes a text",
        parameters: Schema.Struct({ text: Schema.String }),
        execute: ({ text }) => {
          made.push(text)
          return `noted ${text}`
        }
      })
      const toolCalls = strange.map((id, index) => ({ id, name: "note", params: { text: `${index}\0` } }))
      const agent = Agent.make("agent", { tools: [note] })
      const self = durable((text) =>
        Effect.gen(function* () {
          const answer = yield* agent
            .run(text)
            .pipe(Effect.provide(TestModel.layer([{ toolCalls }, "Done."], { unused: "ignore" })))
          yield* Step.sleep("a while", "1100 millis")
          return answer
        })
      )
      expect(yield* self.run("x")).toBe("Done.")
      expect(made.toSorted()).toEqual(toolCalls.map(({ params }) => params.text))
    })
  )

  law(
    "a step that gives more than a client takes at once is kept, and read when the run goes on",
    Effect.gen(function* () {
      const self = durable(() =>
        Effect.gen(function* () {
          const text = yield* Step.run("large", Schema.String, Effect.succeed("x".repeat(18_000_000)))
          yield* Step.sleep("a while", "1100 millis")
          return String(text.length)
        })
      )
      expect(yield* self.run("x")).toBe("18000000")
    })
  )

  law(
    "a key that databases do not keep is refused, and a long one in every character is kept",
    Effect.gen(function* () {
      const self = durable((text) => Effect.succeed(text))
      for (const bad of ["", "a\0b", "half \uD800", long(513)]) {
        const error = yield* Effect.flip(self.run(bad))
        expect(error.message).toContain("is not a text of 1 to 512 whole characters without NUL")
      }
      for (const fine of [long(512), "名".repeat(512), "🙂".repeat(256)]) expect(yield* self.run(fine)).toBe(fine)
      const unknown = yield* Effect.flip(Durable.find(self, "a\0b"))
      expect(unknown).toMatchObject({ reason: "unknown-run" })
    })
  )
}
