/** What travels between the provider and its server must not depend on the edge. */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted, Stream } from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { OpenAi } from "troupe"
import * as ChildServer from "../../support/childServer.ts"
import { exitOn } from "../../support/edges.ts"
import type { Reply } from "../../support/openAiServer.ts"

const whole = (prompt = "go") => Effect.map(LanguageModel.generateText({ prompt }), ({ text }) => text)
const streamed = (prompt = "go") =>
  Stream.runFold(
    LanguageModel.streamText({ prompt }),
    () => "",
    (all, part) => (part.type === "text-delta" ? all + part.delta : all)
  )

layer(ChildServer.layer, { excludeTestServices: true })("OpenAi", (it) => {
  for (const [edge, runOn] of Object.entries(exitOn)) {
    for (const api of ["chat", "responses"] as const) {
      const ask = <A>(
        asked: Effect.Effect<A, AiError.AiError, LanguageModel.LanguageModel>,
        replies: ReadonlyArray<Reply>,
        more: (url: string) => Partial<OpenAi.Options> = () => ({})
      ) =>
        Effect.gen(function* () {
          const server = yield* ChildServer.Server
          const url = yield* server.script(...replies)
          const options = {
            model: "m",
            baseUrl: url,
            api,
            apiKey: Redacted.make("the-key-itself"),
            retry: "none"
          } as const
          const exit = yield* runOn(Effect.provide(asked, OpenAi.layer({ ...options, ...more(url) })))
          const error = Exit.isFailure(exit) ? (Cause.squash(exit.cause) as AiError.AiError) : undefined
          return { error, value: Exit.isSuccess(exit) ? exit.value : undefined, seen: yield* server.seen }
        })
      const succeed = (...args: Parameters<typeof ask<string>>) =>
        Effect.map(ask(...args), ({ error, seen, value }) => {
          assert.isUndefined(error, String(error))
          return { value: value!, seen }
        })

      describe(`${edge} ${api}`, () => {
        it.effect("reads compressed answers", () =>
          Effect.gen(function* () {
            for (const asked of [whole(), streamed()]) {
              assert.strictEqual((yield* succeed(asked, [{ text: "Grüße 🎭", gzip: true }])).value, "Grüße 🎭")
            }
          })
        )

        it.effect("sends and reads megabytes", () =>
          Effect.gen(function* () {
            const long = "0123456789abcdef ".repeat(200_000)
            const { seen, value } = yield* succeed(whole(long), [{ text: long }])
            assert.strictEqual(value.length, long.length)
            assert.include(JSON.stringify(seen[0]!.body), long)
            // In events of three characters.
            const some = long.slice(0, 200_000)
            assert.strictEqual((yield* succeed(streamed(long), [{ text: some }])).value, some)
          })
        )

        it.effect("lets a header of the caller's win over its own, however it is written", () =>
          Effect.gen(function* () {
            for (const name of ["authorization", "Authorization", "AUTHORIZATION"]) {
              const { seen } = yield* succeed(whole(), [{ text: "ok" }], () => ({ headers: { [name]: "Basic abc" } }))
              assert.strictEqual(seen[0]!.headers["authorization"], "Basic abc")
            }
          })
        )

        it.effect("finds the server with a slash at the end of its address or none", () =>
          Effect.gen(function* () {
            for (const end of ["", "/"]) {
              const { seen } = yield* succeed(whole(), [{ text: "ok" }], (url) => ({ baseUrl: url + end }))
              assert.strictEqual(seen[0]!.path, api === "chat" ? "/v1/chat/completions" : "/v1/responses")
            }
          })
        )

        it.effect("keeps the query of an address, where some servers want their version", () =>
          Effect.gen(function* () {
            for (const asked of [whole(), streamed()]) {
              const { seen } = yield* succeed(asked, [{ text: "ok" }], (url) => ({ baseUrl: `${url}/?api-version=1` }))
              const path = api === "chat" ? "/v1/chat/completions" : "/v1/responses"
              assert.strictEqual(seen[0]!.path, `${path}?api-version=1`)
            }
          })
        )

        it.effect("follows a server that has moved", () =>
          Effect.gen(function* () {
            const path = api === "chat" ? "/moved/chat/completions" : "/moved/responses"
            for (const asked of [whole(), streamed()]) {
              const { seen, value } = yield* succeed(asked, [
                { status: 307, headers: { location: path } },
                { text: "here" }
              ])
              assert.strictEqual(value, "here")
              assert.strictEqual(seen[1]!.path, path)
            }
          })
        )

        it.effect("reads JSON that is not called so", () =>
          Effect.gen(function* () {
            for (const type of ["text/plain", "application/octet-stream", ""]) {
              const { value } = yield* succeed(whole(), [{ text: "ok", headers: { "content-type": type } }])
              assert.strictEqual(value, "ok")
            }
          })
        )

        it.effect("does not take an empty answer for one", () =>
          Effect.gen(function* () {
            for (const reply of [
              { raw: "" },
              { raw: "null" },
              { status: 204, body: "" },
              { raw: "", headers: { "content-length": "0" } }
            ]) {
              const { error } = yield* ask(whole(), [reply])
              assert.deepStrictEqual([reply, error?.reason._tag], [reply, "InvalidResponseError"])
            }
          })
        )

        it.effect("asks many times at once", () =>
          Effect.gen(function* () {
            const many = Effect.map(
              Effect.forEach(
                Array.from({ length: 40 }, (_, n) => n),
                (n) => (n % 2 === 0 ? whole(`${n}`) : streamed(`${n}`)),
                { concurrency: "unbounded" }
              ),
              (all) => all.join("")
            )
            const { seen, value } = yield* succeed(many, [{ text: "x", delayMs: 30 }])
            assert.strictEqual(value, "x".repeat(40))
            assert.strictEqual(seen.length, 40)
          })
        )
      })
    }
  }
})
