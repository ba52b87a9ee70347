/** Messages of clients as the server behind reads them, which refuses a request for an optional field that is `null`. */
import { type Fields, given, isFields } from "../fields.ts"

const sound = (message: unknown): unknown => {
  if (!isFields(message)) return message
  // A request is told by its `id`, which is its own to give.
  const { id, params, ...rest } = message
  const fields: Fields = { ...given(rest), ...("id" in message ? { id } : {}) }
  if (!isFields(params)) return params === null || params === undefined ? fields : { ...fields, params }
  const { _meta, ...others } = given(params)
  return { ...fields, params: { ...others, ...(isFields(_meta) ? { _meta: given(_meta) } : {}) } }
}

/** The text of a message or a batch, without fields that are `null`; `undefined` for what is not JSON. */
export const soundText = (text: string): string | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return JSON.stringify(Array.isArray(value) ? value.map(sound) : sound(value))
  } catch {
    return undefined
  }
}
