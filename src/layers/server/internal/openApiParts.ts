/** The pieces of an OpenAPI document: schemas, answers and parameters. */

/** A part of the document. */
export interface Json {
  readonly [key: string]: unknown
}

/** A path with its operations. */
export type PathItem = readonly [path: string, item: Json]

/** Names a schema of the document. */
export const reference = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })
/** A body of a type. */
export const content = (type: string, schema: Json): Json => ({ content: { [type]: { schema } } })
/** An answer of a type. */
export const answer = (description: string, type: string, schema: Json): Json => ({
  description,
  ...content(type, schema)
})
/** An answer that says what is wrong. */
export const problem = (description: string): Json =>
  answer(description, "application/problem+json", reference("Problem"))

/** What every run may be answered instead of its output. */
export const failures: Json = {
  400: problem("The request does not fit; `part` says where."),
  401: problem("The bearer token is missing or not accepted."),
  404: problem("There is no such runner or run."),
  413: problem("The body is too large."),
  429: problem("Too many requests in the time."),
  500: problem("The run failed; `error` is the kind of its failure."),
  502: problem("The model call failed."),
  503: problem("The server is busy: try again after `retry-after` seconds."),
  504: problem("The run took too long.")
}

/** A text. */
export const text: Json = { type: "string" }
/** A whole number. */
export const count: Json = { type: "integer" }

const usage: Json = {
  type: "object",
  properties: {
    inputTokens: { type: "object", properties: { total: count } },
    outputTokens: { type: "object", properties: { total: count } }
  }
}

/** The schemas that the others name. */
export const schemas: Json = {
  Problem: {
    type: "object",
    properties: { type: text, title: text, status: count, detail: text, error: text, runId: text, part: text },
    required: ["type", "title", "status", "detail"]
  },
  Usage: usage,
  Run: {
    type: "object",
    properties: {
      runId: text,
      runner: text,
      status: { enum: ["running", "suspended", "completed", "failed", "interrupted"] },
      startedAt: { type: "number" },
      usage: reference("Usage"),
      steps: count,
      output: {},
      error: text,
      detail: text
    },
    required: ["runId", "runner", "status", "startedAt"]
  },
  Graph: {
    type: "object",
    properties: {
      name: text,
      kind: text,
      note: text,
      description: text,
      members: {
        type: "array",
        items: {
          type: "object",
          properties: { name: text, role: text, handsOffTo: text, runner: reference("Graph") },
          required: ["name"]
        }
      },
      isCut: { const: true }
    },
    required: ["name", "kind", "members"]
  },
  Event: {
    type: "object",
    description:
      "An event of a run, see RunEvent.Client of Troupe. `Completed`, `Failed` and `Interrupted` are the end.",
    properties: { _tag: text, v: count, seq: count, at: { type: "number" } },
    required: ["_tag", "v", "seq", "at"]
  }
}
