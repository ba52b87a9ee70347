/**
 * Transcripts of runs that are suspended until somebody decides: what waits is noted in them with the parts that
 * `effect/ai` has for it, so that they stay plain JSON. It touches `Prompt` and the port's data.
 */
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import type { Decision, Request } from "../services/Approver.ts"

/** A tool call that waits for a decision; `suspended` when it is a run that waits for one itself. */
export interface Waiting {
  readonly requests: ReadonlyArray<Request>
  /** The transcript of the nested agent that is suspended in this call. */
  readonly suspended?: Prompt.Prompt | undefined
}

/** What was decided of a call before its run was resumed. */
export interface Resumed {
  readonly approvalId: string
  readonly decision: Decision | undefined
  readonly suspended: Prompt.Prompt | undefined
}

const own = "troupe"

/** Notes in the last assistant message which calls wait, and for what. */
export const note = (
  messages: ReadonlyArray<Prompt.Message>,
  waiting: ReadonlyArray<{ readonly call: { readonly id: string }; readonly waiting: Waiting }>
): ReadonlyArray<Prompt.Message> => {
  const at = messages.findLastIndex((message) => message.role === "assistant")
  const message = messages[at] as Prompt.AssistantMessage
  const parts = waiting.map(({ call, waiting: { requests, suspended } }) =>
    Prompt.toolApprovalRequestPart({
      approvalId: suspended === undefined ? requests[0]!.id : `${requests[0]!.id}/${call.id}`,
      toolCallId: call.id,
      options: {
        [own]: {
          requests: requests as unknown as Schema.Json,
          ...(suspended === undefined ? {} : { suspended: encodePrompt(suspended) })
        }
      }
    })
  )
  return messages.with(
    at,
    Prompt.assistantMessage({ content: [...message.content, ...parts], options: message.options })
  )
}

/** Every request that a transcript waits for, those of suspended nested agents included. */
export const pending = (transcript: Prompt.Prompt): ReadonlyArray<Request> =>
  open(transcript).flatMap(({ part, suspended }) =>
    suspended === undefined ? (notes(part)?.requests ?? []) : pending(suspended)
  )

/** Adds decisions to a transcript, by the ids of requests. What is not decided stays to be asked. */
export const answer = (transcript: Prompt.Prompt, decisions: Readonly<Record<string, Decision>>): Prompt.Prompt => {
  const responses = open(transcript).flatMap(({ part: { approvalId }, suspended }) => {
    if (suspended !== undefined) {
      const answered = answer(suspended, decisions)
      return answered === suspended ? [] : [response(approvalId, { _tag: "Approved" }, answered)]
    }
    const decision = decisions[approvalId]
    return decision === undefined || decision._tag === "Later" ? [] : [response(approvalId, decision, undefined)]
  })
  if (responses.length === 0) return transcript
  return Prompt.concat(transcript, Prompt.fromMessages([Prompt.toolMessage({ content: responses })]))
}

/** A call that waits; `suspended` with what was decided of it by now. */
interface Open {
  readonly part: PartOf<"tool-approval-request">
  readonly suspended: Prompt.Prompt | undefined
}

/** The calls that wait at the end of a transcript. Ids of calls may come again in later steps. */
const open = (transcript: Prompt.Prompt): ReadonlyArray<Open> => {
  const found = new Map<string, Open>()
  let answered = false
  for (const message of transcript.content) {
    // Whoever talks on has given the calls up.
    if (message.role === "assistant" ? answered : message.role !== "tool") found.clear()
    if (message.role !== "tool") answered = false
    if (typeof message.content === "string") continue
    for (const part of message.content as ReadonlyArray<Prompt.Part>) {
      if (part.type === "tool-approval-request") found.set(part.approvalId, { part, suspended: suspendedIn(part) })
      if (part.type === "tool-result") {
        answered = true
        for (const [id, { part: request }] of found) if (request.toolCallId === part.id) found.delete(id)
      }
      if (part.type !== "tool-approval-response") continue
      const asked = found.get(part.approvalId)
      const suspended = suspendedIn(part) ?? asked?.suspended
      if (asked === undefined || suspended === undefined) found.delete(part.approvalId)
      else found.set(part.approvalId, { ...asked, suspended })
    }
  }
  return [...found.values()]
}

const response = (approvalId: string, decision: Decision, suspended: Prompt.Prompt | undefined) =>
  Prompt.toolApprovalResponsePart({
    approvalId,
    approved: decision._tag === "Approved",
    ...(decision._tag === "Denied" ? { reason: decision.reason } : {}),
    options: {
      [own]: {
        ...(decision._tag === "Approved" && decision.params !== undefined ? { params: decision.params } : {}),
        ...(suspended === undefined ? {} : { suspended: encodePrompt(suspended) })
      }
    }
  })

/** What was decided of the calls of a transcript, by the id of the call; calls that never waited are not in it. */
export const resumed = (messages: ReadonlyArray<Prompt.Message>): ReadonlyMap<string, Resumed> => {
  const prompt = Prompt.fromMessages(messages)
  const responses = new Map(parts(prompt, "tool-approval-response").map((part) => [part.approvalId, part]))
  return new Map(
    parts(prompt, "tool-approval-request").map((part) => {
      const given = responses.get(part.approvalId)
      const decision: Decision | undefined =
        given === undefined
          ? undefined
          : given.approved
            ? { _tag: "Approved", params: notes(given)?.params }
            : { _tag: "Denied", reason: given.reason ?? "no reason was given" }
      const suspended = (given === undefined ? undefined : suspendedIn(given)) ?? suspendedIn(part)
      return [part.toolCallId, { approvalId: part.approvalId, decision, suspended }]
    })
  )
}

/** A message without the notes of this file, which no provider knows; `undefined` when nothing else was in it. */
export const strip = (message: Prompt.Message): Prompt.Message | undefined => {
  if (message.role === "assistant" && message.content.some(isNote)) {
    const content = message.content.filter((part) => !isNote(part))
    return Prompt.assistantMessage({ content, options: message.options })
  }
  if (message.role === "tool" && message.content.some(isNote)) {
    const content = message.content.filter((part) => !isNote(part))
    return content.length === 0 ? undefined : Prompt.toolMessage({ content, options: message.options })
  }
  return message
}

const isNote = (part: Prompt.Part): boolean =>
  part.type === "tool-approval-request" || part.type === "tool-approval-response"

type PartOf<Type extends Prompt.Part["type"]> = Extract<Prompt.Part, { readonly type: Type }>

const parts = <Type extends Prompt.Part["type"]>(prompt: Prompt.Prompt, type: Type): ReadonlyArray<PartOf<Type>> =>
  prompt.content.flatMap((message) =>
    typeof message.content === "string"
      ? []
      : (message.content as ReadonlyArray<Prompt.Part>).filter((part): part is PartOf<Type> => part.type === type)
  )

interface Notes {
  readonly requests?: ReadonlyArray<Request>
  readonly params?: Schema.Json
  readonly suspended?: Schema.Json
}

const notes = (part: Prompt.Part): Notes | undefined => part.options[own] as Notes | undefined

const suspendedIn = (part: Prompt.Part): Prompt.Prompt | undefined => {
  const json = notes(part)?.suspended
  return json === undefined ? undefined : Prompt.make(json as unknown as Prompt.RawInput)
}

const encode = Schema.encodeSync(Prompt.Prompt)
const encodePrompt = (prompt: Prompt.Prompt): Schema.Json => encode(prompt).content as unknown as Schema.Json
