/** The units of a conversation: what has to stay together, and what must not be left out. */
import type * as Prompt from "effect/ai/Prompt"
import { isOfLoop } from "../../../internal/input.ts"
import * as Notes from "../../../internal/notes.ts"

type Messages = ReadonlyArray<Prompt.Message>

/** Messages that only make sense together: one of the user, or an answer with the results of its tool calls. */
export interface Unit {
  readonly messages: Messages
  /** Whether it is left as it is. */
  readonly isKept: boolean
  /** What an earlier compaction put in the place of other messages. */
  readonly isSummary: boolean
}

/** What is always kept, in addition to the system message and the step under way. */
export interface Keeping {
  readonly keepFirst: boolean
  /** Whether what the user said last is kept too: without it a model does not know what it is working on. Default false. */
  readonly keepLast?: boolean
  readonly pinned: (message: Prompt.Message) => boolean
}

/** The name of the note on what a compaction has made. */
const made = "compaction"

/** Marks a message as made by a compaction. */
export const markOf = (kind: "summary" | "left-out"): { readonly [Notes.key]: { readonly [made]: string } } => ({
  [Notes.key]: { [made]: kind }
})

/** What of a compaction a message is. */
export const kindOf = (message: Prompt.Message): "summary" | "left-out" | undefined => {
  const kind = message.role === "user" ? Notes.noteOf(message, made) : undefined
  return kind === "summary" || kind === "left-out" ? kind : undefined
}

/** The units of messages, in their order. */
export const unitsOf = (messages: Messages, { keepFirst, keepLast, pinned }: Keeping): ReadonlyArray<Unit> => {
  const groups: Array<Array<Prompt.Message>> = []
  let before: Prompt.Message | undefined
  for (const message of messages) {
    const isMore = message.role === "tool" || (message.role === "assistant" && before?.role === "assistant")
    if (isMore && groups.length > 0) groups.at(-1)!.push(message)
    else groups.push([message])
    before = message
  }
  const first = messages.find((message) => message.role === "user" && kindOf(message) === undefined)
  const last = new Set(keepLast === true ? lastOfUser(messages) : [])
  return groups.map((group): Unit => {
    const kind = group.length === 1 ? kindOf(group[0]!) : undefined
    const isKept = group.some(
      (message) => message.role === "system" || (keepFirst && message === first) || last.has(message) || pinned(message)
    )
    return { messages: group, isKept, isSummary: kind === "summary" }
  })
}

/** What the user said last, in one message or in several. */
const lastOfUser = (messages: Messages): Messages => {
  const isOfUser = (message: Prompt.Message) =>
    message.role === "user" && kindOf(message) === undefined && !isOfLoop(message)
  const end = messages.findLastIndex(isOfUser) + 1
  let start = end
  while (start > 0 && isOfUser(messages[start - 1]!)) start--
  return messages.slice(start, end)
}

/**
 * How many units come before the last `count` turns. A turn is an answer with the results of its calls, and what the user said
 * before it; the one under way may have no answer yet. Results that the model has not seen are of the turn under way, also where
 * something was said after them, by the user or by a middleware such as `Notice`.
 */
export const beforeTurns = (units: ReadonlyArray<Unit>, count: number): number => {
  let at = units.length
  const skipSaid = (): void => {
    while (at > 0 && isSaid(units[at - 1]!)) at--
  }
  for (let turns = 0; turns < count && at > 0; turns++) {
    const isOpen = at === units.length && isSaid(units[at - 1]!)
    if (isOpen) skipSaid()
    const isUnseen = isOpen && at > 0 && units[at - 1]!.messages.at(-1)!.role === "tool"
    if (!isOpen || isUnseen) {
      at--
      // What the user said before the answer belongs to its turn.
      skipSaid()
    }
  }
  return at
}

/** Whether it is something that was said to the model. */
const isSaid = ({ messages }: Unit): boolean => messages[0]!.role === "user" && kindOf(messages[0]!) === undefined

/** The messages of units. */
export const flat = (units: ReadonlyArray<Unit>): Messages => units.flatMap(({ messages }) => messages)

const callsOf = (message: Prompt.Message): ReadonlyArray<string> =>
  message.role === "assistant"
    ? message.content.flatMap((part) => (part.type === "tool-call" && part.providerExecuted !== true ? [part.id] : []))
    : []

const resultsOf = (message: Prompt.Message): ReadonlyArray<string> =>
  message.role === "tool" ? message.content.flatMap((part) => (part.type === "tool-result" ? [part.id] : [])) : []

/** True where every call has its result, in the messages that follow, and every result its call. */
export const isWhole = (messages: Messages): boolean => {
  let open = new Set<string>()
  for (const message of messages) {
    if (message.role === "tool") {
      for (const id of resultsOf(message)) if (!open.delete(id)) return false
      continue
    }
    if (message.role !== "assistant" && open.size > 0) return false
    for (const id of callsOf(message)) open.add(id)
  }
  return open.size === 0
}

/** What a policy has broken; `undefined` where it has broken nothing. */
export const brokenBy = (before: Messages, after: Messages, keeping: Keeping): string | undefined => {
  if (isWhole(before) && !isWhole(after)) return "it parted a tool call from its result"
  const left = new Set(after)
  const units = unitsOf(before, keeping)
  for (const { isKept, messages } of units) {
    if (isKept && messages.some((message) => !left.has(message))) {
      return "it left out or changed a message that is to be kept: a system message, the first one of the user, or a pinned one"
    }
  }
  const last = flat(units.slice(beforeTurns(units, 1)))
  const said = last.filter(({ role }) => role !== "tool")
  const results = new Set(after.flatMap(resultsOf))
  return said.every((message) => left.has(message)) && last.flatMap(resultsOf).every((id) => results.has(id))
    ? undefined
    : "it left out a part of the step that is under way"
}
