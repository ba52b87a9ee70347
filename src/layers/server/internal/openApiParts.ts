/** The pieces of an OpenAPI document: schemas, answers and parameters. */

/** A part of the document. */
export interface Json {
  readonly [key: string]: unknown
}

/** Paths with their operations. What stands in braces in a path is a parameter of it. */
export type Paths = Readonly<Record<string, Json>>

/** Names a schema of the document. */
export const reference = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })
/** An answer of a type. */
export const answer = (description: string, type: string, schema: Json): Json => ({
  description,
  content: { [type]: { schema } }
})
/** An answer of JSON. */
export const json = (description: string, schema: Json = {}): Json => answer(description, "application/json", schema)
/** An answer that says what is wrong. */
export const problem = (description: string): Json =>
  answer(description, "application/problem+json", reference("Problem"))
/** An operation of a path. */
export const operation = (operationId: string, summary: string, responses: Json, more: Json = {}): Json => ({
  operationId,
  summary,
  ...more,
  responses
})
/** The body that a request has, and the fields of its operation that it stands for. */
export const taking = (schema: Json): Json => ({
  requestBody: { required: true, content: { "application/json": { schema } } }
})

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

/** US dollars; absent where the price of a part is not known. */
export const cost: Json = { type: "number", description: "US dollars, where the price of every part is known." }

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
      resumedAs: text,
      usage: reference("Usage"),
      cost,
      steps: count,
      waitingFor: { type: "array", items: { type: "object" } },
      output: {},
      error: text,
      detail: text
    },
    required: ["runId", "status"]
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
      handoffs: {
        type: "array",
        description: "Of handoffs: which member may hand the conversation over to which.",
        items: { type: "object", properties: { from: text, to: text }, required: ["from", "to"] }
      },
      isCut: { const: true }
    },
    required: ["name", "kind", "members"]
  },
  Event: {
    type: "object",
    description:
      "An event of a run, see RunEvent.Client of Troupe. `Completed`, `Failed`, `Interrupted` and `Suspended` are the end.",
    properties: { _tag: text, v: count, seq: count, at: { type: "number" } },
    required: ["_tag", "v", "seq", "at"]
  }
}
