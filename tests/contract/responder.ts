/**
 * What a scripted model answers to any request of the contract, as a pure function of the request: a model in process and
 * a server that speaks HTTP can give the same answers, also to calls that come at the same time.
 */

/** What the answer depends on, on each wire. */
export interface Request {
  /** The text of the last message of the user. */
  readonly said: string
  /** The result that the last message brings, if it is a tool's. */
  readonly result: { readonly value: unknown } | undefined
  /** The names of the tools that may be called. */
  readonly tools: ReadonlyArray<string>
  /** `force` names the tool, or leaves the choice of one. */
  readonly choice: "auto" | "none" | { readonly force: string | undefined }
  /** True when the answer must be JSON of an output schema. */
  readonly json: boolean
}

/** A text, or the call of a tool. */
export type Answer =
  | { readonly text: string }
  | { readonly name: string; readonly params: { readonly a: number; readonly b: number } }

/** The answers that the contract expects. */
export const text = "The capital of France is Paris, and that of Italy is Rome."
export const object = { city: "Paris", population: 2100000 }

/** Answers a result with what it was, calls a tool when it must or is asked to, and gives JSON when it must. */
export const respond = (request: Request): Answer => {
  if (request.result !== undefined) return { text: `It is ${JSON.stringify(request.result.value)}.` }
  const { choice, tools } = request
  const wanted = choice === "auto" ? /use the tool/i.test(request.said) : choice !== "none"
  const name = typeof choice === "object" && choice.force !== undefined ? choice.force : tools[0]
  if (wanted && name !== undefined) {
    const [, a, b] = /(-?\d+) \+ (-?\d+)/.exec(request.said) ?? [undefined, "2", "40"]
    return { name, params: { a: Number(a), b: Number(b) } }
  }
  return { text: request.json ? JSON.stringify(object) : text }
}
