/** The routes of a server in Troupe's own terms, as OpenAPI has them. */
import {
  answer,
  cost,
  count,
  failures,
  json,
  type Json,
  operation,
  type Paths,
  problem,
  reference,
  taking,
  text
} from "./openApiParts.ts"
import type { ServedRunner } from "./served.ts"

const body = ({ inputSchema }: ServedRunner): Json =>
  taking({
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
export const ofRunner = (runner: ServedRunner): Paths => {
  const { description, name, outputSchema } = runner
  const about = description === undefined ? {} : { description }
  const output = json("The output and what it took.", {
    type: "object",
    properties: { output: outputSchema ?? {}, usage: reference("Usage"), cost, steps: count, runId: text },
    required: ["output", "usage", "steps", "runId"]
  })
  const begun = json("The run has begun, detached or to wait for answers.", reference("Run"))
  const graph = json("Its kind and its members.", {
    type: "object",
    properties: { graph: reference("Graph") },
    required: ["graph"]
  })
  const path = `/runners/${name}`
  return {
    [path]: {
      post: operation(
        `run-${name}`,
        `Run ${name}`,
        { 200: output, 202: begun, ...failures },
        { ...about, ...body(runner) }
      )
    },
    [`${path}/stream`]: {
      post: operation(
        `stream-${name}`,
        `Stream ${name}`,
        { 200: events, ...failures },
        { ...about, parameters: [lastEventId], ...body(runner) }
      )
    },
    [`${path}/ws`]: {
      get: operation(
        `socket-${name}`,
        `Stream ${name} over a WebSocket: the first message is the body of the other two, then comes an event a message`,
        { 101: { description: "The connection is a WebSocket." }, 426: problem("It is not a WebSocket.") },
        about
      )
    },
    [`${path}/graph`]: {
      get: operation(`graph-${name}`, `What ${name} is made of, where nested runs are exposed`, {
        200: graph,
        403: problem("The server does not show nested runs.")
      })
    }
  }
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

const query = (name: string, description: string): Json => ({ name, in: "query", schema: text, description })
const unknownRun = problem("There is no such run.")
const noStore = problem("The program has no store for it.")
const nameless = problem("Clients of this server have no names.")

/** The routes of runs by their ids, and of what they wait for. */
export const ofRuns: Paths = {
  "/runs/{id}": {
    get: operation("run", "The state of a run", { 200: json("The run.", reference("Run")), 404: unknownRun }),
    delete: operation("interrupt", "Interrupt a run", { 204: { description: "It has ended." }, 404: unknownRun })
  },
  "/runs/{id}/stream": {
    get: operation(
      "follow",
      "The events of a run",
      {
        200: events,
        204: { description: "The client has seen the end." },
        404: unknownRun,
        410: problem("The events are not kept any more.")
      },
      { parameters: [lastEventId] }
    )
  },
  "/runs/{id}/input": {
    post: operation(
      "input",
      "Give a run under way a further input, or one that waits its answers",
      { 200: json("What became of it."), ...failures, 409: problem("The run takes none.") },
      taking(inputOrAnswers)
    )
  },
  "/runs/{id}/approvals": {
    get: operation("approvals", "What a run waits for", { 200: json("It."), 404: unknownRun }),
    post: operation(
      "approve",
      "Decide on calls that wait for approval, and go on with the run",
      { 200: json("As the run itself."), ...failures, 409: problem("It waits for none.") },
      taking({ type: "object", additionalProperties: decision })
    )
  },
  "/approvals": {
    get: operation("all-approvals", "What the runs of the client wait for", {
      200: json("The runs that wait."),
      403: nameless
    })
  }
}

/** The routes of sessions. */
export const ofSessions: Paths = {
  "/sessions": {
    get: operation(
      "sessions",
      "The conversations of the client",
      { 200: json("They."), 403: nameless, 501: noStore },
      {
        parameters: [query("limit", "How many, up to 200."), query("after", "The id of the last one that was seen.")]
      }
    )
  },
  "/sessions/{id}": {
    get: operation("session", "What was said in a conversation", {
      200: json("Its messages, and what it waits for."),
      404: problem("The session does not exist."),
      501: noStore
    }),
    delete: operation("forget", "Remove a conversation", { 204: { description: "It is gone." }, 501: noStore })
  },
  "/sessions/{id}/waiting": {
    delete: operation("giveUp", "Give up the turn of a conversation that waits", {
      204: { description: "The conversation is as it was before that turn." },
      501: noStore
    })
  }
}

/** The routes of traces. */
export const ofTraces: Paths = {
  "/traces": {
    get: operation(
      "traces",
      "The runs that are kept",
      { 200: json("They."), 403: nameless, 501: noStore },
      {
        parameters: [
          query("runner", "Runs of this runner."),
          query("session", "Runs of this conversation."),
          query("status", "running, completed, failed, interrupted or suspended."),
          query("limit", "How many, up to 200.")
        ]
      }
    )
  },
  "/traces/{id}": {
    get: operation("trace", "The events of a run that is kept", {
      200: json("Its events."),
      403: nameless,
      404: unknownRun,
      501: noStore
    })
  }
}

/** It asks for no token. */
const open: Json = { security: [] }

/** The routes of the playground. */
export const ofPlayground: Paths = {
  "/": { get: operation("playground", "A page for people", { 200: answer("It.", "text/html", text) }, open) },
  "/playground.json": {
    get: operation("playground-info", "What the page has to know of the server", {
      200: json("Whether it has runners, sessions and traces, and what it exposes.")
    })
  }
}

/** The routes about the server itself. */
export const ofServer: Paths = {
  "/runners": { get: operation("runners", "The runners and what they take", { 200: json("The runners.") }) },
  "/openapi.json": { get: operation("openapi", "This document", { 200: json("It.") }) },
  "/docs": { get: operation("docs", "This document as a page", { 200: answer("It.", "text/html", text) }) },
  "/health": { get: operation("health", "Whether the process lives", { 200: { description: "It does." } }, open) },
  "/ready": {
    get: operation(
      "ready",
      "Whether the server takes requests",
      { 200: { description: "It does." }, 503: problem("It does not.") },
      open
    )
  }
}
