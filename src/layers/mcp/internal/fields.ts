/** JSON of servers, and its objects, whose fields are not known yet. */

/** The value of a text; `undefined` for one that is not JSON. */
export const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A value as text; `otherwise` for one that is nested too deeply for it. */
export const textOf = (value: unknown, otherwise: string): string => {
  try {
    return JSON.stringify(value)
  } catch {
    return otherwise
  }
}

/** A JSON object. */
export type Fields = { readonly [key: string]: unknown }

export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The fields that are given: a field that is `null` counts as not given. */
export const given = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
