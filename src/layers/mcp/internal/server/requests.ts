/** Messages of clients as the server behind reads them, which refuses a request for an optional field that is `null`. */
import { depthOf } from "../../../internal/jsonBody.ts"
import { type Fields, given, isFields } from "../fields.ts"

const sound = (message: unknown): unknown => {
  if (!isFields(message)) return message
  // The client chooses the `id` that identifies a request.
  const { id, params, ...rest } = message
  const fields: Fields = { ...given(rest), ...("id" in message ? { id } : {}) }
  if (!isFields(params)) return params === null || params === undefined ? fields : { ...fields, params }
  const { _meta, ...others } = given(params)
  return { ...fields, params: { ...others, ...(isFields(_meta) ? { _meta: given(_meta) } : {}) } }
}

/** A message or a batch of a client. */
export interface Sent {
  /** Its JSON, without fields that are `null`. */
  readonly text: string
  /** How many messages it has. */
  readonly messages: number
  /** It begins a session. */
  readonly isInitialize: boolean
}

/** Reads a message or a batch; `undefined` for what is not JSON. */
export const read = (text: string): Sent | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    const isBatch = Array.isArray(value)
    return {
      text: JSON.stringify(isBatch ? value.map(sound) : sound(value)),
      messages: isBatch ? value.length : 1,
      isInitialize: isFields(value) && value["method"] === "initialize"
    }
  } catch {
    return undefined
  }
}

/** How deep a message may be nested: what is behind reads it level by level. */
const maxDepth = 500

/** Why a message is not read at all; `undefined` for one that is. */
export const depthProblem = (text: string): string | undefined =>
  depthOf(text) > maxDepth ? `The message is nested deeper than ${maxDepth} levels` : undefined

/** Why a batch is refused. */
export const batchProblem = (messages: number, maxBatch: number): string =>
  `The batch has ${messages} messages, and at most ${maxBatch} are accepted. Send smaller batches`
