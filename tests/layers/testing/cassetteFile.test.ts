/** The file of a cassette: when it is written, and what is said when it cannot be used. */
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { createServer } from "node:net"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigProvider, Effect, Exit, Layer, Redacted } from "effect"
import type { LanguageModel } from "effect/ai"
import { Cassette, OpenAi } from "troupe"
import { failureOf, model, secret, talker } from "../../support/cassettes.ts"
import * as OpenAiServer from "../../support/openAiServer.ts"
import { scopedFolder } from "../../support/temporaryFolder.ts"

const environment = (value: string | undefined) =>
  Effect.sync(() => {
    const before = process.env["CI"]
    if (value === undefined) delete process.env["CI"]
    else process.env["CI"] = value
    return before
  })

/** What a Config says of CI, and what the process does: these tests run in CI themselves. */
const ci =
  (config: string | undefined, env?: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.acquireUseRelease(
      environment(env),
      () =>
        Effect.provideService(
          self,
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown(config === undefined ? {} : { CI: config })
        ),
      environment
    )

describe("when a cassette is recorded", () => {
  const use = (mode: Cassette.Options["mode"], config: string | undefined, exists = false, env?: string) =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("first"), OpenAiServer.text("second")])
      const file = path.join(yield* scopedFolder, "a/b/c.json")
      const run = (mode: Cassette.Options["mode"]) =>
        Effect.gen(function* () {
          const cassette = yield* Cassette.Cassette
          return [cassette.mode, yield* talker.run("Hi")]
        }).pipe(Effect.provide(model(server.url, { path: file, mode })))
      if (exists) yield* run("record")
      const exit = yield* Effect.exit(run(mode).pipe(ci(config, env)))
      return { exit, wrote: fs.existsSync(file), requests: server.requests.length }
    })
  const yes = [
    ["auto", "", false, "first"],
    ["auto", "false", false, "first"],
    [undefined, "0", false, "first"],
    ["record", "true", true, "second"],
    ["record", "", true, "second"]
  ] as const
  for (const [mode, env, exists, output] of yes) {
    it.live(`mode ${mode}, CI="${env}", ${exists ? "with" : "without"} a file: recorded`, () =>
      Effect.gen(function* () {
        const { exit } = yield* use(mode, env, exists)
        assert.deepStrictEqual(exit, Exit.succeed(["record", output]))
      })
    )
  }
  for (const [mode, env] of [
    ["auto", ""],
    ["auto", "true"],
    [undefined, "1"],
    ["replay", ""]
  ] as const) {
    it.live(`mode ${mode}, CI="${env}", with a file: replayed`, () =>
      Effect.gen(function* () {
        const { exit, requests } = yield* use(mode, env, true)
        assert.deepStrictEqual(exit, Exit.succeed(["replay", "first"]))
        assert.strictEqual(requests, 1)
      })
    )
  }
  for (const [mode, env] of [
    ["auto", "true"],
    [undefined, "1"],
    ["replay", ""]
  ] as const) {
    it.live(`mode ${mode}, CI="${env}", without a file: refused`, () =>
      Effect.gen(function* () {
        const { exit, requests, wrote } = yield* use(mode, env)
        const failed = failureOf(exit) as Cassette.CassetteNotFound
        assert.strictEqual(failed._tag, "CassetteNotFound")
        assert.include(failed.message, "c.json: there is no such file")
        assert.strictEqual(failed.message.includes("CI is set"), mode !== "replay")
        assert.deepStrictEqual([requests, wrote], [0, false])
      })
    )
  }

  it.live("a Config that knows nothing of CI does not hide it", () =>
    Effect.gen(function* () {
      const { exit } = yield* use("auto", undefined, false, "true")
      assert.strictEqual((failureOf(exit) as Cassette.CassetteNotFound)._tag, "CassetteNotFound")
    })
  )

  it.live("a cassette next to the model, or around the program, is used as well", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("Hello!")])
      const file = path.join(yield* scopedFolder, "a.json")
      const Model = OpenAi.layer({ model: "m", baseUrl: server.url, retry: "none", apiKey: Redacted.make(secret) })
      const beside = Layer.merge(Model, Cassette.layer({ path: file, mode: "record" }))
      assert.strictEqual(yield* talker.run("Hi").pipe(Effect.provide(beside)), "Hello!")
      const around = talker
        .run("Hi")
        .pipe(Effect.provide(Model), Effect.provide(Cassette.layer({ path: file, mode: "replay" })))
      assert.strictEqual(yield* around, "Hello!")
      assert.strictEqual(server.requests.length, 1)
    })
  )

  it.live("the path may be a file URL", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("Hello!")])
      const file = path.join(yield* scopedFolder, "a b.json")
      yield* talker.run("Hi").pipe(Effect.provide(model(server.url, { path: pathToFileURL(file), mode: "record" })))
      assert.isTrue(fs.existsSync(file))
    })
  )

  it.live("a run without a request leaves the file as it was", () =>
    Effect.gen(function* () {
      const file = path.join(yield* scopedFolder, "a.json")
      fs.writeFileSync(file, "what was there")
      yield* Effect.void.pipe(Effect.provide(model("http://127.0.0.1:1/v1", { path: file, mode: "record" })))
      assert.strictEqual(fs.readFileSync(file, "utf8"), "what was there")
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["a.json"])
    })
  )

  it.live("the same traffic gives the same text, and other traffic differs in few lines", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make(({ body }) =>
        OpenAiServer.text(body["messages"][0].content === "b" ? "B" : "A", { headers: { date: String(Math.random()) } })
      )
      const folder = yield* scopedFolder
      const record = (name: string, ...inputs: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          const file = path.join(folder, name)
          yield* Effect.forEach(inputs, (input) => talker.run(input)).pipe(
            Effect.provide(model(server.url, { path: file, mode: "record" }))
          )
          return fs.readFileSync(file, "utf8").split("\n")
        })
      const first = yield* record("1.json", "a", "a")
      assert.deepStrictEqual(yield* record("2.json", "a", "a"), first)
      const changed = yield* record("3.json", "a", "b")
      assert.strictEqual(changed.length, first.length)
      assert.strictEqual(changed.filter((line, index) => line !== first[index]).length, 2)
    })
  )
})

describe("two layers on one file", () => {
  it.live("are refused while one records, however the path is spelled, and only then", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("Hello!")])
      const folder = yield* scopedFolder
      const file = path.join(folder, "a.json")
      fs.symlinkSync(folder, path.join(folder, "link"))
      const second = (spelled: string) =>
        Effect.flip(Layer.build(Cassette.layer({ path: spelled, mode: "record" })).pipe(Effect.scoped))
      yield* Effect.gen(function* () {
        yield* talker.run("Hi")
        for (const spelled of [file, path.join(folder, "link/a.json"), path.relative(process.cwd(), file)]) {
          const refused = yield* second(spelled)
          assert.strictEqual(refused._tag, "CassetteInUse")
          assert.include(refused.message, `is being recorded by process ${process.pid} already`)
        }
      }).pipe(Effect.provide(model(server.url, { path: file, mode: "record" })))
      yield* talker.run("Hi").pipe(Effect.provide(model(server.url, { path: file, mode: "record" })))
      // Replaying at once, each gets every answer.
      const replay = talker.run("Hi").pipe(Effect.provide(model(server.url, { path: file, mode: "replay" })))
      assert.deepStrictEqual(yield* Effect.all([replay, replay], { concurrency: 2 }), ["Hello!", "Hello!"])
    })
  )

  it.live("what a killed process has left behind does not count", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("Hello!")])
      const file = path.join(fs.realpathSync(yield* scopedFolder), "a.json")
      const { pid } = spawnSync(process.execPath, ["--version"])
      fs.writeFileSync(`${file}.recording`, `${pid}\n`)
      yield* talker.run("Hi").pipe(Effect.provide(model(server.url, { path: file, mode: "record" })))
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["a.json"])
      fs.writeFileSync(`${file}.recording`, "no number")
      const refused = yield* Effect.flip(
        Layer.build(Cassette.layer({ path: file, mode: "record" })).pipe(Effect.scoped)
      )
      assert.include(refused.message, `delete ${file}.recording`)
    })
  )
})

describe("a file that cannot be used", () => {
  const exchange = {
    request: { method: "POST", url: "http://127.0.0.1/v1/chat/completions", headers: {} },
    response: { status: 200, headers: {} }
  }
  const broken: Record<string, readonly [text: string, at: string, problem: RegExp]> = {
    "an empty file": ["", "line 1, column 1", /not JSON/],
    "a text": ["hello", "line 1, column 1", /not JSON/],
    "a comma too many": [`{\n  "cassette": 1,\n  "exchanges": [],\n}`, "line 4, column 1", /not JSON/],
    "a conflict of a merge": [`{\n  "cassette": 1,\n<<<<<<< HEAD\n`, "line 3, column 1", /not JSON/],
    "a file cut short": [`{\n  "cassette": 1,\n  "exch`, "line 3, column 8", /not JSON/],
    "other JSON": [`{"name":"x"}`, "cassette", /Missing key/],
    "a list": [`[]`, "at its root", /object/],
    "a newer version": [`{"cassette":2,"tapes":[]}`, "cassette", /of version 2.*up to 1: update troupe/],
    "a wrong type": [
      JSON.stringify({ cassette: 1, exchanges: [exchange, { ...exchange, request: { ...exchange.request, url: 7 } }] }),
      "exchanges[1].request.url",
      /string/
    ],
    "an address that is not a URL": [
      JSON.stringify({ cassette: 1, exchanges: [{ ...exchange, request: { ...exchange.request, url: "/v1" } }] }),
      "exchanges[0].request.url",
      /absolute URL/
    ],
    "an exchange without an end": [
      JSON.stringify({ cassette: 1, exchanges: [{ request: exchange.request }] }),
      "exchanges[0]",
      /"response", "failure" or "interrupted"/
    ]
  }
  for (const [name, [text, at, problem]] of Object.entries(broken)) {
    it.live(name, () =>
      Effect.gen(function* () {
        const file = path.join(yield* scopedFolder, "a.json")
        fs.writeFileSync(file, text)
        for (const mode of ["replay", "auto"] as const) {
          const exit = yield* Effect.exit(talker.run("Hi").pipe(Effect.provide(model(undefined, { path: file, mode }))))
          const failed = failureOf(exit) as Cassette.CassetteInvalid
          assert.strictEqual(failed._tag, "CassetteInvalid")
          assert.strictEqual(failed.at, at)
          assert.match(failed.problem, problem)
          assert.include(failed.message, `cassette ${file}, ${at}: `)
          assert.notInclude(failed.message, "\n")
        }
        assert.strictEqual(fs.readFileSync(file, "utf8"), text)
      })
    )
  }

  it.live("a directory, one under a file, and a special file", () =>
    Effect.gen(function* () {
      const folder = yield* scopedFolder
      fs.writeFileSync(path.join(folder, "file"), "")
      // A pipe, a device: what is not made of bytes must not be replaced by a file.
      const socket = path.join(folder, "socket")
      const server = createServer().listen(socket)
      yield* Effect.promise(() => once(server, "listening"))
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      for (const mode of ["replay", "record"] as const) {
        for (const file of [folder, path.join(folder, "file/a.json"), socket]) {
          const failed = yield* Effect.flip(Layer.build(Cassette.layer({ path: file, mode })).pipe(Effect.scoped))
          assert.strictEqual(failed._tag, "CassetteUnavailable")
          assert.include(failed.message, `cassette ${file}: it cannot be ${mode === "replay" ? "read" : "written"}: `)
        }
      }
    })
  )

  it.live("one that cannot be written at the end: a defect, and nothing is left behind", () =>
    Effect.gen(function* () {
      const server = yield* OpenAiServer.make([OpenAiServer.text("Hello!")])
      const file = path.join(yield* scopedFolder, "a.json")
      const program = Effect.tap(talker.run("Hi"), () =>
        Effect.sync(() => {
          fs.mkdirSync(path.join(file, "in the way"), { recursive: true })
        })
      )
      const exit = yield* Effect.exit(program.pipe(Effect.provide(model(server.url, { path: file, mode: "record" }))))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual((failureOf(exit) as { readonly _tag?: string })._tag, "CassetteUnavailable")
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["a.json"])
    })
  )
})

describe("what is left over", () => {
  const recorded = Effect.gen(function* () {
    const server = yield* OpenAiServer.make([OpenAiServer.text("A"), OpenAiServer.text("B")])
    const file = path.join(yield* scopedFolder, "a.json")
    yield* Effect.andThen(talker.run("a"), talker.run("b")).pipe(
      Effect.provide(model(server.url, { path: file, mode: "record", unused: "die" }))
    )
    return file
  })

  it.live("can be asked for", () =>
    Effect.gen(function* () {
      const file = yield* recorded
      const left = yield* Effect.gen(function* () {
        const { unused, verify } = yield* Cassette.Cassette
        assert.strictEqual((yield* unused).length, 2)
        yield* talker.run("b")
        return [yield* unused, yield* Effect.flip(verify)] as const
      }).pipe(Effect.provide(model(undefined, { path: file, mode: "replay" })))
      assert.deepStrictEqual(left[0], [{ number: 1, method: "POST", url: "/v1/chat/completions" }])
      assert.include(left[1].message, "1 recording(s) were never asked for: 1 (POST /v1/chat/completions)")
    }).pipe(ci(undefined))
  )

  it.live("is a defect when that is asked for, unless the program has failed", () =>
    Effect.gen(function* () {
      const file = yield* recorded
      const use = <A, E>(program: Effect.Effect<A, E, LanguageModel.LanguageModel>, unused: "die" | "ignore") =>
        Effect.exit(program.pipe(Effect.provide(model(undefined, { path: file, mode: "replay", unused }))))
      const both = Effect.andThen(talker.run("a"), talker.run("b"))
      assert.deepStrictEqual(yield* use(both, "die"), Exit.succeed("B"))
      assert.deepStrictEqual(yield* use(talker.run("a"), "ignore"), Exit.succeed("A"))
      const left = yield* use(talker.run("a"), "die")
      assert.strictEqual((failureOf(left) as { readonly _tag?: string })._tag, "UnusedRecordings")
      assert.deepStrictEqual(yield* use(Effect.fail("why"), "die"), Exit.fail("why"))
      // A request that was not recorded is reported even if the program recovered.
      const swallowed = yield* use(Effect.andThen(both, Effect.exit(talker.run("c"))), "die")
      assert.strictEqual((failureOf(swallowed) as { readonly _tag?: string })._tag, "RequestNotRecorded")
      const once = yield* use(Effect.andThen(both, talker.run("a")), "ignore")
      assert.include(
        (failureOf(once) as Error).message,
        "request 3 (POST /v1/chat/completions) was recorded once and is now made once more"
      )
    }).pipe(ci(undefined))
  )
})
