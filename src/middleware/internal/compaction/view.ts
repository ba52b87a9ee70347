/** What is sent of a conversation: the messages in the place of its beginning, and the rest. Kept as a note on an answer. */
import * as Prompt from "effect/ai/Prompt"
import { memoize } from "effect/Function"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { digest } from "../../../internal/fingerprint.ts"
import { toJson } from "../../../internal/json.ts"
import * as Notes from "../../../internal/notes.ts"
import { isWhole } from "./units.ts"

type Messages = ReadonlyArray<Prompt.Message>

/** What is sent in the place of the first messages of a conversation, system messages at its head not counted. */
export interface View {
  /** How many messages of the conversation it stands for. */
  readonly covers: number
  /** The last one of them, by which the conversation is recognised. */
  readonly anchor: string
  readonly messages: Messages
}

/** The name of the note. */
export const note = "compacted"

const Note = Schema.Struct({
  covers: Schema.Int,
  anchor: Schema.String,
  // A message of the conversation by its place, or another one.
  messages: Schema.Array(Schema.Union([Schema.Int, Prompt.Message]))
})
const decode = Schema.decodeUnknownOption(Note)
const encodeMessage = Schema.encodeSync(Prompt.Message)

/** A conversation after the system messages at its head. */
export interface Parts {
  readonly head: Messages
  readonly rest: Messages
}

/** Parts a prompt from the system messages at its head. */
export const partsOf = ({ content }: Prompt.Prompt): Parts => {
  const at = content.findIndex(({ role }) => role !== "system")
  return at < 0 ? { head: content, rest: [] } : { head: content.slice(0, at), rest: content.slice(at) }
}

/** A text by which another is recognised: 53 bits, and its length. */
export const fingerprint = (text: string): string => `${digest(text)}${text.length.toString(36)}`

const anchorOf = memoize((message: Prompt.Message): string => {
  const { content, role } = encodeMessage(message)
  return fingerprint(JSON.stringify([role, content]))
})

/** Whether the view is one of this conversation. */
export const isOf = ({ anchor, covers }: Pick<View, "anchor" | "covers">, rest: Messages): boolean =>
  covers > 0 && covers <= rest.length && anchorOf(rest[covers - 1]!) === anchor

/** What is sent of the conversation. */
export const shown = (view: View | undefined, rest: Messages): Messages =>
  view === undefined ? rest : [...view.messages, ...rest.slice(view.covers)]

/** The view that the conversation has noted last; `undefined` without one. A note that does not fit is passed over. */
export const noted = (rest: Messages): View | undefined => {
  for (let at = rest.length - 1; at >= 0; at--) {
    const message = rest[at]!
    if (message.role !== "assistant") continue
    const found = Notes.noteOf(message, note)
    const view = found === undefined ? undefined : read(found, rest)
    if (view !== undefined) return view
  }
  return undefined
}

const read = (found: unknown, rest: Messages): View | undefined => {
  const { anchor, covers, messages } = Option.getOrUndefined(decode(found)) ?? {}
  if (anchor === undefined || covers === undefined || messages === undefined) return undefined
  if (!isOf({ anchor, covers }, rest)) return undefined
  const known = messages.map((one) => (typeof one === "number" ? rest[one] : one))
  // A transcript may come from a client, who is not to give instructions.
  const isFit = known.every(
    (one, at) => one !== undefined && (typeof messages[at] === "number" || one.role !== "system")
  )
  const all = known as Messages
  return isFit && isWhole([...all, ...rest.slice(covers)]) ? { covers, anchor, messages: all } : undefined
}

/** The view after a compaction of what was shown; `undefined` where nothing has changed. */
export const after = (before: View | undefined, rest: Messages, compacted: Messages): View | undefined => {
  const covered = before?.covers ?? 0
  let covers = rest.length
  let at = compacted.length
  while (covers > covered && at > 0 && compacted[at - 1] === rest[covers - 1]) {
    covers--
    at--
  }
  if (covers === covered && at === (before?.messages.length ?? 0)) {
    const isSame = compacted.slice(0, at).every((message, index) => message === before?.messages[index])
    if (isSame) return before
  }
  if (covers === 0) return undefined
  return { covers, anchor: anchorOf(rest[covers - 1]!), messages: compacted.slice(0, at) }
}

/** How many messages a note is about; `undefined` for what is not a note. */
export const coversIn = (found: unknown): number | undefined => Option.getOrUndefined(decode(found))?.covers

/** The view as it is noted. */
export const toNote = ({ anchor, covers, messages }: View, rest: Messages): Schema.Json => {
  const places = new Map(rest.slice(0, covers).map((message, index) => [message, index]))
  return {
    covers,
    anchor,
    messages: messages.map((message) => places.get(message) ?? toJson(encodeMessage(message)))
  }
}
