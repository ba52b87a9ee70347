/** What the file of a cassette never holds, and that a replay finds what it does not hold. */
import * as fs from "node:fs"
import * as path from "node:path"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted, Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import type { Cassette, OpenAi } from "troupe"
import { failureOf, model, secret, talker } from "../../support/cassettes.ts"
import * as OpenAiServer from "../../support/openAiServer.ts"
import { scopedFolder } from "../../support/temporaryFolder.ts"

const organization = "org-AbCdEf0123456789"

describe("what a cassette never holds", () => {
  const cases = {
    "an answer that repeats it": OpenAiServer.text(`Your key is ${secret}, your cookie-0123456789.`),
    "a stream that tells it in pieces": OpenAiServer.text(`Your key is ${secret}, is it not?`),
    "a stream that is cut inside of it": OpenAiServer.text(`Your key is ${secret}.`, { split: 7 }),
    "a call whose arguments hold it": OpenAiServer.toolCalls([
      { name: "a", args: { key: secret } },
      { name: "b", args: { secret } }
    ]),
    "an answer that escapes it": {
      raw: `{"choices":[{"index":0,"message":{"content":"\\u0073${secret.slice(1)}"},"finish_reason":"stop"}]}`
    },
    "an error that repeats it": OpenAiServer.error(401, {
      error: { message: `Incorrect API key provided: ${secret}. (Rate limits of ${organization})` }
    }),
    "an error that masks it": OpenAiServer.error(401, { error: { message: "Incorrect API key: sk-ve****6789" } }),
    "a text that is not JSON": OpenAiServer.error(502, `<html>${secret}</html>`),
    "a connection that is lost in the middle": OpenAiServer.text(`Your key is ${secret}.`, { resetAfter: 300 })
  }
  for (const [name, reply] of Object.entries<OpenAiServer.Reply>(cases)) {
    for (const form of ["whole", "streamed"] as const) {
      it.live(`the key: ${name}, ${form}`, () =>
        Effect.gen(function* () {
          const server = yield* OpenAiServer.make([
            {
              ...reply,
              headers: {
                "set-cookie": "session=cookie-0123456789; Path=/",
                "openai-organization": organization,
                "x-request-id": "req_1",
                ...reply.headers
              }
            }
          ])
          const file = path.join(yield* scopedFolder, "a.json")
          const more: Partial<OpenAi.Options> = {
            organization,
            project: "proj_0123456789abcdef",
            headers: {
              "X-Org": "acme-internal",
              "x-api-key": "another-secret",
              cookie: "a=one-cookie-value; b=2",
              "x-plain": "plain"
            }
          }
          const options: Cassette.Options = { path: file, mode: "record", scrubHeaders: ["X-ORG"] }
          const prompt = `My key is ${secret}, at acme-internal (${organization}), with another-secret.`
          const asked: Effect.Effect<unknown, unknown, LanguageModel.LanguageModel> =
            form === "whole" ? talker.run(prompt) : Stream.runDrain(talker.stream(prompt))
          const recorded = yield* Effect.exit(asked.pipe(Effect.provide(model(server.url, options, more))))
          const made = server.requests.length
          const text = fs.readFileSync(file, "utf8")
          for (const hidden of [
            secret,
            secret.slice(3),
            "very-secret",
            organization,
            "proj_0123456789abcdef",
            "acme-internal",
            "another-secret",
            "one-cookie-value",
            "cookie-0123456789",
            "6789",
            "x-request-id"
          ]) {
            assert.notInclude(text, hidden)
          }
          assert.include(text, "[redacted]")
          assert.include(text, `"x-plain": "plain"`)
          // Pieces say nothing together either.
          const joined = [...text.matchAll(/\\"(?:content|arguments)\\":\\"(.*?)\\"[,}]/g)]
            .map((match) => match[1])
            .join("")
          assert.notInclude(joined, "secret")
          // The same request, still with the key in it, finds its recording; so does one whose key is another.
          const again = { ...options, mode: "replay" as const }
          const replayed = yield* Effect.exit(
            asked.pipe(Effect.provide(model(server.url, again, { ...more, apiKey: Redacted.make(secret) })))
          )
          assert.strictEqual(Exit.isSuccess(replayed), Exit.isSuccess(recorded))
          assert.strictEqual(server.requests.length, made)
          if (Exit.isFailure(replayed)) {
            const { message, reason } = Cause.squash(replayed.cause) as {
              readonly message: string
              readonly reason: unknown
            }
            assert.notInclude(message + inspect(reason, { depth: 20 }), secret)
            assert.notInclude(message, "recorded")
          }
        })
      )
    }
  }

  it.live("the key: not in what is said of a request that differs", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("Hello!")])
      const file = path.join(yield* scopedFolder, "a.json")
      yield* talker.run(`My key is ${secret}.`).pipe(Effect.provide(model(server.url, { path: file, mode: "record" })))
      const exit = yield* Effect.exit(
        talker
          .run(`The key is ${secret}, is it?`)
          .pipe(Effect.provide(model(server.url, { path: file, mode: "replay" }, { apiKey: Redacted.make(secret) })))
      )
      const { message, reason } = failureOf(exit) as { readonly message: string; readonly reason: unknown }
      assert.include(message, "it differs from recording 1")
      assert.notInclude(message + inspect(reason, { depth: 20 }), secret)
    })
  )

  it.live("what the user takes out of it, which may differ from run to run", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("Today is 2026-11-21, Alice.")])
      const file = path.join(yield* scopedFolder, "a.json")
      const scrub = (text: string) => text.replaceAll(/\d{4}-\d\d-\d\d/g, "<date>").replaceAll("Alice", "<name>")
      const ask = (date: string, mode: "record" | "replay") =>
        talker
          .run(`It is ${date}. I am Alice. Which day is it?`)
          .pipe(Effect.provide(model(server.url, { path: file, mode, scrub })))
      assert.strictEqual(yield* ask("2026-11-21", "record"), "Today is 2026-11-21, Alice.")
      assert.strictEqual(yield* ask("2031-01-01", "replay"), "Today is <date>, <name>.")
      assert.notMatch(fs.readFileSync(file, "utf8"), /Alice|2026/)
    })
  )

  it.live("a secret in another spelling: of addresses, forms and JSON within JSON", () =>
    Effect.gen(function* () {
      const password = `it's~(a) "b"/c+d%e`
      const spellings = [
        password,
        encodeURIComponent(password),
        encodeURIComponent(password).toLowerCase(),
        new URLSearchParams({ password }).toString(),
        new URL(`https://example.com/?p=${password}`).search,
        JSON.stringify(password),
        JSON.stringify(JSON.stringify({ password }))
      ]
      const server = yield* OpenAiServer.make([
        OpenAiServer.text(spellings.join(" and ")),
        OpenAiServer.text(spellings.join(" and "))
      ])
      const file = path.join(yield* scopedFolder, "a.json")
      const basic = `Basic ${Buffer.from(`somebody:${password}`).toString("base64")}`
      const way = { path: file, mode: "record" as const }
      for (const headers of [{ "x-api-key": password }, { authorization: basic }] as const) {
        yield* Effect.exit(talker.run(spellings.join()).pipe(Effect.provide(model(server.url, way, { headers }))))
        const text = fs.readFileSync(file, "utf8")
        for (const piece of ["it's", "it%27s", "c+d", "c%2", "%25e"]) assert.notInclude(text, piece)
        assert.include(text, "[redacted]")
      }
    })
  )

  it.live("a secret of several lines, however JSON writes them", () =>
    Effect.gen(function* () {
      const secret = "-----BEGIN KEY-----\nabc\tdefgh\r\n-----END KEY-----"
      const said = [secret, JSON.stringify(secret), JSON.stringify({ text: JSON.stringify(secret) })].join(" and ")
      const server = yield* OpenAiServer.make([OpenAiServer.text(said)])
      const file = path.join(yield* scopedFolder, "a.json")
      const url = `${server.url}?key=${encodeURIComponent(secret)}`
      yield* Effect.exit(talker.run(said).pipe(Effect.provide(model(url, { path: file, mode: "record" }))))
      const text = fs.readFileSync(file, "utf8")
      assert.include(text, "[redacted]")
      assert.notInclude(text, "defgh")
    })
  )

  it.live("a key that is given as what stands in its place", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("It is [redacted].")])
      const file = path.join(yield* scopedFolder, "a.json")
      const ask = (mode: "record" | "replay", key: string) =>
        talker
          .run("Is it redacted?")
          .pipe(Effect.provide(model(server.url, { path: file, mode }, { apiKey: Redacted.make(key) })))
      assert.strictEqual(yield* ask("record", "redacted"), "It is [redacted].")
      assert.strictEqual(yield* ask("replay", "[redacted]"), "It is [redacted].")
    })
  )

  it.live("credentials in an address", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("Hello!")])
      const file = path.join(yield* scopedFolder, "a.json")
      const url = `${server.url}?api_key=a-query-secret&version=2#`
      const ask = (mode: "record" | "replay") =>
        Effect.exit(talker.run("Hi").pipe(Effect.provide(model(url, { path: file, mode }))))
      yield* ask("record")
      const text = fs.readFileSync(file, "utf8")
      assert.notInclude(text, "a-query-secret")
      assert.include(text, "api_key=redacted")
    })
  )
})
