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
import type { WaitingFor } from "../services/Waiting.ts"
import type { InvalidApproval } from "../RunError.ts"
import { exactJson, isSignedBy, sign } from "./fingerprint.ts"
import { toJson } from "./json.ts"

type Path = ReadonlyArray<string>
type PartOf<Type extends Prompt.Part["type"]> = Extract<Prompt.Part, { readonly type: Type }>

/** The request of a call that waits. */
export type Waiting =
  /** A decision. */
  | { readonly _tag: "Decision"; readonly request: Request }
  /** A nested run that is suspended itself: the agent at `at`, a path below the agent that called it, and its transcript. */
  | {
      readonly _tag: "Run"
      readonly waitingFor: ReadonlyArray<WaitingFor>
      readonly at: Path
      readonly transcript: Prompt.Prompt
    }
  /** The other calls of its step, because it ends the run. */
  | { readonly _tag: "Others"; readonly id: string }

const own = "troupe"

const Note = Schema.Struct({
  /** The path of the agent whose call waits. */
  at: Schema.Array(Schema.String),
  waitsFor: Schema.Union([
    Schema.TaggedStruct("Decision", { request: Request }),
    Schema.TaggedStruct("Run", { at: Schema.Array(Schema.String), transcript: Schema.Json }),
    Schema.TaggedStruct("Others", {})
  ]),
  signature: Schema.optionalKey(Schema.String)
})
type Note = typeof Note.Type

const Answer = Schema.Struct({
  params: Schema.optionalKey(Schema.Json),
  /** The answers to requests of the nested run that the call waits for. */
  nested: Schema.optionalKey(Schema.Json),
  signature: Schema.optionalKey(Schema.String)
})
type Answer = typeof Answer.Type

/** Notes in the last assistant message which calls of the agent `at` wait, and for what. */
export const note = (
  messages: ReadonlyArray<Prompt.Message>,
  waiting: ReadonlyArray<{ readonly call: Call; readonly waiting: Waiting }>,
  at: Path,
  signing: Signing | undefined
): ReadonlyArray<Prompt.Message> => {
  const index = messages.findLastIndex((message) => message.role === "assistant")
  const message = messages[index] as Prompt.AssistantMessage
  const parts = waiting.map(({ call, waiting }) => {
    const approvalId = idOf(waiting, call)
    const unsigned: Note = { at, waitsFor: waitsFor(waiting) }
    const payload = signing === undefined ? undefined : requestPayload(approvalId, call, unsigned)
    const noted = payload === undefined ? unsigned : { ...unsigned, signature: signing!.sign(payload) }
    return Prompt.toolApprovalRequestPart({ approvalId, toolCallId: call.id, options: { [own]: asJson(noted) } })
  })
  return messages.with(
    index,
    Prompt.assistantMessage({ content: [...message.content, ...parts], options: message.options })
  )
}

interface Call {
  readonly id: string
  readonly name: string
  readonly params: unknown
}

const idOf = (waiting: Waiting, call: Call): string =>
  waiting._tag === "Decision"
    ? waiting.request.id
    : `${waiting._tag === "Run" ? waiting.waitingFor[0]!.id : waiting.id}/${call.id}`

/** What a call waits for. */
export const waitingForOf = (waiting: Waiting): ReadonlyArray<WaitingFor> =>
  waiting._tag === "Decision"
    ? [{ kind: "approval", ...waiting.request }]
    : waiting._tag === "Run"
      ? waiting.waitingFor
      : []

const waitsFor = (waiting: Waiting): Note["waitsFor"] =>
  waiting._tag === "Run"
    ? { _tag: "Run", at: waiting.at, transcript: encodePrompt(waiting.transcript) }
    : waiting._tag === "Decision"
      ? waiting
      : { _tag: "Others" }

/** A call at the end of a transcript that waits, with what was answered. */
export interface OpenCall {
  readonly call: Prompt.ToolCallPart
  readonly part: PartOf<"tool-approval-request">
  /** Our own note; `undefined` for a request that another program made. */
  readonly note: Note | undefined
  readonly responses: ReadonlyArray<PartOf<"tool-approval-response">>
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

const openIn = ({ calls, requests, responses, results }: Turn): ReadonlyArray<OpenCall> =>
  requests.flatMap((part) => {
    const call = calls.find(({ id }) => id === part.toolCallId)
    if (call === undefined || results.has(call.id)) return []
    const answers = responses.filter(({ approvalId }) => approvalId === part.approvalId)
    return [{ call, part, note: noteOf(part), responses: answers }]
  })

/** The calls that wait in the last turn of a transcript. What a turn before it waited for has been given up. */
export const openCalls = (messages: ReadonlyArray<Prompt.Message>): ReadonlyArray<OpenCall> =>
  openIn(lastTurn(messages))

/** The path of the agent that waits in an input; `undefined` when no agent of ours does. */
export const waitingAt = (input: unknown): Path | undefined => {
  const messages = Prompt.isPrompt(input) ? input.content : Array.isArray(input) ? messagesOf(input) : undefined
  return messages === undefined ? undefined : openCalls(messages).find(({ note }) => note !== undefined)?.note?.at
}

/** The messages of an array that holds an approval request; `undefined` for any other array. */
const messagesOf = (input: ReadonlyArray<unknown>): ReadonlyArray<Prompt.Message> | undefined => {
  const asks = input.some(
    (message) =>
      Predicate.hasProperty(message, "content") &&
      Array.isArray(message.content) &&
      message.content.some((part) => Predicate.hasProperty(part, "type") && part.type === "tool-approval-request")
  )
  return asks ? promptOf(input)?.content : undefined
}

const promptOf = (json: unknown): Prompt.Prompt | undefined => {
  try {
    return Prompt.make(json as Prompt.RawInput)
  } catch {
    return undefined
  }
}

/** What a transcript waits for, suspended nested runs included. */
export const pending = (transcript: Prompt.Prompt): ReadonlyArray<WaitingFor> =>
  openCalls(transcript.content).flatMap((open) => {
    const { note, responses } = open
    if (note?.waitsFor._tag === "Others") return []
    if (note?.waitsFor._tag === "Run") return pending(nestedOf(note.waitsFor, responses))
    return responses.length > 0 ? [] : [{ kind: "approval" as const, ...requestOf(open) }]
  })

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
export const answer = (transcript: Prompt.Prompt, answers: Answers): Prompt.Prompt => {
  const content = openCalls(transcript.content).flatMap(({ note, part, responses }) => {
    if (note?.waitsFor._tag === "Others") return []
    if (note?.waitsFor._tag === "Run") {
      const nested = nestedOf(note.waitsFor, responses)
      const answered = answer(nested, answers)
      if (answered === nested) return []
      return [response(part.approvalId, approved, note, encodeMessages(answered.content.slice(nested.content.length)))]
    }
    const decision = answers[part.approvalId]
    if (!isDecision(decision) || decision._tag === "Later" || responses.length > 0) return []
    return [response(part.approvalId, decision, note, undefined)]
  })
  if (content.length === 0) return transcript
  return Prompt.concat(transcript, Prompt.fromMessages([Prompt.toolMessage({ content })]))
}

type Settled = Exclude<Decision, { readonly _tag: "Later" }>
const approved: Settled = { _tag: "Approved" }

const response = (approvalId: string, decision: Settled, note: Note | undefined, nested: Schema.Json | undefined) => {
  const isApproved = decision._tag === "Approved"
  const reason = isApproved ? undefined : decision.reason
  const answer: Answer = {
    ...(isApproved && decision.params !== undefined ? { params: decision.params } : {}),
    ...(nested === undefined ? {} : { nested })
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

/** The transcript of a nested run, with what was answered so far. */
const nestedOf = (
  run: Extract<Note["waitsFor"], { readonly _tag: "Run" }>,
  responses: ReadonlyArray<PartOf<"tool-approval-response">>
): Prompt.Prompt => {
  const parts = [run.transcript, ...responses.map((part) => answerOf(part)?.nested)]
  return parts.reduce<Prompt.Prompt>((prompt, json) => {
    const more = json === undefined ? undefined : promptOf(json)
    return more === undefined ? prompt : Prompt.concat(prompt, more)
  }, Prompt.empty)
}

/** The decision about a call before its run was resumed. */
export interface Resumed {
  readonly approvalId: string
  /** The request that was shown; `undefined` when another program made it, or the call waits for something else. */
  readonly request: Request | undefined
  readonly decision: Settled | undefined
  /** The nested run that the call waits for, with what was answered. */
  readonly run: { readonly at: Path; readonly transcript: Prompt.Prompt; readonly isAnswered: boolean } | undefined
}

/** What a note and its answers come to. An answer to a request that is not ours decides nothing: the call is put again. */
export const resumedOf = ({ note, part, responses }: OpenCall): Resumed => {
  const { approvalId } = part
  if (note?.waitsFor._tag === "Run") {
    const transcript = nestedOf(note.waitsFor, responses)
    const run = { at: note.waitsFor.at, transcript, isAnswered: responses.length > 0 }
    return { approvalId, request: undefined, decision: undefined, run }
  }
  if (note?.waitsFor._tag !== "Decision") return { approvalId, request: undefined, decision: undefined, run: undefined }
  const { request } = note.waitsFor
  return { approvalId, request, decision: decisionOf(responses[0]), run: undefined }
}

const decisionOf = (given: PartOf<"tool-approval-response"> | undefined): Resumed["decision"] => {
  if (given === undefined) return undefined
  if (!given.approved) return { _tag: "Denied", reason: given.reason ?? "no reason was given" }
  const params = answerOf(given)?.params
  return params === undefined ? approved : { _tag: "Approved", params }
}

/** Why an open call cannot be resumed. */
export interface Refusal {
  readonly open: OpenCall
  readonly reason: "unsigned" | "tampered" | "ambiguous"
  readonly problem: string
}

/** The first open call that does not count, nested ones included; `undefined` when all do. */
export const refusalOf = (
  messages: ReadonlyArray<Prompt.Message>,
  signing: Signing | undefined
): Refusal | undefined => {
  const turn = lastTurn(messages)
  const all = openIn(turn)
  for (const open of all) {
    const refusal = ambiguity(open, all, turn) ?? (signing === undefined ? undefined : forgery(open, signing))
    if (refusal !== undefined) return refusal
    const { note, responses } = open
    if (note?.waitsFor._tag !== "Run") continue
    const nested = nestedOf(note.waitsFor, responses).content
    if (note.waitsFor.at.length === 0 || openCalls(nested).length === 0) {
      return { open, reason: "tampered", problem: "the nested run in it does not wait for anything" }
    }
    const inside = refusalOf(nested, signing)
    if (inside !== undefined) return inside
  }
  return undefined
}

const ambiguity = (open: OpenCall, all: ReadonlyArray<OpenCall>, { calls }: Turn): Refusal | undefined => {
  const refuse = (problem: string): Refusal => ({ open, reason: "ambiguous", problem })
  const { call, note, part, responses } = open
  const others = all.filter((other) => other !== open)
  if (others.some((other) => other.part.approvalId === part.approvalId)) return refuse("two requests have this id")
  if (others.some((other) => other.call.id === call.id)) return refuse(`two requests are for the call ${call.id}`)
  if (calls.filter(({ id }) => id === call.id).length > 1) return refuse(`two calls have the id ${call.id}`)
  return responses.length > 1 && note?.waitsFor._tag !== "Run" ? refuse("it was answered twice") : undefined
}

const forgery = (open: OpenCall, signing: Signing): Refusal | undefined => {
  const { call, note, part, responses } = open
  if (note?.signature === undefined) return { open, reason: "unsigned", problem: "its request is not signed" }
  const { signature, ...unsigned } = note
  const payload = requestPayload(part.approvalId, call, unsigned)
  if (payload === undefined || !signing.verify(payload, signature)) {
    return { open, reason: "tampered", problem: "the signature of its request does not fit the call" }
  }
  for (const given of responses) {
    const { signature: signed, ...answer } = answerOf(given) ?? {}
    if (signed === undefined) return { open, reason: "unsigned", problem: "its answer is not signed" }
    if (!isSignedBy(signature, responsePayload(given, answer), signed)) {
      return { open, reason: "tampered", problem: "the signature of its answer does not fit the answer" }
    }
  }
  return undefined
}

/** Notes and answers are JSON by their schemas, although their types are wider. */
const asJson = (value: Note | Answer): Schema.Json => value as unknown as Schema.Json

/** The payload that is signed for a request; `undefined` for arguments that are not JSON in full. */
const requestPayload = (approvalId: string, call: Call, note: Note): Schema.Json | undefined => {
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
  if (message.role === "assistant" && message.content.some(isApproval)) {
    const content = message.content.filter((part) => !isApproval(part))
    return Prompt.assistantMessage({ content, options: message.options })
  }
  if (message.role === "tool" && message.content.some(isApproval)) {
    const content = message.content.filter((part) => !isApproval(part))
    return content.length === 0 ? undefined : Prompt.toolMessage({ content, options: message.options })
  }
  return message
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
