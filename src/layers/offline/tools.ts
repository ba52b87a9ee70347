/**
 * Chooses the tools that a request asks for and fills in their arguments. Pure and deterministic: the same transcript
 * gives the same calls, which is how it knows what has been done.
 */
import { isDeepStrictEqual } from "node:util"
import { operatorWords } from "./concepts.ts"
import { clauses } from "./compose.ts"
import type { Conversation } from "./conversation.ts"
import { type Fact, facts as factsOf } from "./facts.ts"
import { find } from "./fill.ts"
import { force } from "./force.ts"
import { validator } from "./libraries.ts"
import { prepare } from "./rank.ts"
import { candidates } from "./slots.ts"
import { roleOf, type Source } from "./source.ts"
import { choices, resolve, type Schema, str, strings, toSchema, typeOf } from "./schema.ts"
import { type Offered, relevance, takesQuery } from "./relevance.ts"
import { inverseFrequency, keyStems, stem } from "./text.ts"

export interface Planned {
  readonly name: string
  readonly params: { readonly [key: string]: unknown }
}

/** What is asked of the tools. */
export type Choice = "auto" | "required" | { readonly tool: string }

const question = /[?？]\s*$|^(?:what|who|when|where|why|which|how|find|search|look up|tell me about)\b/i

const sourceOf = (
  tool: Offered,
  text: string,
  conversation: Conversation,
  now: number,
  given: ReadonlyArray<number>
): Source => ({
  mode: "arguments",
  root: tool.schema,
  facts: swapped(tool, factsOf(text, now)),
  text,
  task: text,
  instructions: conversation.instructions,
  toolStems: new Set(tool.nameStems),
  knownStems: new Set([...tool.nameStems, ...tool.descriptionStems, ...tool.parameterStems]),
  given: [...given],
  used: [],
  ranked: () => prepare(text),
  findings: () => [],
  answer: () => text
})

/** "Subtract 5 from 20" names the operands the other way round. */
const swapped = (tool: Offered, facts: ReturnType<typeof factsOf>): ReturnType<typeof factsOf> => {
  const takesAway = tool.nameStems.some(
    (item) => item === "subtract" || item === "minu" || item === "differ" || item === stem("difference")
  )
  const match = takesAway
    ? /\b(?:subtract|take|deduct|remove|minus)\s+\S+(?:\s+\S+)?\s+(?:away\s+)?from\s+\S/i.exec(facts.text)
    : null
  if (match === null || facts.numbers.length < 2) return facts
  const [first, second, ...rest] = facts.numbers
  return Object.defineProperty(Object.create(facts) as typeof facts, "numbers", { value: [second, first, ...rest] })
}

/** The arguments that `text` gives for a tool; `undefined` when a required one is missing. */
export const fillArguments = (
  tool: Offered,
  text: string,
  conversation: Conversation,
  now: number,
  given: ReadonlyArray<number> = []
): Planned["params"] | undefined => {
  const source = sourceOf(tool, text, conversation, now, given)
  const found = find(tool.schema, { name: "", description: tool.description, required: true, siblings: [] }, source, 0)
  if (found === undefined) return undefined
  const params = toSchema(found.value)
  return valid(tool.schema, params) ? params : undefined
}

const valid = (schema: Schema, value: unknown): boolean => {
  try {
    return new (validator())(schema, "2020-12").validate(value).valid
  } catch {
    return true
  }
}

/** Several calls where a tool takes one thing and the text names many. */
const spread = (
  tool: Offered,
  text: string,
  conversation: Conversation,
  now: number,
  params: Planned["params"]
): ReadonlyArray<Planned["params"]> => {
  const root = resolve(tool.schema, tool.schema)
  const required = strings(root["required"])
  const [only] = required
  if (only === undefined || required.length > 1) return [params]
  const schema = resolve(toSchema(toSchema(root["properties"])[only]), tool.schema)
  if (choices(schema, tool.schema) !== undefined) return [params]
  const source = sourceOf(tool, text, conversation, now, [])
  const type = typeOf(schema)
  const property = { name: only, description: str(schema, "description") ?? "", required: true, siblings: [] }
  const role = roleOf(property, str(schema, "format"))
  const list: ReadonlyArray<Fact & { readonly value?: unknown }> =
    type === "number" || type === "integer"
      ? source.facts.numbers
      : type === "string" && !/^(?:query|body|none|title|reason|answer|expression|summary)$/.test(role)
        ? candidates(role, str(schema, "format"), source, property)
        : []
  const first = list.findIndex((fact) => (fact.value ?? fact.text) === params[only])
  if (first === -1) return [params]
  const joined = [list[first]!]
  for (const fact of list.slice(first + 1)) {
    const between = text.slice(joined.at(-1)!.end, fact.start)
    if (
      /^\s*(?:,|;|&|\/)?\s*(?:and|or|as well as|e|y|et|und)?\s*(?:in|for|of|to|the)?\s*$/i.test(
        between.replace(/^\s*\p{L}+\s*(?=,)/u, "")
      )
    )
      joined.push(fact)
  }
  return joined
    .slice(0, 8)
    .map((fact) => ({ ...params, [only]: fact.value ?? fact.text }))
    .filter((item) => valid(tool.schema, item))
}

const refersBack =
  /^(?:then|after that|finally|next|afterwards)\b|\b(?:it|that|the result|the answer|the total|the sum|them|this)\b/i

interface Step {
  readonly clause: string
  readonly tool: Offered
  readonly calls: ReadonlyArray<Planned>
}

/** The stem of the word that commands: the first with meaning. */
const verbOf = (clause: string): string | undefined => keyStems(clause.slice(0, 200))[0]

const choose = (
  clause: string,
  tools: ReadonlyArray<Offered>,
  weight: (stem: string) => number
): ReadonlyArray<Offered> => {
  const stems = new Set([...keyStems(clause), ...operatorWords(clause)])
  const scored = tools
    .map((tool) => ({ tool, score: relevance(tool, stems, weight, verbOf(clause)) }))
    .filter(({ score }) => score > 0.35)
    .toSorted((a, b) => b.score - a.score)
  if (scored.length === 0 && question.test(clause.trim())) return tools.filter(takesQuery)
  return scored.map(({ tool }) => tool)
}

const numbersIn = (value: unknown, out: Array<number> = [], depth = 0): Array<number> => {
  if (typeof value === "number" && Number.isFinite(value)) out.push(value)
  else if (typeof value === "string" && /^\s*-?\d+(?:\.\d+)?\s*$/.test(value)) out.push(Number(value))
  else if (typeof value === "object" && value !== null && depth < 6)
    for (const item of Object.values(value)) numbersIn(item, out, depth + 1)
  return out
}

/** The calls to make now; empty when the text asks for none or all that it asks for has been done. */
export const plan = (
  conversation: Conversation,
  tools: ReadonlyArray<Offered>,
  choice: Choice,
  now: number
): ReadonlyArray<Planned> => {
  const text = requestOf(conversation)
  const usable = typeof choice === "object" ? tools.filter((tool) => tool.name === choice.tool) : tools
  if (usable.length === 0) return []
  const done = (call: Planned) =>
    conversation.calls.some(
      (made) => made.name === call.name && isDeepStrictEqual(toPlain(made.params), toPlain(call.params))
    )
  if (typeof choice === "object") {
    if (conversation.calls.some((call) => call.name === choice.tool)) return []
    return usable.slice(0, 1).flatMap((tool) => forced(tool, text, conversation, now))
  }
  const weight = inverseFrequency(usable.map((tool) => [...tool.nameStems, ...tool.descriptionStems]))
  const parts = clauses(text).slice(0, 32)
  const steps: Array<Step> = []
  const waiting: Array<{ readonly clause: string; readonly tools: ReadonlyArray<Offered> }> = []
  const missed: Array<string> = []
  for (const clause of parts) {
    const fitting = choose(clause, usable, weight)
    let step: Step | undefined
    for (const tool of fitting) {
      const params = fillArguments(tool, clause, conversation, now)
      if (params === undefined) continue
      step = {
        clause,
        tool,
        calls: spread(tool, clause, conversation, now, params).map((item) => ({ name: tool.name, params: item }))
      }
      break
    }
    const back = steps.length > 0 && refersBack.test(clause.trim())
    if (step !== undefined && !(back && numbersIn(step.calls[0]?.params).length < 2 && needsNumbers(step.tool) > 1))
      steps.push(step)
    else if (fitting.length > 0) {
      if (steps.length > 0) waiting.push({ clause, tools: fitting })
      else missed.push(clause)
    }
  }
  // What one clause lacks, another may say.
  if (steps.length === 0) {
    const fitting = choose(text, usable, weight)
    for (const tool of fitting) {
      const params = fillArguments(tool, text, conversation, now)
      if (params === undefined) continue
      steps.push({
        clause: text,
        tool,
        calls: spread(tool, text, conversation, now, params).map((item) => ({ name: tool.name, params: item }))
      })
      break
    }
  }
  const first = unique(steps.flatMap((step) => step.calls))
  const next = first.filter((call) => !done(call))
  if (conversation.calls.length === 0) {
    if (first.length > 0 || choice === "auto") return first.slice(0, 16)
    return forcedBest(usable, text, weight, conversation, now)
  }
  if (conversation.results.length > 0 && conversation.results.every((result) => !result.isFailure)) {
    return [
      ...next.filter((call) => !conversation.calls.some((made) => made.name === call.name)),
      ...deferred(waiting, first, conversation, now).filter((call) => !done(call))
    ].slice(0, 16)
  }
  return []
}

const toPlain = (value: unknown): unknown => {
  try {
    return JSON.parse(JSON.stringify(value ?? null)) as unknown
  } catch {
    return value
  }
}

const unique = (calls: ReadonlyArray<Planned>): ReadonlyArray<Planned> => {
  const seen = new Set<string>()
  return calls.filter((call) => {
    const key = JSON.stringify([call.name, call.params])
    return !seen.has(key) && seen.add(key) !== undefined
  })
}

const needsNumbers = (tool: Offered): number => {
  const root = resolve(tool.schema, tool.schema)
  const properties = toSchema(root["properties"])
  return strings(root["required"]).filter((name) =>
    /number|integer/.test(typeOf(resolve(toSchema(properties[name]), tool.schema)) ?? "")
  ).length
}

/** The next clause that needed a result: at most one a step, and each clause once. */
const deferred = (
  waiting: ReadonlyArray<{ readonly clause: string; readonly tools: ReadonlyArray<Offered> }>,
  first: ReadonlyArray<Planned>,
  conversation: Conversation,
  now: number
): ReadonlyArray<Planned> => {
  const extra = conversation.calls.length - first.length
  const item = extra < 0 ? undefined : waiting[extra]
  if (item === undefined) return []
  const last = conversation.results.at(-1)
  for (const tool of item.tools) {
    const given = numbersIn(last?.result)
    const params =
      fillArguments(tool, item.clause, conversation, now, given.slice(0, 1)) ??
      (typeof last?.result === "string"
        ? fillArguments(
            tool,
            item.clause.replace(refersBack, `"${last.result.replaceAll('"', "'").slice(0, 1_900)}"`),
            conversation,
            now
          )
        : undefined)
    if (params !== undefined) return [{ name: tool.name, params }]
  }
  return []
}

/** What the tools are asked: the message itself, or its instruction when that stands apart from a long document. */
const requestOf = (conversation: Conversation): string =>
  conversation.message.length > 4_000 && conversation.task !== ""
    ? `${conversation.task}\n${(conversation.documents[0]?.text ?? "").slice(0, 4_000)}`
    : conversation.message.slice(0, 8_000)

const forced = (tool: Offered, text: string, conversation: Conversation, now: number): ReadonlyArray<Planned> => {
  for (const part of [text, ...clauses(text).slice(0, 8)]) {
    const params = fillArguments(tool, part, conversation, now)
    if (params !== undefined) return [{ name: tool.name, params }]
  }
  const source = sourceOf(tool, text, conversation, now, [])
  const property = { name: "", description: tool.description, required: true, siblings: [] }
  const start = find(tool.schema, property, { ...source, mode: "output" }, 0)
  const value = force(tool.schema, property, { ...source, mode: "output" }, 0, start)
  return [{ name: tool.name, params: toSchema(value) }]
}

const forcedBest = (
  tools: ReadonlyArray<Offered>,
  text: string,
  weight: (stem: string) => number,
  conversation: Conversation,
  now: number
): ReadonlyArray<Planned> => {
  const stems = new Set([...keyStems(text), ...operatorWords(text)])
  const scored = tools.map((tool) => ({
    tool,
    score: relevance(tool, stems, weight, verbOf(text)),
    fits: fillArguments(tool, text, conversation, now) !== undefined
  }))
  const best = scored.toSorted((a, b) => Number(b.fits) - Number(a.fits) || b.score - a.score)[0]
  return best === undefined ? [] : forced(best.tool, text, conversation, now)
}
