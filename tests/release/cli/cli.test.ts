import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import * as RunEvent from "troupe/RunEvent"
import { afterAll, assert, beforeAll, describe, it, vi } from "vitest"
import { serve } from "../../support/openAiServer.ts"
import { checkGrammar } from "../../support/grammar.ts"
import { freePort } from "../../support/mcpEverything.ts"

// Each test starts processes, which take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const root = fileURLToPath(new URL("../../..", import.meta.url))
const bin = join(root, "src/bin.ts")

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command as a person would, with no model configured unless `env` says otherwise. */
const troupe = (
  args: ReadonlyArray<string>,
  options: {
    readonly env?: Record<string, string>
    readonly stdin?: string
    readonly onStart?: (kill: (signal: NodeJS.Signals) => void) => void
  } = {}
): Promise<Ended> =>
  new Promise((resolve) => {
    const { OPENAI_API_KEY: _key, OPENAI_BASE_URL: _url, TROUPE_MODEL: _model, ...env } = process.env
    const child = spawn(process.execPath, [bin, ...args], { cwd: root, env: { ...env, ...options.env } })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk) => (stdout += chunk))
    child.stderr.on("data", (chunk) => (stderr += chunk))
    // A command that is refused ends without reading.
    child.stdin.on("error", () => {}).end(options.stdin ?? "")
    options.onStart?.((signal) => child.kill(signal))
    child.on("close", (code) => resolve({ code, stdout, stderr }))
  })

const eventsOf = (stdout: string) =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => Effect.runSync(RunEvent.fromJsonLine(line)))

/** One line for the person, no stack trace. */
const assertRefused = (ended: Ended, code: number, words: string): void => {
  const lines = ended.stderr.split("\n").filter((line) => line.startsWith("troupe: "))
  assert.strictEqual(lines.length, 1, ended.stderr)
  assert.include(lines[0], words)
  assert.notMatch(ended.stderr, /\n\s+at /)
  assert.strictEqual(ended.code, code)
}

let folder = ""
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "troupe-cli-"))
})
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe("troupe run", () => {
  it("is refused without a model, with the three ways out", async () => {
    const [none, empty, typo, key] = await Promise.all([
      troupe(["run", "Write a haiku"]),
      troupe(["run", "--json", "Write a haiku"], { env: { OPENAI_API_KEY: "", OPENAI_BASE_URL: " " } }),
      troupe(["run", "Write a haiku"], { env: { OPENAI_APIKEY: "sk-1", TROUPE_MODEL: "tiny" } }),
      troupe(["run", "--model", "openai:m", "hi"])
    ])
    for (const ended of [none, empty, typo]) {
      assertRefused(ended, 2, "no model is configured")
      assert.strictEqual(ended.stdout, "")
    }
    for (const way of ["OPENAI_API_KEY", "OPENAI_BASE_URL", "Ollama", "--model demo"]) assertRefused(none, 2, way)
    assertRefused(key, 2, "OPENAI_API_KEY is not set")
  })

  it("answers with the demo model when it is asked for, and does not guess", async () => {
    const [sum, tool, guess] = await Promise.all([
      troupe(["run", "--model", "demo", "What is 2 + 40?"]),
      troupe(["run", "What is the sum of 5 and 6?"], { env: { TROUPE_MODEL: "demo" } }),
      troupe(["run", "--model", "demo", "Write a haiku"])
    ])
    assert.deepStrictEqual([sum.code, sum.stdout], [0, "42\n"], sum.stderr)
    assert.deepStrictEqual([tool.code, tool.stdout], [0, "11\n"], tool.stderr)
    assertRefused(guess, 1, "does not guess an answer")
    assert.strictEqual(guess.stdout.trim(), "")
  })

  it("runs what a file exports without a model as far as it needs none", async () => {
    const path = (name: string, text: string) =>
      file(
        name,
        // Not the barrel: four processes start at once.
        Object.entries({
          Effect: import.meta.resolve("effect/Effect"),
          Agent: join(root, "src/agents/Agent.ts"),
          Chain: join(root, "src/workflows/Chain.ts"),
          DemoModel: join(root, "src/layers/demo/DemoModel.ts"),
          Runner: join(root, "src/Runner.ts")
        })
          .map(([namespace, from]) => `import * as ${namespace} from ${JSON.stringify(from)}\n`)
          .join("") + text
      )
    const upper = 'Runner.make("upper", { run: (text) => Effect.succeed(text.toUpperCase()) })'
    const agent = 'Agent.make("mine", {})'
    const [none, own, needs, nested] = await Promise.all([
      troupe(["run", "--agent", path("upper.ts", `export default ${upper}`), "hi"]),
      troupe(["run", "--agent", path("own.ts", `export default Runner.provide(${agent}, DemoModel.layer)`), "1 + 1"]),
      troupe(["run", "--agent", path("needs.ts", `export default ${agent}`), "hi"]),
      troupe(["run", "--agent", path("nested.ts", `export default Chain.make("both", [${upper}, ${agent}])`), "hi"])
    ])
    assert.deepStrictEqual([none.code, none.stdout], [0, "HI\n"], none.stderr)
    assert.deepStrictEqual([own.code, own.stdout], [0, "1 + 1 = 2\n"], own.stderr)
    assertRefused(needs, 2, "no model is configured")
    assertRefused(nested, 2, "no model is configured")
  })

  it("does not load a file that cannot export anything, and says so of one that exports something else", async () => {
    const mark = join(folder, "ran")
    const side = `import { writeFileSync } from "node:fs"\nwriteFileSync(${JSON.stringify(mark)}, "")\n`
    const ended = await troupe(["run", "--agent", file("side.ts", side), "hi"])
    assertRefused(ended, 2, "exports no runner")
    assert.isFalse(existsSync(mark))
    const other = `import { Runner } from ${JSON.stringify(join(root, "src/index.ts"))}
export const first = Runner.make("first", { run: (text) => text })`
    assertRefused(await troupe(["run", "--agent", file("named.ts", other), "hi"]), 2, 'none as default or "agent"')
  })

  it("asks the runner of a file that is named", async () => {
    const two = `import * as Effect from ${JSON.stringify(import.meta.resolve("effect/Effect"))}
import * as Runner from ${JSON.stringify(join(root, "src/Runner.ts"))}
export const low = Runner.make("low", { run: (text) => Effect.succeed(text.toLowerCase()) })
export const high = Runner.make("upper", { run: (text) => Effect.succeed(text.toUpperCase()) })`
    const path = file("two.ts", two)
    const ask = (...args: ReadonlyArray<string>) => troupe(["run", "--agent", path, ...args, "Hi"])
    assert.strictEqual((await ask("--name", "low")).stdout.trim(), "hi")
    // By its own name, as well as by that of its export.
    assert.strictEqual((await ask("--name", "upper")).stdout.trim(), "HI")
    assertRefused(await ask("--name", "middle"), 2, 'exports no runner "middle". It exports: high, low.')
    assertRefused(await ask(), 2, "--name high or --name low")
    assertRefused(await troupe(["run", "--model", "demo", "--name", "low", "Hi"]), 2, "give the file with --agent")
  })

  it("reads the question from standard input", async () => {
    const { code, stdout } = await troupe(["run", "--model", "demo"], { stdin: "What is 3 times 4?\n" })
    assert.include(stdout, "12")
    assert.strictEqual(code, 0)
  })

  it("writes every event as a line of JSON, and nothing else", async () => {
    const { code, stdout } = await troupe(["run", "--json", "--model", "demo", "What is 2 + 40?"])
    const events = eventsOf(stdout)
    checkGrammar(events)
    assert.strictEqual(events.at(-1)?._tag, "RunCompleted")
    assert.strictEqual(code, 0)
  })

  it("runs an agent from a file", async () => {
    const path = file(
      "agent.ts",
      `import { Agent } from ${JSON.stringify(join(root, "src/index.ts"))}
export default Agent.make("mine", { instructions: "Summarise in one sentence." })`
    )
    const { code, stdout, stderr } = await troupe([
      "run",
      "--json",
      "--model",
      "demo",
      "--agent",
      path,
      "Rome is old. It was not built in a day."
    ])
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(eventsOf(stdout)[0]?.path, ["mine"])
  })

  it("reads the input of a runner by its schema, writes any output, and says what a file has to provide", async () => {
    const runner = (name: string, run: string) =>
      file(
        name,
        `import { Context, Effect, Schema } from ${JSON.stringify(import.meta.resolve("effect"))}
import { Runner } from ${JSON.stringify(join(root, "src/index.ts"))}
export default Runner.make("mine", { ${run} })`
      )
    const order = "input: Schema.Struct({ n: Schema.Int }), run: ({ n }) => Effect.succeed(n + 1)"
    const [typed, misfit] = await Promise.all([
      troupe(["run", "--agent", runner("typed.ts", order), '{"n":41}']),
      troupe(["run", "--agent", runner("misfit.ts", order), "forty-one"])
    ])
    assert.deepStrictEqual([typed.code, typed.stdout], [0, "42\n"], typed.stderr)
    assertRefused(misfit, 2, '"mine" takes JSON, and the question does not fit')
    const [big, none, encoded, missing] = await Promise.all([
      troupe(["run", "--agent", runner("big.ts", "run: () => Effect.succeed({ n: 1n })"), "go"]),
      troupe(["run", "--agent", runner("nothing.ts", "run: () => Effect.void"), "go"]),
      troupe([
        "run",
        "--agent",
        runner("encoded.ts", "output: Schema.FiniteFromString, run: () => Effect.succeed(5)"),
        "go"
      ]),
      troupe(["run", "--agent", runner("missing.ts", 'run: () => Context.Service("my/Store")'), "go"])
    ])
    assert.deepStrictEqual([big.code, JSON.parse(big.stdout)], [0, { n: "1" }], big.stderr)
    assert.deepStrictEqual([none.code, none.stdout], [0, "null\n"], none.stderr)
    assert.deepStrictEqual([encoded.code, encoded.stdout], [0, '"5"\n'], encoded.stderr)
    assertRefused(missing, 1, "Service not found: my/Store. Provide it in the file")
  })

  it("begins a line with each step's text, and with each line of progress where both go to one place", async () => {
    const server = await serve([
      { text: "I add.", calls: [{ name: "add", args: '{"a":2,"b":40}' }] },
      { text: "It is 42." }
    ])
    const env = { OPENAI_BASE_URL: server.url, TROUPE_MODEL: "tiny" }
    const { stdout } = await troupe(["run", "What is 2 + 40?"], { env })
    assert.strictEqual(stdout, "I add.\nIt is 42.\n")
    const both = spawnSync("sh", ["-c", '"$0" "$1" run "2 + 40" 2>&1', process.execPath, bin], {
      cwd: root,
      env: { ...process.env, OPENAI_API_KEY: "", TROUPE_MODEL: "demo", OPENAI_BASE_URL: "", NO_COLOR: "1" },
      encoding: "utf8"
    })
    server.close()
    for (const line of both.stdout.trimEnd().split("\n")) assert.notMatch(line, /.assistant: /)
    assert.match(both.stdout, /^assistant: done/m)
  })

  it("takes the names of --model in TROUPE_MODEL as well", async () => {
    const server = await serve([{ text: "hello" }])
    const env = { OPENAI_BASE_URL: server.url }
    const [demo, named] = await Promise.all([
      troupe(["run", "What is 2 + 40?"], { env: { ...env, TROUPE_MODEL: "demo" } }),
      troupe(["run", "hello"], { env: { ...env, TROUPE_MODEL: "openai:tiny" } })
    ])
    server.close()
    assert.strictEqual(demo.stdout, "42\n")
    assert.strictEqual(named.stdout, "hello\n")
    assert.deepStrictEqual(
      server.seen.map(({ body }) => body["model"]),
      ["tiny"]
    )
  })

  it("asks the server of OPENAI_BASE_URL, and lets no escape sequence through", async () => {
    const server = await serve([{ text: "red \u001B[31malert\u001B[0m \u001B]0;title\u0007end" }])
    const { code, stdout } = await troupe(["run", "hello"], {
      env: { OPENAI_BASE_URL: server.url, TROUPE_MODEL: "tiny" }
    })
    server.close()
    assert.strictEqual(stdout, "red alert end\n")
    assert.strictEqual(server.seen[0]?.body["model"], "tiny")
    assert.strictEqual(code, 0)
  })

  it("refuses what it cannot use, in one line", async () => {
    const [empty, nothing, model, notAgent, syntax, noFile] = await Promise.all([
      troupe(["run", "--model", "demo", ""]),
      troupe(["run", "--model", "demo"], { stdin: " \n" }),
      troupe(["run", "--model", "gpt", "hi"]),
      troupe(["run", "--agent", file("other.ts", "export const x = 1"), "hi"]),
      troupe(["run", "--agent", file("broken.ts", "export const = ("), "hi"]),
      troupe(["run", "--agent", join(folder, "none.ts"), "hi"])
    ])
    assertRefused(empty, 2, "question is empty")
    assertRefused(nothing, 2, "question is empty")
    assertRefused(model, 2, 'the model "gpt" cannot be had')
    assertRefused(notAgent, 2, "exports no runner")
    assertRefused(syntax, 2, "cannot be loaded")
    assertRefused(noFile, 2, "there is no file")
  })

  it("says where a file that cannot be loaded is wrong", async () => {
    const [syntax, thrown, nested] = await Promise.all([
      troupe(["run", "--agent", file("place1.ts", "export const one = 1\nexport const = ("), "hi"]),
      troupe(["run", "--agent", file("place2.ts", 'export const one = 1\n\nthrow new Error("boom")'), "hi"]),
      troupe(["run", "--agent", file("place3.ts", 'export * from "./place2.ts"'), "hi"])
    ])
    assertRefused(syntax, 2, "place1.ts:2: ")
    assertRefused(thrown, 2, "place2.ts:3: boom")
    assertRefused(nested, 2, "place2.ts:3: boom")
  })

  it("says how a model is named", async () => {
    const [bare, typo] = await Promise.all([
      troupe(["run", "--model", "gpt-4.1", "hi"]),
      troupe(["run", "--model", "opnai:gpt-4.1", "hi"])
    ])
    assertRefused(bare, 2, "write openai:gpt-4.1 for a model of OpenAI, otherwise one of")
    assertRefused(typo, 2, "it is not one of openai:NAME")
  })

  it("says what is wrong with the server or the key", async () => {
    const closed = `http://127.0.0.1:${await freePort()}/v1`
    const denying = await serve([
      { status: 401, body: { error: { message: "Incorrect API key provided: sk-wrong-key." } } }
    ])
    const [refused, denied] = await Promise.all([
      troupe(["run", "hi"], { env: { OPENAI_BASE_URL: closed } }),
      troupe(["run", "hi"], { env: { OPENAI_BASE_URL: denying.url, OPENAI_API_KEY: "sk-wrong-key" } })
    ])
    denying.close()
    assertRefused(refused, 1, "ECONNREFUSED")
    assertRefused(denied, 1, "Check the API key")
    assert.notInclude(denied.stderr, "sk-wrong-key")
  })

  it.each(["SIGINT", "SIGTERM"] as const)("ends at once on %s, and the request with it", async (signal) => {
    const server = await serve([{ text: "never to be finished", paceMs: 2000 }])
    const ended = await troupe(["run", "--json", "hi"], {
      env: { OPENAI_BASE_URL: server.url },
      onStart: (kill) => {
        const poll = setInterval(() => {
          if (server.seen.length === 0) return
          clearInterval(poll)
          setTimeout(() => kill(signal), 50)
        }, 10)
      }
    })
    await vi.waitFor(() => assert.strictEqual(server.seen[0]?.aborted, true), 20_000)
    server.close()
    assert.strictEqual(ended.code, signal === "SIGINT" ? 130 : 143)
    assert.include(ended.stderr, "interrupted")
    assert.strictEqual(eventsOf(ended.stdout).at(-1)?._tag, "RunInterrupted")
  })
})

describe("troupe run on a server that never answers", () => {
  it("ends promptly on Ctrl-C, and writes no half answer", async () => {
    const server = await serve([{ hang: true }])
    let interruptedAt = 0
    const ended = await troupe(["run", "hi"], {
      env: { OPENAI_BASE_URL: server.url },
      onStart: (kill) => {
        const poll = setInterval(() => {
          if (server.seen.length === 0) return
          clearInterval(poll)
          interruptedAt = performance.now()
          kill("SIGINT")
        }, 5)
      }
    })
    const took = performance.now() - interruptedAt
    await vi.waitFor(() => assert.strictEqual(server.seen[0]?.aborted, true), 20_000)
    server.close()
    assert.isBelow(took, 20_000)
    assert.strictEqual(ended.code, 130)
    assert.strictEqual(ended.stdout, "")
    assert.strictEqual(ended.stderr.split("troupe: interrupted\n").length, 2, ended.stderr)
  })
})

describe("troupe review", () => {
  it("reviews the project's own README with functions when there is no model, and says so", async () => {
    const { code, stderr, stdout } = await troupe(["review", "README.md"])
    assert.strictEqual(code, 0, stderr)
    for (const name of ["links", "structure", "prose"]) {
      assert.include(stdout, `## ${name}`)
      assert.include(stderr, `README.md > ${name}: done`)
    }
    assert.match(stdout, /^# Review of README\.md\n\n\d+ remarks?\. Reviewed by functions, not a language model/)
    assert.strictEqual(stderr.split("the reviewers are functions").length, 2)
  })

  it("reviews with agents, and an editor, when there is a model", async () => {
    const server = await serve([{ text: "- line 1: fine" }])
    const { code, stdout } = await troupe(["review", "README.md"], { env: { OPENAI_BASE_URL: server.url } })
    server.close()
    assert.strictEqual(code, 0)
    assert.strictEqual(server.seen.length, 5)
    for (const name of ["correctness", "clarity", "style", "security"]) assert.include(stdout, `## ${name}`)
    assert.notInclude(stdout, "functions")
  })

  it("reviews several files, with the reviewers that were asked for, as events", async () => {
    const args = [
      "review",
      "--json",
      "--reviewers",
      "prose,structure",
      file("a.md", "# A\n\nTODO: write."),
      file("b.md", "# B\n\nIt is is done.\n")
    ]
    const { code, stdout } = await troupe(args)
    const events = eventsOf(stdout)
    checkGrammar(events)
    // The review, each file, and each reviewer of each file.
    assert.strictEqual(events.filter((event) => event._tag === "RunStarted").length, 1 + 2 + 4)
    const last = events.at(-1)
    assert.include(last?._tag === "RunCompleted" ? String(last.output) : "", '- line 3: "is" stands twice')
    assert.strictEqual(code, 0)
  })

  it("reports on several files one after the other, by the one reviewer that was asked for", async () => {
    const names = [file("c.md", "# C\n\nIt is is done."), file("d.md", "# D\n\nFine.")]
    const { code, stdout } = await troupe(["review", "--reviewers", "prose", ...names])
    const headings = stdout.split("\n").filter((line) => /^(?:### |## \/)/.test(line))
    assert.deepStrictEqual(headings, [`## ${names[0]}`, "### prose", `## ${names[1]}`, "### prose"])
    assert.isTrue(stdout.startsWith("# Review of 2 files\n"))
    assert.strictEqual(code, 0)
  })

  it("finds what is wrong with links, structure and prose, and nothing that is not", async () => {
    const long = `${Array.from({ length: 41 }, (_, i) => `word${i}`).join(" ")}.`
    const wrong = file(
      "wrong.md",
      `# A\n\nSee [x](missing.md), [y](#nowhere) and [z](wrong.md#a).\nIt is is done, TODO.\n\n### C\n<!-- markdownlint-disable -->\n\n- a\n* b\n\n${long}\n`
    )
    const right = file(
      "right.md",
      "# A\n\nIt uses `code`, and more. The `is` is code; see [A](#a).\n\n```ts\nis is\n```\n"
    )
    const [found, nothing] = await Promise.all([troupe(["review", wrong]), troupe(["review", right])])
    for (const remark of [
      "- line 3: Broken link: there is no file missing.md",
      "- line 3: Link fragments should be valid",
      '- line 4: "is" stands twice',
      "- line 4: unfinished: TODO",
      "- line 6: Heading levels should only increment by one",
      "- line 10: Unordered list style",
      "- line 12: a sentence of 41 words"
    ])
      assert.include(found.stdout, remark)
    assert.strictEqual(nothing.stdout.split("Nothing to remark.").length, 4, nothing.stdout)
  })

  it("refuses without a model what only a model can review", async () => {
    assertRefused(await troupe(["review", "src/bin.ts"]), 2, "is not Markdown")
    assertRefused(await troupe(["review", "--reviewers", "style", "README.md"]), 2, "Without a model there are: links")
  })

  it("refuses what it cannot read, in one line", async () => {
    // Sparse: more than Node reads at once, so it has to be refused by its size alone.
    const huge = file("huge.md", "x")
    truncateSync(huge, 3 * 1024 ** 3)
    const [missing, folderItself, binary, latin, empty, large, tooHuge, reviewer, inherited] = await Promise.all([
      troupe(["review", join(folder, "none.md")]),
      troupe(["review", folder]),
      troupe(["review", file("binary.md", new Uint8Array([104, 0, 105]))]),
      troupe(["review", file("latin.md", new Uint8Array([104, 228, 105]))]),
      troupe(["review", file("empty.md", " \n")]),
      troupe(["review", file("large.md", "x".repeat(1024 * 1024 + 1))]),
      troupe(["review", huge]),
      troupe(["review", "--reviewers", "boss", "README.md"]),
      troupe(["review", "--reviewers", "constructor", "README.md"])
    ])
    assertRefused(missing, 2, "there is no file")
    assertRefused(folderItself, 2, "is a directory")
    assertRefused(binary, 2, "is not a text file")
    assertRefused(latin, 2, "is not a text file")
    assertRefused(empty, 2, "is empty")
    assertRefused(large, 2, "the limit is")
    assertRefused(tooHuge, 2, "the limit is")
    assertRefused(reviewer, 2, 'unknown reviewer "boss"')
    assertRefused(inherited, 2, 'unknown reviewer "constructor"')
  })

  it("stops every review when one fails", async () => {
    const server = await serve([{ status: 400, delayMs: 100, body: { error: { message: "no" } } }])
    const { code, stderr } = await troupe(["review", "README.md", "CHANGELOG.md"], {
      env: { OPENAI_BASE_URL: server.url }
    })
    server.close()
    assert.strictEqual(code, 1)
    assert.include(stderr, "failed after")
    assert.notInclude(stderr, "editor: started")
  })
})

describe("troupe", () => {
  it("prints its version, and its usage", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string }
    const [versioned, help, unknown] = await Promise.all([
      troupe(["--version"]),
      troupe(["--help"]),
      troupe(["run", "--bogus"])
    ])
    assert.strictEqual(versioned.stdout, `troupe v${version}\n`)
    assert.strictEqual(versioned.code, 0)
    assert.include(help.stdout, "review")
    const usage = (await troupe(["run", "--help"])).stdout
    assert.include(usage, "troupe run [flags] [<file>] [<question>]")
    for (const line of usage.split("\n")) assert.isAtMost(line.length, 80, line)
    assert.strictEqual(unknown.code, 2)
    assert.match(unknown.stderr, /^troupe: Unrecognized flag: --bogus.*\nusage: troupe run/)
    assert.strictEqual(unknown.stdout, "")
  })

  it("says what to do about wrong usage, on standard error", async () => {
    const [words, typo, none, command] = await Promise.all([
      troupe(["run", "what", "is", "2", "plus", "3"]),
      troupe(["run", "--json", "--modle", "x", "q"]),
      troupe(["graph"]),
      troupe(["runn"])
    ])
    assertRefused(command, 2, "Did you mean this? run or runs. See")
    assertRefused(words, 2, 'A question of several words is quoted: troupe run "')
    assertRefused(typo, 2, "Did you mean this? --model")
    assertRefused(none, 2, "Missing required argument: file")
    for (const ended of [words, typo, none]) assert.strictEqual(ended.stdout, "")
    for (const name of ["run", "review", "graph", "mcp"]) {
      assert.match((await troupe([name, "--help"])).stdout, new RegExp(`EXAMPLES\n[^]*troupe ${name}`))
    }
  })

  it("ends quietly when its reader is gone", async () => {
    const ended = await new Promise<Ended>((resolve) => {
      const child = spawn("sh", ["-c", `"${process.execPath}" "${bin}" review README.md | head -1`], {
        cwd: root
      })
      let stdout = ""
      let stderr = ""
      child.stdout.on("data", (chunk) => (stdout += chunk))
      child.stderr.on("data", (chunk) => (stderr += chunk))
      child.on("close", (code) => resolve({ code, stdout, stderr }))
    })
    assert.strictEqual(ended.stdout, "# Review of README.md\n")
    assert.notMatch(ended.stderr, /EPIPE|\n\s+at /)
  })
})

describe.runIf(existsSync("/dev/full"))("an output that cannot be written", () => {
  it("ends the program with one line that says so", async () => {
    const commands = [
      ["run", "--model", "demo", "What is 2 + 40?"],
      ["run", "--json", "--model", "demo", "2 + 40?"],
      ["--help"]
    ]
    const ends = commands.map((args) => {
      const { status, stderr } = spawnSync("sh", ["-c", '"$@" > /dev/full', "sh", process.execPath, bin, ...args], {
        cwd: root,
        encoding: "utf8"
      })
      return { code: status, stdout: "", stderr }
    })
    for (const ended of ends) assertRefused(ended, 1, "the output cannot be written")
  })
})

describe("a reader that goes away", () => {
  it("ends the program quietly and without failure", async () => {
    const command = `"${process.execPath}" "${bin}" review --json README.md | head -n 1; echo "\${PIPESTATUS[0]}"`
    const { stderr, stdout } = await new Promise<Ended>((resolve) => {
      const child = spawn("bash", ["-c", command], { cwd: root })
      let [stdout, stderr] = ["", ""]
      child.stdout.on("data", (chunk) => (stdout += chunk))
      child.stderr.on("data", (chunk) => (stderr += chunk))
      child.on("close", (code) => resolve({ code, stdout, stderr }))
    })
    assert.match(stdout, /^\{"_tag":"RunStarted".*\n0\n$/)
    assert.notInclude(stderr, "interrupted")
  })
})

describe("troupe graph", () => {
  const file = "tests/support/graphed.ts"

  it("draws who may hand over to whom, and the handoffs of a run", async () => {
    const team = "tests/support/graphedTeam.ts"
    const arcs = (picture: string) => {
      const names = new Map([...picture.matchAll(/(n\d+)\["(\w+)[<"]/g)].map(([, id, name]) => [id!, name!]))
      return [...picture.matchAll(/(n\d+) (\S+)\|"hands off"\| (n\d+)/g)].map(
        ([, from, link, to]) => `${names.get(from!)} ${link} ${names.get(to!)}`
      )
    }
    const { stdout } = await troupe(["graph", team])
    assert.deepStrictEqual(arcs(stdout), ["triage -.-> billing", "triage -.-> technical", "technical -.-> triage"])
    const base = { v: RunEvent.version, runId: "run_1", path: ["desk"], at: 1 }
    const events = [
      { _tag: "RunStarted", ...base, seq: 0 },
      { _tag: "HandedOff", ...base, seq: 1, from: "triage", to: "technical", reason: "a fault" }
    ]
    const lines = events.map((event) => JSON.stringify(event)).join("\n")
    const taken = await troupe(["graph", "--events", "-", team], { stdin: lines })
    assert.deepStrictEqual(arcs(taken.stdout), ["triage -.-> billing", "triage ==> technical", "technical -.-> triage"])
  })

  it("draws every runner that a file exports, or the one that is named", async () => {
    const { code, stdout } = await troupe(["graph", file])
    assert.strictEqual(code, 0)
    assert.strictEqual(stdout.match(/^flowchart TD$/gm)?.length, 2)
    assert.match(stdout, /^flowchart TD\n {2}subgraph n0\["letters: chain"\]/)
    const named = await troupe(["graph", "--name", "shout", file])
    assert.strictEqual(named.stdout, 'flowchart TD\n  n0[/"shouting"/]\n')
  })

  it("shows what became of a run, from its events", async () => {
    const ran = await troupe(["run", "--json", "--model", "demo", "--agent", file, "What is 2 + 40?"])
    assert.strictEqual(ran.code, 0, ran.stderr)
    const { code, stderr, stdout } = await troupe(["graph", "--events", "-", file], { stdin: ran.stdout })
    assert.strictEqual(code, 0, stderr)
    assert.match(stdout, /"writer<br\/><small>\d+ ms<\/small>"/)
    assert.match(stdout, /class n1 completed/)
  })

  it("refuses a file without runners, an unknown name and lines that are not events", async () => {
    assertRefused(await troupe(["graph", "src/cli/failure.ts"]), 2, "exports no runner")
    assertRefused(await troupe(["graph", "--name", "other", file]), 2, "It exports: default, shout.")
    assertRefused(await troupe(["graph", "--events", "-", file], { stdin: "{}" }), 2, "line 1 of - is not an event")
  })
})
