/** Makes the `Usage` of `effect/ai` without the validation that its constructor does even when checks are off. */
import * as Response from "effect/ai/Response"

type Fields = { readonly [K in keyof typeof Response.Usage.Encoded]: (typeof Response.Usage.Encoded)[K] }

/** The usage of counts that are known to be whole numbers. One is made for each step, so it has to be cheap. */
export const makeUsage = (fields: Fields): Response.Usage =>
  Object.assign(Object.create(Response.Usage.prototype) as Response.Usage, fields)

/** The usage of a call whose tokens are not known. */
export const noUsage: Response.Usage = makeUsage({ inputTokens: {}, outputTokens: {} })
