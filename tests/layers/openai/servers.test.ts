/** Compatible servers that answer in ways of their own, as their users have reported them. On both edges. */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Schema, Stream } from "effect"
import { Agent, AgentTool, OpenAi, type RunEvent } from "troupe"
import type { CaseName } from "../../support/modelCases.ts"
import { exitOn } from "../../support/edges.ts"
import { type Asked, layer as serverLayer, RawModelServer } from "../../support/rawModelServer.ts"

type Form = "run" | "stream"
const forms = ["run", "stream"] as const

const City = Schema.Struct({ city: Schema.String, temp: Schema.Finite })

interface Played {
  readonly output: unknown
  /** The message of the error that the run failed with; empty where it succeeded. */
  readonly message: string
  /** The amounts that were paid, in order. */
  readonly paid: ReadonlyArray<number>
  readonly events: ReadonlyArray<RunEvent.RunEvent>
  readonly requests: ReadonlyArray<Asked>
}

interface Play extends Partial<OpenAi.Options> {
  readonly form?: Form
  readonly output?: typeof City
  readonly hasTools?: boolean
}

layer(serverLayer, { excludeTestServices: true })("A compatible server", (it) => {
  for (const [edge, runOn] of Object.entries(exitOn)) {
    const play = (name: CaseName, { form = "run", hasTools = true, output, ...more }: Play = {}) =>
      Effect.gen(function* () {
        const server = yield* RawModelServer
        const url = yield* server.play(name)
        const paid: Array<number> = []
        const events: Array<RunEvent.RunEvent> = []
        const pay = AgentTool.fromFunction("pay", {
          description: "Pay",
          parameters: Schema.Struct({ eur: Schema.Finite }),
          execute: ({ eur }) => {
            paid.push(eur)
            return "ok"
          }
        })
        const tools = hasTools ? [pay] : []
        const agent = Agent.make("a", { tools, ...(output === undefined ? {} : { output }) })
        const model = OpenAi.layer({ model: "m", baseUrl: url, api: "chat", retry: "none", ...more })
        const program =
          form === "run"
            ? Effect.map(agent.run("go"), (value): unknown => value)
            : agent.stream("go").pipe(
                Stream.tap((event) => Effect.sync(() => events.push(event))),
                Stream.runLast,
                Effect.map((last): unknown => {
                  const event = Option.getOrUndefined(last)
                  return event?._tag === "RunCompleted" ? event.output : undefined
                })
              )
        const exit = yield* runOn(Effect.provide(program, model))
        const failure: unknown = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        const played: Played = {
          output: Exit.isSuccess(exit) ? exit.value : undefined,
          message: failure instanceof Error ? failure.message : "",
          paid,
          events,
          requests: yield* server.requests
        }
        return played
      })
    const answers = (name: CaseName, expected: unknown, more: Play = {}) =>
      Effect.gen(function* () {
        for (const form of forms) {
          const { message, output } = yield* play(name, { hasTools: false, form, ...more })
          assert.deepStrictEqual([name, form, message, output], [name, form, "", expected])
        }
      })
    const pays = (name: CaseName, expected: ReadonlyArray<number>, more: Play = {}) =>
      Effect.gen(function* () {
        for (const form of more.form === undefined ? forms : [more.form]) {
          const { message, output, paid } = yield* play(name, { form, ...more })
          assert.deepStrictEqual([name, form, message, output, paid], [name, form, "", "done", expected])
        }
      })
    const fails = (name: CaseName, words: ReadonlyArray<string>, more: Play = {}) =>
      Effect.gen(function* () {
        const played: Array<Played> = []
        for (const form of forms) {
          const one = yield* play(name, { hasTools: false, form, ...more })
          for (const each of words) assert.include(one.message, each, `${name} ${form}`)
          played.push(one)
        }
        return played
      })
    const responses: Play = { api: "responses" }

    describe(`${edge}:`, () => {
      it.effect("that has no schema format is asked in another way, which the refusal names", () =>
        Effect.gen(function* () {
          yield* fails("no schema format", ["unavailable now", "structuredOutput", "json_object"], { output: City })
          for (const way of ["json_object", "prompt"] as const) {
            yield* answers("no schema format", { city: "Paris", temp: 20 }, { output: City, structuredOutput: way })
          }
          const typed = { output: City, structuredOutput: "json_object" } as const
          yield* answers("JSON mode that wants the word and the shape", { city: "Paris", temp: 20 }, typed)
        })
      )

      it.effect("whose format disables tools does not get one with tools, unless that is set", () =>
        Effect.gen(function* () {
          for (const structuredOutput of [undefined, "json_object", "prompt"] as const) {
            const { message, output, paid } = yield* play("a format that silences tools", {
              output: City,
              structuredOutput
            })
            assert.deepStrictEqual([message, output, paid], ["", { city: "Paris", temp: 20 }, [5]])
          }
          const wanted = yield* play("a format that silences tools", { output: City, structuredOutput: "json_schema" })
          assert.deepStrictEqual([wanted.output, wanted.paid], [{ city: "Paris", temp: -999 }, []])
        })
      )

      it.effect("that takes answers by a tool only", () =>
        Effect.gen(function* () {
          for (const form of forms) {
            for (const hasTools of [false, true]) {
              const typed = { form, hasTools, output: City, structuredOutput: "tool" } as const
              const { events, message, output, paid } = yield* play("typed output by a tool", typed)
              assert.deepStrictEqual([message, output, paid], ["", { city: "Paris", temp: 20 }, hasTools ? [5] : []])
              const text = events.flatMap((event) => (event._tag === "TextDelta" ? [event.delta] : [])).join("")
              if (form === "stream") assert.strictEqual(text, '{"city":"Paris","temp":20}')
            }
          }
          const typed = { ...responses, output: City, structuredOutput: "tool" } as const
          yield* answers("typed output by a tool of Responses", { city: "Paris", temp: 20 }, typed)
        })
      )

      it.effect("that takes no stream options can be asked without, and the refusal says so", () =>
        Effect.gen(function* () {
          const refused = yield* play("refuses stream options", { form: "stream" })
          assert.include(refused.message, "streamUsage: false")
          yield* answers("refuses stream options", "Hi", { streamUsage: false })
        })
      )

      it.effect("that sends other data with the answer", () =>
        Effect.gen(function* () {
          yield* answers("a bill after the answer", "Hi")
          yield* answers("sources before the answer", "Hi")
          yield* answers("words before the answer", "Hi")
          yield* answers("broken events after the answer", "Hi")
          yield* answers("a bill among events of Responses", "Hi", responses)
        })
      )

      it.effect("that gives every answer an error with nothing in it", () =>
        Effect.gen(function* () {
          yield* answers("an error of empty texts", "Hi")
          yield* answers("an error that is an empty text", "Hi")
          yield* answers("an error without fields", "Hi")
          yield* answers("an error that is false", "Hi")
          yield* answers("an error with code 0", "Hi")
          yield* answers("an empty error in a choice", "Hi")
          yield* answers("an empty error of Responses", "Hi", responses)
          yield* fails("an event named error that says nothing", ["no reason given"])
          yield* fails("an empty error with a status", ["HTTP 500"])
        })
      )

      it.effect("that labels its events as something else", () =>
        Effect.gen(function* () {
          yield* answers("events called JSON", "Hi")
          yield* answers("events called a page", "Hi")
        })
      )

      it.effect("gets empty reasoning back with the calls that it led to, and emits none of it", () =>
        Effect.gen(function* () {
          for (const name of ["empty reasoning that has to go back", "empty reasoning by its other name"] as const) {
            yield* pays(name, [5])
            const { events } = yield* play(name, { form: "stream" })
            assert.isFalse(events.some(({ _tag }) => _tag === "ReasoningDelta"))
          }
        })
      )

      it.effect("whose last word on a call is empty, or the only one", () =>
        Effect.gen(function* () {
          yield* pays("an empty final item", [5], { ...responses, form: "stream" })
          yield* pays("an empty object as the final item", [5], { ...responses, form: "stream" })
          yield* pays("arguments in the last response only", [5], { ...responses, form: "stream" })
          yield* pays("arguments in the event that ends them only", [5], { ...responses, form: "stream" })
          yield* pays("a call in the last response only", [5], { ...responses, form: "stream" })
        })
      )

      it.effect("whose text comes late, in part or as a whole", () =>
        Effect.gen(function* () {
          yield* answers("text in the event that ends it only", "Hi", responses)
          yield* answers("the rest of a text in the last response", "Hi", responses)
        })
      )

      it.effect("gets encrypted reasoning back that came with the last response only", () =>
        Effect.gen(function* () {
          const name = "encrypted reasoning in the last response only"
          const { paid, requests } = yield* play(name, { ...responses, form: "stream" })
          assert.deepStrictEqual(paid, [5])
          const back = requests[1]!.body["input"].slice(1, 3)
          assert.deepStrictEqual(back, [
            { type: "reasoning", id: "rs", encrypted_content: "sealed", summary: [] },
            { type: "function_call", id: "fc", call_id: "c1", name: "pay", arguments: '{"eur":5}' }
          ])
        })
      )

      it.effect("that sends a call again has it made once", () =>
        Effect.gen(function* () {
          yield* pays("a call twice", [5])
          yield* pays("a call again with nothing", [5])
          yield* pays("a call again with spaces", [5])
          yield* pays("two calls under one id", [5, 6])
          yield* pays("a call of Responses twice", [5], responses)
          yield* answers("a message of Responses twice", "Hi", responses)
          const { events } = yield* play("a call twice", { form: "stream" })
          assert.strictEqual(events.filter(({ _tag }) => _tag === "ToolCalled").length, 1)
        })
      )

      it.effect("that sends arguments again has them read once, and different ones as different calls", () =>
        Effect.gen(function* () {
          yield* pays("arguments again", [5])
          yield* pays("arguments three times on lines", [5])
          yield* pays("an empty object before the arguments", [5])
          yield* pays("two objects on one index", [5, 6])
        })
      )

      it.effect("gets the conversation back in the full form", () =>
        pays("wants the full form", [5], { ...responses, form: "run" })
      )

      it.effect("that says whether to ask again is obeyed", () =>
        Effect.gen(function* () {
          for (const name of ["says not to ask again", "says not to ask again after a fault"] as const) {
            for (const form of forms) {
              const { message, requests } = yield* play(name, { form, retry: undefined })
              assert.include(message, "no")
              assert.strictEqual(requests.length, 1)
            }
          }
          const again = yield* play("says to ask again", { retry: undefined })
          assert.deepStrictEqual([again.output, again.requests.length], ["done", 2])
        })
      )

      it.effect("that counts in places of its own", () =>
        Effect.gen(function* () {
          const usageOf = (played: Played) =>
            played.events.flatMap((event) => (event._tag === "StepCompleted" ? [event.usage] : []))[0]!
          const cache = usageOf(yield* play("counts the cache its own way", { form: "stream" })).inputTokens
          assert.deepStrictEqual([cache.total, cache.cacheRead, cache.uncached], [100, 80, 20])
          const choice = usageOf(yield* play("counts in the choice", { form: "stream" }))
          assert.deepStrictEqual([choice.inputTokens.total, choice.outputTokens.total], [10, 5])
        })
      )

      it.effect("that thinks in its content", () =>
        Effect.gen(function* () {
          yield* answers("thinks in its content", "Hi")
          const { events } = yield* play("thinks in its content", { form: "stream" })
          assert.deepStrictEqual(
            events.flatMap((event) => (event._tag === "ReasoningDelta" ? [event.delta] : [])),
            ["hm"]
          )
        })
      )

      it.effect("has its own words in the error", () =>
        Effect.gen(function* () {
          yield* fails("a code and a message", ["rate limited"])
          yield* fails("a status and no choices", ["insufficient balance"])
          const named = yield* play("a field called error", { form: "stream" })
          assert.include(named.message, "slot unavailable")
          for (const { message } of yield* fails("no choice", ["no choice", "InvalidResponseError"])) {
            assert.notInclude(message, "server is up")
          }
          yield* fails("a limit in words", ["Limit 30000 tokens per minute, try again in 12 s"])
          for (const { message } of yield* fails("a long page", ["502 Bad Gateway"])) {
            assert.notInclude(message, "nginx")
          }
        })
      )

      it.effect("that is not there has the address in the error that was asked", () =>
        Effect.gen(function* () {
          const server = yield* RawModelServer
          const url = yield* server.play("no such path")
          const baseUrl = url.replace(/\/v1$/, "")
          const model = OpenAi.layer({ model: "m", baseUrl, api: "chat", retry: "none" })
          const exit = yield* runOn(Effect.provide(Agent.make("a", {}).run("go"), model))
          const error: unknown = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
          const message = error instanceof Error ? error.message : ""
          for (const part of ["Cannot POST", `${baseUrl}/chat/completions`, `base URL ${baseUrl}`, '"/v1"']) {
            assert.include(message, part)
          }
          assert.notInclude(message, "length of the conversation")
          const [named] = yield* fails("no such model", ['Check the model\'s name, "m"'])
          assert.notInclude(named!.message, "base URL")
        })
      )

      // What could be decided either way, and how it was.
      it.effect("decided: an answer is read in each form that servers send", () =>
        Effect.gen(function* () {
          yield* answers("JSON to a stream", "Hi")
          yield* answers("JSON to a stream of Responses", "Hi", responses)
          yield* answers("events to a whole request", "Hi")
          yield* answers("events of Responses to a whole request", "Hi", responses)
          yield* answers("JSON and the word that it is done", "Hi")
          yield* answers("an empty reason throughout", "Hi")
          yield* answers("messages for deltas", "Hi")
          yield* answers("a last event without a blank line", "Hi")
          yield* answers("events without blank lines", "Hi")
        })
      )

      it.effect("decided: after the finish only an error of the server's fails an answer", () =>
        Effect.gen(function* () {
          for (const name of ["a reset after the finish", "silence after the finish"] as const) {
            const { message, output } = yield* play(name, { form: "stream", timeout: "1 second" })
            assert.deepStrictEqual([name, message, output], [name, "", "Hi"])
          }
          yield* fails("an error after the finish", ["late"])
        })
      )

      it.effect("decided: calls in older forms are read, and their values are not guessed at", () =>
        Effect.gen(function* () {
          yield* pays("an older form of call", [5])
          yield* pays("arguments encoded twice", [5])
          yield* pays("arguments in a fence", [5])
          const { paid } = yield* play("numbers as text")
          assert.deepStrictEqual(paid, [])
        })
      )

      it.effect("decided: a provider's tool that waits for approval is an error that says so", () =>
        fails("asks for approval of its own tool", ["delete", "require_approval"], responses)
      )

      it.effect("decided: reasoning goes back with all ids of what it led to, and not without that", () =>
        Effect.gen(function* () {
          const { requests } = yield* play("searches between two thoughts", { ...responses, form: "run" })
          const back = requests[1]!.body["input"].slice(1, -1) as ReadonlyArray<Record<string, unknown>>
          assert.deepStrictEqual(
            back.map(({ id, type }) => [type, id]),
            [
              ["reasoning", "rs_2"],
              ["message", "msg_7"],
              ["function_call", "fc_8"]
            ]
          )
        })
      )

      it.effect("decided: ids that are too long go back shortened, the same in the call and in its result", () =>
        Effect.gen(function* () {
          const { requests } = yield* play("a long id")
          const [, asked, result] = requests[1]!.body["messages"]
          assert.strictEqual(asked.tool_calls[0].id, result.tool_call_id)
          assert.isAtMost(result.tool_call_id.length, 40)
        })
      )
    })
  }
})
