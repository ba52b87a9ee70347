/**
 * Transcripts of suspended runs. Each call that waits is noted in the transcript with the parts that `effect/ai` has for
 * it, so that the transcript stays plain JSON. What is read here may have been written by anyone: a note counts only as far
 * as it can be checked.
 */
import * as Prompt from "effect/ai/Prompt"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { Decision, Request, type Signing } from "../services/Approver.ts"
import { ClientTool, OutsideEvent, type WaitingFor } from "../services/Waiting.ts"
import type { InvalidApproval } from "../RunError.ts"
import { Carried } from "./budget.ts"
import { exactJson, isSignedBy, sign } from "./fingerprint.ts"
import { encodedMessages, promptIn, remade } from "./input.ts"
import { toJson } from "./json.ts"

type Path = ReadonlyArray<string>
type PartOf<Type extends Prompt.Part["type"]> = Extract<Prompt.Part, { readonly type: Type }>

/** What a call waits for. */
export type Waiting =
  /** A decision. */
  | { readonly _tag: "Decision"; readonly request: Request }
  /** The result of a tool that the caller runs; `edited`: an approver has changed its arguments. */
  | { readonly _tag: "Client"; readonly request: ClientRequest; readonly edited: boolean }
  /** A nested run that is suspended itself: the agent at `at`, a path below the agent that called it, and its transcript. */
  | {
      readonly _tag: "Run"
      readonly waitingFor: ReadonlyArray<WaitingFor>
      readonly at: Path
      readonly transcript: Prompt.Prompt
    }
  /** Calls inside of it. */
  | InsideWaits
  /** The other calls of its step, because it ends the run. */
  | { readonly _tag: "Others"; readonly id: string }

/** A tool that is suspended with calls inside of it. */
export interface InsideWaits {
  readonly _tag: "Inside"
  readonly waitingFor: ReadonlyArray<WaitingFor>
  /** What the tool goes on from. */
  readonly kept: Schema.Json
  /** The calls inside that wait, as an answer that asks for them. */
  readonly transcript: Prompt.Prompt
  /** Arguments that an approver has put in the place of the model's. */
  readonly edited?: Schema.Json | undefined
}

const own = "troupe"

/** The fields of a kind of what is waited for. A function, because bundlers keep destructured values that are not used. */
const withoutKind = <F extends { readonly kind: unknown }>({ kind: _kind, ...fields }: F): Omit<F, "kind"> => fields

const ClientRequest = Schema.Struct(withoutKind(ClientTool.fields))
/** What a client is asked to run. */
export type ClientRequest = typeof ClientRequest.Type
const EventRequest = Schema.Struct(withoutKind(OutsideEvent.fields))
/** The event that a run waits for. */
export type EventRequest = typeof EventRequest.Type

/** A member of a workflow that is suspended itself. */
const Member = Schema.Struct({
  /** What the workflow knows it by. */
  key: Schema.String,
  /** The path of what waits, below the workflow. */
  at: Schema.Array(Schema.String),
  transcript: Schema.Json
})

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
/** What a run had counted; `above`: how many runs it is above the one that waits. */
const Counted = Schema.Struct({ above: Schema.Int, name: Schema.String, value: Count })
const UsedBefore = Schema.Struct({
  steps: Count,
  toolCalls: Count,
  budgets: Schema.Array(Carried),
  counts: Schema.optionalKey(Schema.Array(Counted))
})
/** What a suspended run had used. */
export type UsedBefore = typeof UsedBefore.Type

/** What the run so many runs above the one that waits had counted by this name; 0 for a run that begins. */
export const countIn = (used: UsedBefore | undefined, above: number, name: string): number =>
  used?.counts?.find((one) => one.above === above && one.name === name)?.value ?? 0

const Note = Schema.Struct({
  /** The path of the agent whose call waits. */
  at: Schema.Array(Schema.String),
  waitsFor: Schema.Union([
    Schema.TaggedStruct("Decision", { request: Request }),
    Schema.TaggedStruct("Client", { request: ClientRequest, edited: Schema.Boolean }),
    Schema.TaggedStruct("Run", { at: Schema.Array(Schema.String), transcript: Schema.Json }),
    Schema.TaggedStruct("Inside", {
      kept: Schema.Json,
      transcript: Schema.Json,
      edited: Schema.optionalKey(Schema.Json)
    }),
    Schema.TaggedStruct("Others", {}),
    // These are of a run, and of no call.
    Schema.TaggedStruct("Event", { request: EventRequest }),
    Schema.TaggedStruct("Members", {
      /** What the workflow knows in addition to its members. */
      state: Schema.Json,
      members: Schema.Array(Member),
      /** Why the workflow cannot go on. */
      blocked: Schema.optionalKey(Schema.String)
    })
  ]),
  /** The function around the run that cannot go on, and why. */
  within: Schema.optionalKey(Schema.Struct({ path: Schema.Array(Schema.String), reason: Schema.String })),
  /** What had been used until then: of the limits of the agent itself, and of the budgets around it. */
  used: Schema.optionalKey(UsedBefore),
  signature: Schema.optionalKey(Schema.String)
})
type Note = typeof Note.Type
/** What around a run cannot go on, and why. */
export type Within = Exclude<Note["within"], undefined>

const Answer = Schema.Struct({
  params: Schema.optionalKey(Schema.Json),
  /** The result of a tool that the caller ran, or the value of an event. */
  value: Schema.optionalKey(Schema.Json),
  /** The answers to requests of members of a workflow, by their position. */
  members: Schema.optionalKey(Schema.Array(Schema.Struct({ index: Schema.Int, messages: Schema.Json }))),
  /** The answers to requests of the nested run, or of the calls inside, that the call waits for. */
  nested: Schema.optionalKey(Schema.Json),
  signature: Schema.optionalKey(Schema.String)
})
type Answer = typeof Answer.Type

/** The run whose transcript is noted on. */
export interface By {
  readonly at: Path
  /** What around it cannot go on. */
  readonly within: Within | undefined
  readonly used: UsedBefore
  readonly signing: Signing | undefined
}

/** Notes in the last assistant message which calls of the agent `at` wait, and for what. */
export const note = (
  messages: ReadonlyArray<Prompt.Message>,
  waiting: ReadonlyArray<{ readonly call: Call; readonly waiting: Waiting }>,
  by: By
): ReadonlyArray<Prompt.Message> => {
  const index = messages.findLastIndex((message) => message.role === "assistant")
  const message = messages[index] as Prompt.AssistantMessage
  const parts = waiting.map(({ call, waiting }) => requestPart(idOf(waiting, call), call, waitsFor(waiting), by))
  return messages.with(
    index,
    Prompt.assistantMessage({ content: [...message.content, ...parts], options: message.options })
  )
}

/** The request for what waits, with its note, which is signed where the program signs. Without a call the run itself waits. */
const requestPart = (
  approvalId: string,
  call: Call | undefined,
  waitsFor: Note["waitsFor"],
  { at, signing, used, within }: By
): PartOf<"tool-approval-request"> => {
  const unsigned: Note = { at, waitsFor, used, ...(within === undefined ? {} : { within }) }
  const payload = signing === undefined ? undefined : requestPayload(approvalId, call, unsigned)
  const noted = payload === undefined ? unsigned : { ...unsigned, signature: signing!.sign(payload) }
  const options = { [own]: asJson(noted) }
  return Prompt.toolApprovalRequestPart({ approvalId, toolCallId: call?.id ?? approvalId, options })
}

interface Call {
  readonly id: string
  readonly name: string
  readonly params: unknown
}

/** A tool's call that waits for calls inside of it, of which at least one waits. */
export const insideWaits = (
  kept: Schema.Json,
  waiting: ReadonlyArray<{ readonly call: Call; readonly waiting: Waiting }>,
  by: By
): InsideWaits => {
  const content = waiting.map(({ call: { id, name, params } }) =>
    Prompt.toolCallPart({ id, name, params, providerExecuted: false })
  )
  const transcript = Prompt.fromMessages(note([Prompt.assistantMessage({ content })], waiting, by))
  const waitingFor = waiting.flatMap(({ waiting }) => waitingForOf(waiting))
  return { _tag: "Inside", waitingFor, kept, transcript }
}

const idOf = (waiting: Waiting, call: Call): string => {
  if (waiting._tag === "Decision" || waiting._tag === "Client") return waiting.request.id
  return `${waiting._tag === "Others" ? waiting.id : waiting.waitingFor[0]!.id}/${call.id}`
}

/** What a call waits for. */
export const waitingForOf = (waiting: Waiting): ReadonlyArray<WaitingFor> => {
  switch (waiting._tag) {
    case "Decision":
      return [{ kind: "approval", ...waiting.request }]
    case "Client":
      return [{ kind: "client-tool", ...waiting.request }]
    case "Run":
    case "Inside":
      return waiting.waitingFor
    case "Others":
      return []
  }
}

const waitsFor = (waiting: Waiting): Note["waitsFor"] => {
  switch (waiting._tag) {
    case "Run":
      return { _tag: "Run", at: waiting.at, transcript: encodePrompt(waiting.transcript) }
    case "Inside": {
      const { edited, kept, transcript } = waiting
      const changed = edited === undefined ? {} : { edited }
      return { _tag: "Inside", kept, transcript: encodePrompt(transcript), ...changed }
    }
    case "Others":
      return { _tag: "Others" }
    default:
      return waiting
  }
}

/** What a run of a workflow, or one that waits for an event, is suspended with. */
export type RunWaits =
  | { readonly _tag: "Event"; readonly request: EventRequest }
  | {
      readonly _tag: "Members"
      readonly id: string
      readonly state: Schema.Json
      readonly members: ReadonlyArray<{ readonly key: string; readonly at: Path; readonly transcript: Prompt.Prompt }>
      readonly blocked: string | undefined
    }

/** The transcript of the run at `at` that is suspended: what it was given, and a note of what it waits for. */
export const noteRun = (given: ReadonlyArray<Prompt.Message>, waits: RunWaits, by: By): Prompt.Prompt => {
  const part =
    waits._tag === "Event"
      ? requestPart(waits.request.id, undefined, waits, by)
      : requestPart(waits.id, undefined, membersOf(waits), by)
  return Prompt.fromMessages([...given, Prompt.assistantMessage({ content: [part] })])
}

const membersOf = ({
  blocked,
  members,
  state
}: Extract<RunWaits, { readonly _tag: "Members" }>): Extract<Note["waitsFor"], { readonly _tag: "Members" }> => ({
  _tag: "Members",
  state,
  members: members.map(({ at, key, transcript }) => ({ key, at, transcript: encodePrompt(transcript) })),
  ...(blocked === undefined ? {} : { blocked })
})

/** Something at the end of a transcript that waits, with what was answered. */
interface Open {
  /** `undefined` where the run itself waits, and no call of it. */
  readonly call: Prompt.ToolCallPart | undefined
  readonly part: PartOf<"tool-approval-request">
  /** Our own note; `undefined` for a request that another program made. */
  readonly note: Note | undefined
  readonly responses: ReadonlyArray<PartOf<"tool-approval-response">>
}

/** A call at the end of a transcript that waits, with what was answered. */
export interface OpenCall extends Open {
  readonly call: Prompt.ToolCallPart
}

interface Turn {
  readonly calls: Array<Prompt.ToolCallPart>
  readonly results: Set<string>
  readonly requests: Array<PartOf<"tool-approval-request">>
  readonly responses: Array<PartOf<"tool-approval-response">>
}

const newTurn = (): Turn => ({ calls: [], results: new Set(), requests: [], responses: [] })

const isAnswered = ({ responses, results }: Turn): boolean => results.size + responses.length > 0

const lastTurn = (messages: ReadonlyArray<Prompt.Message>): Turn => {
  let start = messages.length
  while (start > 0 && (messages[start - 1]!.role === "assistant" || messages[start - 1]!.role === "tool")) start--
  let turn = newTurn()
  for (const message of messages.slice(start)) {
    if (message.role === "assistant" && isAnswered(turn)) turn = newTurn()
    for (const part of message.content as ReadonlyArray<Prompt.Part>) {
      if (part.type === "tool-call" && !part.providerExecuted) turn.calls.push(part)
      else if (part.type === "tool-result") turn.results.add(part.id)
      else if (part.type === "tool-approval-request") turn.requests.push(part)
      else if (part.type === "tool-approval-response") turn.responses.push(part)
    }
  }
  return turn
}

const openIn = ({ calls, requests, responses, results }: Turn): ReadonlyArray<Open> =>
  requests.flatMap((part): ReadonlyArray<Open> => {
    const note = noteOf(part)
    const ofPart = { part, note, responses: responses.filter(({ approvalId }) => approvalId === part.approvalId) }
    if (isOfRun(note)) return [{ ...ofPart, call: undefined }]
    const call = calls.find(({ id }) => id === part.toolCallId)
    return call === undefined || results.has(call.id) ? [] : [{ ...ofPart, call }]
  })

const isOfRun = (note: Note | undefined): boolean =>
  note?.waitsFor._tag === "Event" || note?.waitsFor._tag === "Members"

/** What waits in the last turn of a transcript. What a turn before it waited for has been given up. */
const allOpen = (messages: ReadonlyArray<Prompt.Message>): ReadonlyArray<Open> => openIn(lastTurn(messages))

/** The calls that wait in the last turn of a transcript. */
export const openCalls = (messages: ReadonlyArray<Prompt.Message>): ReadonlyArray<OpenCall> =>
  allOpen(messages).filter((open): open is OpenCall => open.call !== undefined)

/** The path of the agent that waits in an input; `undefined` when no agent of ours does. */
export const waitingAt = (input: unknown): Path | undefined => {
  const encoded = encodedMessages(input) ?? input
  const messages = Prompt.isPrompt(encoded) ? encoded.content : Array.isArray(encoded) ? messagesOf(encoded) : undefined
  return messages === undefined ? undefined : allOpen(messages).find(({ note }) => note !== undefined)?.note?.at
}

/** What around the run that waits in a transcript cannot go on. */
export const blockedIn = (messages: ReadonlyArray<Prompt.Message>): Within | undefined =>
  allOpen(messages).find(({ note }) => note?.within !== undefined)?.note?.within

/** What the run had used that waits in a transcript. */
export const usedIn = (messages: ReadonlyArray<Prompt.Message>): UsedBefore | undefined =>
  allOpen(messages).find(({ note }) => note?.used !== undefined)?.note?.used

/** The messages of an array that holds an approval request; `undefined` for any other array. */
const messagesOf = (input: ReadonlyArray<unknown>): ReadonlyArray<Prompt.Message> | undefined => {
  const asks = input.some(
    (message) =>
      Predicate.hasProperty(message, "content") &&
      Array.isArray(message.content) &&
      message.content.some((part) => Predicate.hasProperty(part, "type") && part.type === "tool-approval-request")
  )
  return asks ? promptIn(input)?.content : undefined
}

/** How deep suspended runs are nested in one another at most. What is nested deeper is not read. */
const maxNested = 32

/** What a transcript waits for, suspended nested runs included. */
export const pending = (transcript: Prompt.Prompt, depth = 0): ReadonlyArray<WaitingFor> =>
  depth > maxNested ? [] : allOpen(transcript.content).flatMap((open) => pendingOf(open, depth))

const pendingOf = (open: Open, depth: number): ReadonlyArray<WaitingFor> => {
  const { call, note, part, responses } = open
  const isAnswered = responses.length > 0
  const id = part.approvalId
  const waits = note?.waitsFor
  switch (waits?._tag) {
    case "Others":
      return []
    case "Run":
    case "Inside":
    case "Members":
      return nestedIn(open).flatMap(({ transcript }) => pending(transcript, depth + 1))
    case "Event":
      return isAnswered ? [] : [{ kind: "event", ...waits.request, id }]
    case "Client":
      return isAnswered ? [] : [{ kind: "client-tool", ...waits.request, id, toolCallId: call!.id, tool: call!.name }]
    default:
      return isAnswered ? [] : [{ kind: "approval", ...requestOf({ ...open, call: call! }) }]
  }
}

/**
 * The request for a call, with the arguments that were shown: those of the call, or what a middleware made of them. When the
 * run is resumed, another tool or other arguments than those that would run are refused.
 */
const requestOf = ({ call, note, part }: OpenCall): Request => {
  const of = { id: part.approvalId, toolCallId: call.id, tool: call.name }
  if (note?.waitsFor._tag === "Decision") return { ...note.waitsFor.request, ...of }
  return { ...unknownRequest, ...of, params: toJson(call.params) }
}

/** A tool whose request another program made. */
const unknownRequest = {
  path: [],
  step: 1,
  hints: { readOnly: false, destructive: true, idempotent: false, openWorld: true },
  fingerprint: ""
}

/** Answers by the ids of what is waited for. */
export type Answers = Readonly<Record<string, Decision | Schema.Json>>

/** What is wrong with answers to a transcript; `undefined` where they can be added to it. */
export const problemOf = (
  transcript: Prompt.Prompt,
  answers: Answers
): Pick<InvalidApproval, "approvalId" | "path" | "problem" | "reason" | "tool"> | undefined => {
  const all = new Map(pending(transcript).map((waiting) => [waiting.id, waiting]))
  for (const [approvalId, answer] of Object.entries(answers)) {
    const waiting = all.get(approvalId)
    if (waiting === undefined) {
      const others = all.size === 0 ? "It waits for none" : `It waits for ${[...all.keys()].join(", ")}`
      const problem = `the transcript waits for no request "${approvalId}". ${others}`
      return { path: [], approvalId, reason: "unknown", problem }
    }
    const { path } = waiting
    const of = {
      path,
      approvalId,
      reason: "invalid",
      ...(waiting.kind === "event" ? {} : { tool: waiting.tool })
    } as const
    if (waiting.kind === "approval" && !isDecision(answer)) {
      return { ...of, problem: "it is not a decision: use Approvals.approve, approveWith, deny or later" }
    }
    if (exactJson(answer) === undefined) return { ...of, problem: "it is not plain JSON" }
  }
  return undefined
}

const isDecision = Schema.is(Decision)

/** Adds answers to a transcript, by the ids of what it waits for. What is not answered goes on waiting. */
export const answer = (transcript: Prompt.Prompt, answers: Answers, depth = 0): Prompt.Prompt => {
  if (depth > maxNested) return transcript
  const content = allOpen(transcript.content).flatMap((open) => answerTo(open, answers, depth) ?? [])
  if (content.length === 0) return transcript
  return Prompt.concat(transcript, Prompt.fromMessages([Prompt.toolMessage({ content })]))
}

const answerTo = (
  { note, part, responses }: Open,
  answers: Answers,
  depth: number
): PartOf<"tool-approval-response"> | undefined => {
  const { approvalId } = part
  const given = Object.hasOwn(answers, approvalId) && responses.length === 0 ? answers[approvalId] : undefined
  const waits = note?.waitsFor
  switch (waits?._tag) {
    case "Others":
      return undefined
    case "Run":
    case "Inside": {
      const messages = answersIn(nestedOf(waits, responses), answers, depth)
      return messages === undefined ? undefined : response(approvalId, approved, note, { nested: messages })
    }
    case "Members": {
      const members = waits.members.flatMap((member, index) => {
        const messages = answersIn(memberOf(member, index, responses), answers, depth)
        return messages === undefined ? [] : [{ index, messages }]
      })
      return members.length === 0 ? undefined : response(approvalId, approved, note, { members })
    }
    case "Event":
    case "Client":
      return given === undefined ? undefined : response(approvalId, approved, note, { value: given as Schema.Json })
    default:
      if (!isDecision(given) || given._tag === "Later") return undefined
      return response(approvalId, given, note, {})
  }
}

/** The answers that are added to the transcript of a nested run; `undefined` when nothing was answered. */
const answersIn = (nested: Prompt.Prompt, answers: Answers, depth: number): Schema.Json | undefined => {
  const answered = answer(nested, answers, depth + 1)
  return answered === nested ? undefined : encodeMessages(answered.content.slice(nested.content.length))
}

type Settled = Exclude<Decision, { readonly _tag: "Later" }>
const approved: Settled = { _tag: "Approved" }

const response = (
  approvalId: string,
  decision: Settled,
  note: Note | undefined,
  more: Pick<Answer, "members" | "nested" | "value">
) => {
  const isApproved = decision._tag === "Approved"
  const reason = isApproved ? undefined : decision.reason
  const answer: Answer = {
    ...(isApproved && decision.params !== undefined ? { params: decision.params } : {}),
    ...more
  }
  const part = Prompt.toolApprovalResponsePart({
    approvalId,
    approved: isApproved,
    ...(reason === undefined ? {} : { reason }),
    options: {}
  })
  const signature = note?.signature === undefined ? undefined : sign(note.signature, responsePayload(part, answer))
  const noted = { ...answer, ...(signature === undefined ? {} : { signature }) }
  return Object.keys(noted).length === 0
    ? part
    : Prompt.toolApprovalResponsePart({ ...part, options: { [own]: asJson(noted) } })
}

/** The transcripts of the runs that something waits for, or of the calls inside of it, and where what waits in them is. */
const nestedIn = ({
  note,
  responses
}: Open): ReadonlyArray<{ readonly at: Path | undefined; readonly transcript: Prompt.Prompt }> => {
  const waits = note?.waitsFor
  switch (waits?._tag) {
    case "Run":
      return [{ at: waits.at, transcript: nestedOf(waits, responses) }]
    case "Inside":
      return [{ at: undefined, transcript: nestedOf(waits, responses) }]
    case "Members":
      return waits.members.map((member, index) => ({ at: member.at, transcript: memberOf(member, index, responses) }))
    default:
      return []
  }
}

/** The transcript of a nested run, or of the calls inside of a call, with what was answered so far. */
const nestedOf = (
  run: Extract<Note["waitsFor"], { readonly _tag: "Run" | "Inside" }>,
  responses: ReadonlyArray<PartOf<"tool-approval-response">>
): Prompt.Prompt => joined([run.transcript, ...responses.map((part) => answerOf(part)?.nested)])

/** The transcript of a member of a workflow, with what was answered so far. */
const memberOf = (
  { transcript }: typeof Member.Type,
  index: number,
  responses: ReadonlyArray<PartOf<"tool-approval-response">>
): Prompt.Prompt =>
  joined([
    transcript,
    ...responses.flatMap((part) =>
      (answerOf(part)?.members ?? []).flatMap((member) => (member.index === index ? [member.messages] : []))
    )
  ])

const joined = (parts: ReadonlyArray<Schema.Json | undefined>): Prompt.Prompt =>
  parts.reduce<Prompt.Prompt>((prompt, json) => {
    const more = json === undefined ? undefined : promptIn(json)
    return more === undefined ? prompt : Prompt.concat(prompt, more)
  }, Prompt.empty)

/** The decision about a call before its run was resumed. */
export interface Resumed {
  readonly approvalId: string
  /** The request that was shown; `undefined` when another program made it, or the call waits for something else. */
  readonly request: Request | undefined
  readonly decision: Settled | undefined
  /** The nested run that the call waits for, with what was answered. */
  readonly run: { readonly at: Path; readonly transcript: Prompt.Prompt; readonly isAnswered: boolean } | undefined
  /** What the caller was asked to run, and what it gave. */
  readonly client: { readonly request: ClientRequest; readonly edited: boolean; readonly given: Given } | undefined
  /** What the tool had kept, and its calls that wait, with what was answered. */
  readonly inside: ResumedInside | undefined
}

/** A tool that was suspended with calls inside of it. */
export interface ResumedInside {
  readonly kept: Schema.Json
  readonly calls: ReadonlyArray<OpenCall>
  readonly edited: Schema.Json | undefined
  readonly isAnswered: boolean
}

/** What was answered: a value, or nothing yet. */
export type Given = { readonly value: Schema.Json } | undefined

/** What a note and its answers come to. An answer to a request that is not ours decides nothing: the call is put again. */
export const resumedOf = ({ note, part, responses }: OpenCall): Resumed => {
  const nothing = {
    approvalId: part.approvalId,
    request: undefined,
    decision: undefined,
    run: undefined,
    client: undefined,
    inside: undefined
  }
  const waits = note?.waitsFor
  switch (waits?._tag) {
    case "Run": {
      const transcript = nestedOf(waits, responses)
      return { ...nothing, run: { at: waits.at, transcript, isAnswered: responses.length > 0 } }
    }
    case "Inside": {
      const { edited, kept } = waits
      const calls = openCalls(nestedOf(waits, responses).content)
      return { ...nothing, inside: { kept, calls, edited, isAnswered: responses.length > 0 } }
    }
    case "Client":
      return { ...nothing, client: { request: waits.request, edited: waits.edited, given: givenIn(responses) } }
    case "Decision":
      return { ...nothing, request: waits.request, decision: decisionOf(responses[0]) }
    default:
      return nothing
  }
}

const givenIn = (responses: Open["responses"]): Given => {
  const [first] = responses
  if (first === undefined) return undefined
  // Another program can answer a request, but knows only yes and no.
  const value = answerOf(first)?.value
  return { value: value === undefined ? clientFailure(first.reason ?? "no result was given") : value }
}

/** What stands for the failure of a tool that the caller ran. */
export const ClientFailure = Schema.TaggedStruct("troupe/ClientFailure", { failure: Schema.Json })
/** Makes the answer of a tool that failed. */
export const clientFailure = (failure: Schema.Json): typeof ClientFailure.Encoded & Schema.Json => ({
  _tag: "troupe/ClientFailure",
  failure
})

/** What is known of a run that waits for an event or for its members; `undefined` for the transcript of any other run. */
export interface Saved {
  readonly event: { readonly request: EventRequest; readonly given: Given } | undefined
  readonly state: Schema.Json
  readonly members: ReadonlyArray<{ readonly key: string; readonly at: Path; readonly transcript: Prompt.Prompt }>
  readonly blocked: string | undefined
  /** The messages before what waits. */
  readonly before: ReadonlyArray<Prompt.Message>
}

/** What a transcript says of the run that waits in it; `undefined` where calls of an agent wait. */
export const savedIn = (messages: ReadonlyArray<Prompt.Message>): Saved | undefined => {
  const open = allOpen(messages).find(({ call }) => call === undefined)
  const waits = open?.note?.waitsFor
  if (open === undefined || waits === undefined) return undefined
  const { part, responses } = open
  const at = messages.findLastIndex((one) => one.role === "assistant" && one.content.includes(part))
  const nothing = { event: undefined, state: null, members: [], blocked: undefined, before: messages.slice(0, at) }
  if (waits._tag === "Event") {
    return { ...nothing, event: { request: { ...waits.request, id: part.approvalId }, given: givenIn(responses) } }
  }
  if (waits._tag !== "Members") return undefined
  const { blocked, members, state } = waits
  return {
    ...nothing,
    state,
    members: members.map((member, index) => ({ ...member, transcript: memberOf(member, index, responses) })),
    blocked
  }
}

const decisionOf = (given: PartOf<"tool-approval-response"> | undefined): Resumed["decision"] => {
  if (given === undefined) return undefined
  if (!given.approved) return { _tag: "Denied", reason: given.reason ?? "no reason was given" }
  const params = answerOf(given)?.params
  return params === undefined ? approved : { _tag: "Approved", params }
}

/**
 * The one member with a name, at any depth of a workflow that waits: its transcript, and the path of what waits in it.
 * `undefined` when no member has the name, or several do.
 */
export const memberNamed = (
  name: string,
  messages: ReadonlyArray<Prompt.Message>,
  depth = 0
): { readonly path: Path; readonly transcript: Prompt.Prompt } | undefined => {
  if (depth > maxNested) return undefined
  const found = (savedIn(messages)?.members ?? []).flatMap(({ transcript }) => {
    const path = waitingAt(transcript)
    if (path?.includes(name) === true) return [{ path, transcript }]
    return memberNamed(name, transcript.content, depth + 1) ?? []
  })
  return found.length === 1 ? found[0] : undefined
}

/** Why a transcript cannot be gone on from. */
export type Refusal = Omit<InvalidApprovalFields, "path">
type InvalidApprovalFields = Pick<InvalidApproval, "approvalId" | "path" | "problem" | "reason" | "tool">

/** The first thing in a transcript that does not count, nested runs included; `undefined` when all do. */
export const refusalOf = (
  messages: ReadonlyArray<Prompt.Message>,
  signing: Signing | undefined,
  depth = 0
): Refusal | undefined => {
  const turn = lastTurn(messages)
  const all = openIn(turn)
  for (const open of all) {
    const refusal =
      ambiguity(open, all, turn) ??
      (signing === undefined ? undefined : forgery(open, signing)) ??
      refusalInside(open, signing, depth)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

const refusalInside = (open: Open, signing: Signing | undefined, depth: number): Refusal | undefined => {
  for (const { at, transcript } of nestedIn(open)) {
    if (depth >= maxNested) return refuse(open, "tampered", `more than ${maxNested} suspended runs are nested in it`)
    if (at?.length === 0 || allOpen(transcript.content).length === 0) {
      return refuse(open, "tampered", "the nested run in it does not wait for anything")
    }
    const inside = refusalOf(transcript.content, signing, depth + 1)
    if (inside !== undefined) return inside
  }
  return undefined
}

const refuse = ({ call, part }: Open, reason: Refusal["reason"], problem: string): Refusal => ({
  approvalId: part.approvalId,
  ...(call === undefined ? {} : { tool: call.name }),
  reason,
  problem
})

const ambiguity = (open: Open, all: ReadonlyArray<Open>, { calls }: Turn): Refusal | undefined => {
  const { call, note, part, responses } = open
  const others = all.filter((other) => other !== open)
  if (others.some((other) => other.part.approvalId === part.approvalId)) {
    return refuse(open, "ambiguous", "two requests have this id")
  }
  if (call === undefined && others.length > 0) return refuse(open, "ambiguous", "a run and a call of it wait")
  if (call !== undefined && others.some((other) => other.call?.id === call.id)) {
    return refuse(open, "ambiguous", `two requests are for the call ${call.id}`)
  }
  if (call !== undefined && calls.filter(({ id }) => id === call.id).length > 1) {
    return refuse(open, "ambiguous", `two calls have the id ${call.id}`)
  }
  const isMany = note?.waitsFor._tag !== undefined && ["Run", "Inside", "Members"].includes(note.waitsFor._tag)
  return responses.length > 1 && !isMany ? refuse(open, "ambiguous", "it was answered twice") : undefined
}

const forgery = (open: Open, signing: Signing): Refusal | undefined => {
  const { call, note, part, responses } = open
  if (note?.signature === undefined) return refuse(open, "unsigned", "its request is not signed")
  const { signature, ...unsigned } = note
  const payload = requestPayload(part.approvalId, call, unsigned)
  if (payload === undefined || !signing.verify(payload, signature)) {
    return refuse(open, "tampered", "the signature of its request does not fit the call")
  }
  for (const given of responses) {
    const { signature: signed, ...answer } = answerOf(given) ?? {}
    if (signed === undefined) return refuse(open, "unsigned", "its answer is not signed")
    if (!isSignedBy(signature, responsePayload(given, answer), signed)) {
      return refuse(open, "tampered", "the signature of its answer does not fit the answer")
    }
  }
  return undefined
}

/** Notes and answers are JSON by their schemas, although their types are wider. */
const asJson = (value: Note | Answer): Schema.Json => value as unknown as Schema.Json

/** The payload that is signed for a request; `undefined` for arguments that are not JSON in full. */
const requestPayload = (approvalId: string, call: Call | undefined, note: Note): Schema.Json | undefined => {
  if (call === undefined) return toPayload(["run", approvalId, asJson(note)])
  const params = exactJson(call.params ?? null)
  if (params === undefined) return undefined
  return toPayload(["request", approvalId, call.id, call.name, params, asJson(note)])
}

/** The payload that is signed for an answer; its key is the signature of the request. */
const responsePayload = (part: PartOf<"tool-approval-response">, answer: Answer): Schema.Json =>
  toPayload(["answer", part.approvalId, part.approved, part.reason ?? null, asJson(answer)])

/** The version keeps a signature of one form from counting for another. */
const toPayload = (fields: ReadonlyArray<Schema.Json>): Schema.Json => ["troupe-approval-1", ...fields]

/** A message without approval parts, which no provider knows; `undefined` when it had no other part. */
export const strip = (message: Prompt.Message): Prompt.Message | undefined => {
  if ((message.role !== "assistant" && message.role !== "tool") || !message.content.some(isApproval)) return message
  const content = (message.content as ReadonlyArray<Prompt.Part>).filter((part) => !isApproval(part))
  return content.length === 0 ? undefined : remade(message, content as Prompt.Message["content"])
}

const isApproval = (part: Prompt.Part): boolean =>
  part.type === "tool-approval-request" || part.type === "tool-approval-response"

const decodeNote = Schema.decodeUnknownOption(Note)
const noteOf = (part: PartOf<"tool-approval-request">): Note | undefined =>
  Option.getOrUndefined(decodeNote(part.options[own]))

const decodeAnswer = Schema.decodeUnknownOption(Answer)
const answerOf = (part: PartOf<"tool-approval-response">): Answer | undefined =>
  Option.getOrUndefined(decodeAnswer(part.options[own]))

const encode = Schema.encodeSync(Prompt.Prompt)
const encodePrompt = (prompt: Prompt.Prompt): Schema.Json => encode(prompt).content as unknown as Schema.Json
const encodeMessages = (messages: ReadonlyArray<Prompt.Message>): Schema.Json =>
  encodePrompt(Prompt.fromMessages(messages))
