/**
 * Programs without types give options that do not exist. Every public function that takes options is found in the source, and
 * is called with one that does not exist: it has to be refused by name.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as troupe from "troupe"
import { answerTo } from "../support/refusals.ts"

const source = path.resolve(import.meta.dirname, "../../src")
const agent = troupe.Agent.make("agent", { description: "Answers" })

/** What a parameter before the options is given, by its name. One that is a text needs none. */
const stubs: Readonly<Record<string, unknown>> = {
  answered: "yes",
  branches: { agent },
  check: () => Effect.void,
  client: {},
  comparison: {},
  crew: { lead: agent, members: { helper: troupe.Agent.make("helper", { description: "Helps" }) } },
  documents: [],
  effect: Effect.void,
  evaluation: {},
  events: Stream.empty,
  expected: [],
  f: () => "f",
  input: "hi",
  inputs: Stream.empty,
  list: Effect.succeed([]),
  model: {},
  models: [],
  module: new URL("file:///module.ts"),
  prompts: ["Answer {input}."],
  report: {},
  result: "result",
  routes: { agent },
  rules: [],
  runner: agent,
  runners: [agent],
  sandbox: {},
  schema: Schema.String,
  script: [],
  self: agent,
  steps: [agent],
  stream: Stream.empty,
  to: {},
  tools: [],
  workers: { agent }
}

/** Where a parameter of that name is something else. */
const own: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "AgentServer.client": { runners: { agent } },
  "Durable.schedule": { self: { durable: { name: "orders" } } },
  "Eval.scorer": { f: () => 1 },

  "EvaluatorOptimizer.make": { members: { generator: agent, evaluator: agent } },
  "Handoffs.make": { members: { agent } },
  "PlanExecuteEvaluate.make": { members: { workers: { agent } } },
  "Handoffs.to": { target: "agent" },
  "Router.fromPrompts": { prompts: { agent: "Answer {input}." } },
  "Parallel.fromPrompts": { prompts: { agent: "Answer {input}." } }
}

/** What has to be there for the options to be named. */
const needed: Readonly<Record<string, object>> = { "Durable.make": { name: "orders" } }

/** A whole `Outcome` may stand for the options of another one. */
const others: ReadonlySet<string> = new Set(["Middleware.outcome"])

interface Found {
  readonly name: string
  readonly call: (options: object) => unknown
}

const read = (file: string): string =>
  fs
    .readFileSync(file, "utf8")
    .replaceAll(/\/\*\*(?:(?!\*\/)[\s\S])*@internal[\s\S]*?\*\/\s*export /g, "internal ")
    .replaceAll(/\/\*\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "")

/** The text of a declaration, in `file` or where `file` has it from. */
const declarationOf = (file: string, name: string): string | undefined => {
  const text = read(file)
  const start = text.search(new RegExp(`^(export )?(const|function) ${name}\\b`, "m"))
  if (start >= 0) return text.slice(start).split(/\n(?=export |const |type |interface |class |function )/)[0]
  for (const [, names, from] of text.matchAll(/(?:export|import) \{([^}]*)\} from "(\.[^"]*)"/g)) {
    for (const [original, as = original] of names!.split(",").map((one) => one.trim().split(" as "))) {
      if (as === name) return declarationOf(path.join(path.dirname(file), from!), original!)
    }
  }
  return undefined
}

/** Splits at commas outside of brackets. */
const parted = (text: string): ReadonlyArray<string> => {
  let depth = 0
  const parts = [""]
  for (const [index, char] of Array.from(text).entries()) {
    if ("([{<".includes(char)) depth++
    if (")]}".includes(char) || (char === ">" && text[index - 1] !== "=")) depth--
    if (char === "," && depth === 0) parts.push("")
    else parts[parts.length - 1] += char
  }
  return parts.map((part) => part.trim()).filter((part) => part !== "")
}

/** The lists of parameters in a declaration. */
const parametersOf = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  Array.from(text.matchAll(/\(/g)).flatMap(({ index }) => {
    let depth = 0
    const end = Array.from(text.slice(index)).findIndex(
      (char) => (depth += "([{".includes(char) ? 1 : ")]}".includes(char) ? -1 : 0) === 0
    )
    return /^\s*(:|=>)/.test(text.slice(index + end + 1)) ? [parted(text.slice(index + 1, index + end))] : []
  })

const isOptions = (parameter: string): boolean =>
  /^options\b/.test(parameter) ||
  /^(\w+|\{[^}]*\})\??: ((\w+\.)?\w*(Options|Settings|Limits|Query|View|Budget)\b|\{ readonly)/.test(parameter)

const argument = (of: string, parameter: string): unknown => {
  const name = /^\w+/.exec(parameter)?.[0] ?? parameter
  const value = own[of]?.[name] ?? (/: (string|Name)( |$)/.test(parameter) ? "text" : stubs[name])
  assert.isDefined(value, `tests/architecture/options.test.ts has no stub for "${name}" of ${of}`)
  return value
}

const found = Array.from(
  fs.readFileSync(path.join(source, "index.ts"), "utf8").matchAll(/^export \* as (\w+) from "\.\/(.*)\.ts"/gm)
).flatMap(([, namespace, module]): ReadonlyArray<Found> =>
  Object.entries(troupe[namespace as keyof typeof troupe]).flatMap(([name, value]: [string, unknown]) => {
    if (typeof value !== "function" || /^[A-Z]/.test(name)) return []
    const declaration = declarationOf(path.join(source, `${module}.ts`), name)
    const lists = parametersOf(declaration ?? "").filter((list) => list.some(isOptions))
    const parameters = lists.find((list) => list.some((parameter) => parameter.startsWith("options"))) ?? lists[0]
    if (parameters === undefined) return []
    const of = `${namespace}.${name}`
    if (others.has(of)) return []
    const before = parameters.slice(0, parameters.findIndex(isOptions))
    const call = (options: object): unknown => value(...before.map((parameter) => argument(of, parameter)), options)
    return [{ name: of, call }]
  })
)

describe("an option that does not exist is refused by", () => {
  it("every public function that was found, which are many", () => {
    assert.isAbove(found.length, 150)
  })
  for (const { call, name } of found) {
    it.live(name, () =>
      Effect.gen(function* () {
        assert.include(
          yield* answerTo(() => call({ ...needed[name], noSuchOption: 1 })),
          `it has no option "noSuchOption"`
        )
      })
    )
  }
})
