/** Conversations of clients in the forms of other protocols: which of it this server takes, and what it goes on with. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import { textsOf, type UserPart } from "./chatParts.ts"
import type { Caller, Edge } from "./edge.ts"
import { type ClientCall, ownCall } from "./formats/calls.ts"
import { type Problem, refuse } from "./problem.ts"
import type { ServedRunner } from "./served.ts"
import type { Info } from "../../../services/Runs.ts"
import type * as Runner from "../../../Runner.ts"
import type * as Schema from "effect/Schema"

/** One thing of a conversation. `at` names it to the client. */
export type Item =
  | { readonly _tag: "System"; readonly text: string; readonly at: string }
  | { readonly _tag: "User"; readonly parts: ReadonlyArray<UserPart>; readonly at: string }
  | { readonly _tag: "Assistant"; readonly text: string; readonly at: string }
  | { readonly _tag: "Call"; readonly call: ClientCall; readonly at: string }
  | { readonly _tag: "Result"; readonly id: string; readonly output: Schema.Json; readonly at: string }

/** What a request comes to: a new run, or one that goes on with the results of calls. */
export type Turn =
  | { readonly _tag: "New"; readonly input: unknown }
  | { readonly _tag: "Resume"; readonly info: Info; readonly answers: Readonly<Record<string, Runner.Answer>> }

/** A conversation before the items of a request. */
export interface Context {
  readonly edge: Edge
  readonly runner: ServedRunner
  readonly caller: Caller
  /** What the server itself has recorded. */
  readonly history: Prompt.Prompt
}

/** Reads a conversation. Fails with the part that a client must not write. */
export const turnOf = (context: Context, items: ReadonlyArray<Item>): Effect.Effect<Turn, Problem> =>
  items.at(-1)?._tag === "Result"
    ? Effect.flatMap(callsIn(context, items), (calls) => resumption(context, items, calls))
    : Effect.map(newInput(context, items), (input) => ({ _tag: "New", input }))

/** The input of a new run, out of a conversation whose last message is one of the user. */
export const newInput = (context: Context, items: ReadonlyArray<Item>): Effect.Effect<unknown, Problem> =>
  Effect.gen(function* () {
    const calls = yield* callsIn(context, items)
    const last = items.at(-1)
    if (last === undefined) return yield* refuse(400, "There is no message.", { part: "messages", kind: "shape" })
    if (last._tag === "Call") {
      return yield* refuse(400, "The last call has no result.", { part: last.at, kind: "tool-call" })
    }
    return yield* inputOf(context, items, calls)
  })

type Calls = ReadonlyMap<string, NonNullable<ReturnType<typeof ownCall>> & { readonly name: string }>

/** The calls of a conversation, each of which this server has signed. Results stand for such calls only. */
const callsIn = ({ edge }: Context, items: ReadonlyArray<Item>): Effect.Effect<Calls, Problem> => {
  const system = items.find((item) => item._tag === "System")
  if (system !== undefined && edge.settings.clientInstructions === "refuse") {
    const detail =
      'This server takes no instructions of clients: system and developer messages. Leave them out, or serve it with clientInstructions: "append".'
    return refuse(400, detail, { part: system.at, kind: "system" })
  }
  const calls = new Map<string, NonNullable<ReturnType<typeof ownCall>> & { readonly name: string }>()
  for (const item of items) {
    if (item._tag === "Call") {
      const own = ownCall(item.call, edge.signing)
      if (own === undefined) {
        return refuse(400, "This server did not ask for the call as it is.", { part: item.at, kind: "tool-call" })
      }
      calls.set(item.call.id, { ...own, name: item.call.name })
    } else if (item._tag === "Result" && !calls.has(item.id)) {
      return refuse(400, "It is the result of a call that this server has no record of.", {
        part: item.at,
        kind: "tool-result"
      })
    }
  }
  return Effect.succeed(calls)
}

/** Goes on with the run whose calls the last results answer. */
const resumption = (
  { caller, edge, runner }: Context,
  items: ReadonlyArray<Item>,
  calls: Calls
): Effect.Effect<Turn, Problem> =>
  Effect.gen(function* () {
    const start = items.findLastIndex(({ _tag }) => _tag !== "Result") + 1
    const results = items.slice(start).flatMap((item) => (item._tag === "Result" ? [item] : []))
    const runId = calls.get(results[0]!.id)!.runId
    const gone = refuse(409, "The run that asked for these calls is not kept any more. Ask again from the start.", {
      part: results[0]!.at
    })
    const info = yield* Effect.catch(edge.runs.poll(runId), () => gone)
    const { ended } = info
    const isOwn = info.owner === caller.name && info.runner === runner.runner.name
    if (!isOwn || ended?._tag !== "RunSuspended") return yield* gone
    const answers: Array<readonly [string, Runner.Answer]> = []
    for (const { at, id, output } of results) {
      const { index, runId: own } = calls.get(id)!
      const waiting = ended.waitingFor[index]
      if (own !== runId || waiting === undefined) {
        return yield* refuse(400, "It is the result of a call of another answer.", { part: at, kind: "tool-result" })
      }
      answers.push([waiting.id, output])
    }
    return { _tag: "Resume" as const, info, answers: Object.fromEntries(answers) }
  })

/** The input of a new run. */
const inputOf = (
  { history, runner }: Context,
  items: ReadonlyArray<Item>,
  calls: Calls
): Effect.Effect<unknown, Problem> => {
  if (!runner.takesConversation) {
    const [only] = items
    const text = items.length === 1 && only?._tag === "User" ? textsOf(only.parts) : undefined
    if (text === undefined || history.content.length > 0) {
      return refuse(400, `"${runner.name}" takes one text, and no conversation.`, { part: "messages", kind: "shape" })
    }
    return Effect.succeed(text)
  }
  const system = items.flatMap((item) => (item._tag === "System" ? [item.text] : [])).join("\n\n")
  const messages = items.flatMap((item): ReadonlyArray<Prompt.MessageEncoded> => messageOf(item, calls))
  const prompt = Prompt.make(system === "" ? messages : [{ role: "system", content: system }, ...messages])
  return Effect.succeed(Prompt.concat(history, prompt))
}

const messageOf = (item: Item, calls: Calls): ReadonlyArray<Prompt.MessageEncoded> => {
  switch (item._tag) {
    case "System":
      return []
    case "User":
      return [{ role: "user", content: [...item.parts] }]
    case "Assistant":
      return item.text === "" ? [] : [{ role: "assistant", content: [{ type: "text", text: item.text }] }]
    case "Call": {
      const { name, params } = calls.get(item.call.id)!
      const call = { type: "tool-call" as const, id: item.call.id, name, params, providerExecuted: false }
      return [{ role: "assistant", content: [call] }]
    }
    case "Result": {
      const { name } = calls.get(item.id)!
      const result = {
        type: "tool-result" as const,
        id: item.id,
        name,
        isFailure: false,
        result: item.output,
        providerExecuted: false
      }
      return [{ role: "tool", content: [result] }]
    }
  }
}
