/** The routes of a server in Troupe's own terms, as OpenAPI has them. */
import {
  answer,
  content,
  cost,
  count,
  failures,
  type Json,
  type PathItem,
  problem,
  reference,
  text
} from "./openApiParts.ts"
import type { ServedRunner } from "./served.ts"

const body = ({ inputSchema }: ServedRunner): Json => ({
  required: true,
  ...content("application/json", {
    type: "object",
    properties: {
      input: inputSchema,
      session: { type: "string", description: "The conversation that the run belongs to." },
      answers: {
        type: "object",
        description: "In place of an input: what the turn of the session that waits goes on with."
      },
      detached: { type: "boolean", description: "Goes on when the client hangs up." }
    },
    oneOf: [{ required: ["input"] }, { required: ["session", "answers"] }]
  })
})

const lastEventId: Json = {
  name: "last-event-id",
  in: "header",
  schema: text,
  description: "The id of the last event that the client has seen."
}

const events: Json = {
  description: "The events of the run as they happen.",
  content: {
    "text/event-stream": { schema: text },
    "application/x-ndjson": { schema: reference("Event") }
  }
}

/** The routes of one runner. */
export const ofRunner = (prefix: string, runner: ServedRunner): ReadonlyArray<PathItem> => {
  const { description, name, outputSchema } = runner
  const about = description === undefined ? {} : { description }
  const run = {
    operationId: `run-${name}`,
    summary: `Run ${name}`,
    ...about,
    requestBody: body(runner),
    responses: {
      200: answer("The output and what it took.", "application/json", {
        type: "object",
        properties: { output: outputSchema ?? {}, usage: reference("Usage"), cost, steps: count, runId: text },
        required: ["output", "usage", "steps", "runId"]
      }),
      202: answer("The run has begun, detached or to wait for answers.", "application/json", reference("Run")),
      ...failures
    }
  }
  const stream = {
    operationId: `stream-${name}`,
    summary: `Stream ${name}`,
    ...about,
    parameters: [lastEventId],
    requestBody: body(runner),
    responses: { 200: events, ...failures }
  }
  const socket = {
    operationId: `socket-${name}`,
    summary: `Stream ${name} over a WebSocket: the first message is the body of the other two, then comes an event a message`,
    ...about,
    responses: { 101: { description: "The connection is a WebSocket." }, 426: problem("It is not a WebSocket.") }
  }
  const graph = {
    operationId: `graph-${name}`,
    summary: `What ${name} is made of, where nested runs are exposed`,
    responses: {
      200: json("Its kind and its members.", {
        type: "object",
        properties: { graph: reference("Graph") },
        required: ["graph"]
      }),
      403: problem("The server does not show nested runs.")
    }
  }
  const path = `${prefix}/runners/${name}`
  return [
    [path, { post: run }],
    [`${path}/stream`, { post: stream }],
    [`${path}/ws`, { get: socket }],
    [`${path}/graph`, { get: graph }]
  ]
}

const decision: Json = {
  type: "object",
  properties: { approved: { type: "boolean" }, reason: text, params: {} },
  required: ["approved"]
}

const inputOrAnswers: Json = {
  type: "object",
  properties: { input: {}, delivery: { enum: ["steer", "queue"] }, answers: { type: "object" } }
}

const id: ReadonlyArray<Json> = [{ name: "id", in: "path", required: true, schema: text }]
const query = (name: string, description: string): Json => ({ name, in: "query", schema: text, description })
const json = (description: string, schema: Json = {}): Json => answer(description, "application/json", schema)
const unknownRun = problem("There is no such run.")
const noStore = problem("The program has no store for it.")
const nameless = problem("Clients of this server have no names.")

/** The routes of runs by their ids. */
export const ofRuns = (prefix: string): ReadonlyArray<PathItem> => [
  [
    `${prefix}/runs/{id}`,
    {
      parameters: id,
      get: {
        operationId: "run",
        summary: "The state of a run",
        responses: { 200: json("The run.", reference("Run")), 404: unknownRun }
      },
      delete: {
        operationId: "interrupt",
        summary: "Interrupt a run",
        responses: { 204: { description: "It has ended." }, 404: unknownRun }
      }
    }
  ],
  [
    `${prefix}/runs/{id}/stream`,
    {
      parameters: [...id, lastEventId],
      get: {
        operationId: "follow",
        summary: "The events of a run",
        responses: {
          200: events,
          204: { description: "The client has seen the end." },
          404: unknownRun,
          410: problem("The events are not kept any more.")
        }
      }
    }
  ],
  [
    `${prefix}/runs/{id}/input`,
    {
      parameters: id,
      post: {
        operationId: "input",
        summary: "Give a run under way a further input, or one that waits its answers",
        requestBody: { required: true, ...content("application/json", inputOrAnswers) },
        responses: { 200: json("What became of it."), ...failures, 409: problem("The run takes none.") }
      }
    }
  ]
]

/** The routes of approvals. */
export const ofApprovals = (prefix: string): ReadonlyArray<PathItem> => [
  [
    `${prefix}/runs/{id}/approvals`,
    {
      parameters: id,
      get: {
        operationId: "approvals",
        summary: "What a run waits for",
        responses: { 200: json("It."), 404: unknownRun }
      },
      post: {
        operationId: "approve",
        summary: "Decide on calls that wait for approval, and go on with the run",
        requestBody: {
          required: true,
          ...content("application/json", { type: "object", additionalProperties: decision })
        },
        responses: { 200: json("As the run itself."), ...failures, 409: problem("It waits for none.") }
      }
    }
  ],
  [
    `${prefix}/approvals`,
    {
      get: {
        operationId: "all-approvals",
        summary: "What the runs of the client wait for",
        responses: { 200: json("The runs that wait."), 403: nameless }
      }
    }
  ]
]

/** The routes of sessions. */
export const ofSessions = (prefix: string): ReadonlyArray<PathItem> => [
  [
    `${prefix}/sessions`,
    {
      get: {
        operationId: "sessions",
        summary: "The conversations of the client",
        parameters: [query("limit", "How many, up to 200."), query("after", "The id of the last one that was seen.")],
        responses: { 200: json("They."), 403: nameless, 501: noStore }
      }
    }
  ],
  [
    `${prefix}/sessions/{id}`,
    {
      parameters: id,
      get: {
        operationId: "session",
        summary: "What was said in a conversation",
        responses: {
          200: json("Its messages, and what it waits for."),
          404: problem("The session does not exist."),
          501: noStore
        }
      },
      delete: {
        operationId: "forget",
        summary: "Remove a conversation",
        responses: { 204: { description: "It is gone." }, 501: noStore }
      }
    }
  ],
  [
    `${prefix}/sessions/{id}/waiting`,
    {
      parameters: id,
      delete: {
        operationId: "giveUp",
        summary: "Give up the turn of a conversation that waits",
        responses: { 204: { description: "The conversation is as it was before that turn." }, 501: noStore }
      }
    }
  ]
]

/** The routes of traces. */
export const ofTraces = (prefix: string): ReadonlyArray<PathItem> => [
  [
    `${prefix}/traces`,
    {
      get: {
        operationId: "traces",
        summary: "The runs that are kept",
        parameters: [
          query("runner", "Runs of this runner."),
          query("session", "Runs of this conversation."),
          query("status", "running, completed, failed, interrupted or suspended."),
          query("limit", "How many, up to 200.")
        ],
        responses: { 200: json("They."), 403: nameless, 501: noStore }
      }
    }
  ],
  [
    `${prefix}/traces/{id}`,
    {
      parameters: id,
      get: {
        operationId: "trace",
        summary: "The events of a run that is kept",
        responses: { 200: json("Its events."), 403: nameless, 404: unknownRun, 501: noStore }
      }
    }
  ]
]

const open = (operationId: string, summary: string, responses: Json): Json => ({
  get: { operationId, summary, security: [], responses }
})

/** The routes of the playground. */
export const ofPlayground = (prefix: string): ReadonlyArray<PathItem> => {
  const page = open("playground", "A page for people", { 200: answer("It.", "text/html", text) })
  const info = {
    operationId: "playground-info",
    summary: "What the page has to know of the server",
    responses: { 200: json("Whether it has runners, sessions and traces, and what it exposes.") }
  }
  return [
    [`${prefix}/`, page],
    [`${prefix}/playground.json`, { get: info }]
  ]
}

/** The routes about the server itself. */
export const ofServer = (prefix: string): ReadonlyArray<PathItem> => [
  [
    `${prefix}/runners`,
    {
      get: {
        operationId: "runners",
        summary: "The runners and what they take",
        responses: { 200: json("The runners.") }
      }
    }
  ],
  [
    `${prefix}/openapi.json`,
    { get: { operationId: "openapi", summary: "This document", responses: { 200: json("It.") } } }
  ],
  [
    `${prefix}/docs`,
    {
      get: {
        operationId: "docs",
        summary: "This document as a page",
        responses: { 200: answer("It.", "text/html", text) }
      }
    }
  ],
  [`${prefix}/health`, open("health", "Whether the process lives", { 200: { description: "It does." } })],
  [
    `${prefix}/ready`,
    open("ready", "Whether the server takes requests", {
      200: { description: "It does." },
      503: problem("It does not.")
    })
  ]
]
