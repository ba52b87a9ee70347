/** The description of a server for other programs, as OpenAPI, and a page of it for people. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Edge } from "./edge.ts"
import type { ServedRunner } from "./served.ts"
import { version } from "../../../internal/version.generated.ts"

interface Json {
  readonly [key: string]: unknown
}

const reference = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })
const content = (type: string, schema: Json): Json => ({ content: { [type]: { schema } } })
const answer = (description: string, type: string, schema: Json): Json => ({ description, ...content(type, schema) })
const problem = (description: string): Json => answer(description, "application/problem+json", reference("Problem"))

const failures: Json = {
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

const text: Json = { type: "string" }
const count: Json = { type: "integer" }

const usage: Json = {
  type: "object",
  properties: {
    inputTokens: { type: "object", properties: { total: count } },
    outputTokens: { type: "object", properties: { total: count } }
  }
}

const schemas: Json = {
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
  Event: {
    type: "object",
    description:
      "An event of a run, see RunEvent.Client of Troupe. `Completed`, `Failed` and `Interrupted` are the end.",
    properties: { _tag: text, v: count, seq: count, at: { type: "number" } },
    required: ["_tag", "v", "seq", "at"]
  }
}

const body = ({ inputSchema }: ServedRunner): Json => ({
  required: true,
  ...content("application/json", {
    type: "object",
    properties: {
      input: inputSchema,
      session: { type: "string", description: "The conversation that the run belongs to." },
      detached: { type: "boolean", description: "Goes on when the client hangs up." }
    },
    required: ["input"]
  })
})

const events: Json = {
  description: "The events of the run as they happen.",
  content: {
    "text/event-stream": { schema: text },
    "application/x-ndjson": { schema: reference("Event") }
  }
}

const ofRunner = (prefix: string, runner: ServedRunner): ReadonlyArray<readonly [path: string, item: Json]> => {
  const { description, name, outputSchema } = runner
  const about = description === undefined ? {} : { description }
  return [
    [
      `${prefix}/runners/${name}`,
      {
        post: {
          operationId: `run-${name}`,
          summary: `Run ${name}`,
          ...about,
          requestBody: body(runner),
          responses: {
            200: answer("The output and what it took.", "application/json", {
              type: "object",
              properties: { output: outputSchema ?? {}, usage: reference("Usage"), steps: count, runId: text },
              required: ["output", "usage", "steps", "runId"]
            }),
            202: answer("The run has begun, detached or to wait for answers.", "application/json", reference("Run")),
            ...failures
          }
        }
      }
    ],
    [
      `${prefix}/runners/${name}/stream`,
      {
        post: {
          operationId: `stream-${name}`,
          summary: `Stream ${name}`,
          ...about,
          parameters: [{ name: "last-event-id", in: "header", schema: text }],
          requestBody: body(runner),
          responses: { 200: events, ...failures }
        }
      }
    ]
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

const ofRuns = (prefix: string): ReadonlyArray<readonly [path: string, item: Json]> => [
  [
    `${prefix}/runners`,
    {
      get: {
        operationId: "runners",
        summary: "The runners and what they take",
        responses: { 200: { description: "The runners." } }
      }
    }
  ],
  [
    `${prefix}/runs/{id}`,
    {
      parameters: id,
      get: {
        operationId: "run",
        summary: "The state of a run",
        responses: {
          200: answer("The run.", "application/json", reference("Run")),
          404: problem("There is no such run.")
        }
      },
      delete: {
        operationId: "interrupt",
        summary: "Interrupt a run",
        responses: { 204: { description: "It has ended." }, 404: problem("There is no such run.") }
      }
    }
  ],
  [
    `${prefix}/runs/{id}/stream`,
    {
      parameters: [...id, { name: "last-event-id", in: "header", schema: text }],
      get: {
        operationId: "follow",
        summary: "The events of a run",
        responses: {
          200: events,
          204: { description: "The client has seen the end." },
          404: problem("There is no such run."),
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
        responses: {
          200: answer("What became of it.", "application/json", {}),
          ...failures,
          409: problem("The run takes none.")
        }
      }
    }
  ],
  [
    `${prefix}/runs/{id}/approvals`,
    {
      parameters: id,
      get: {
        operationId: "approvals",
        summary: "What a run waits for",
        responses: { 200: answer("It.", "application/json", {}), 404: problem("There is no such run.") }
      },
      post: {
        operationId: "approve",
        summary: "Decide on calls that wait for approval, and go on with the run",
        requestBody: {
          required: true,
          ...content("application/json", { type: "object", additionalProperties: decision })
        },
        responses: {
          200: answer("As the run itself.", "application/json", {}),
          ...failures,
          409: problem("It waits for none.")
        }
      }
    }
  ],
  [
    `${prefix}/sessions`,
    {
      get: {
        operationId: "sessions",
        summary: "The conversations of the client",
        responses: { 200: answer("They.", "application/json", {}), 501: problem("There is no store.") }
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
          200: answer("Its messages.", "application/json", {}),
          404: problem("There is no such session."),
          501: problem("There is no store.")
        }
      },
      delete: {
        operationId: "forget",
        summary: "Remove a conversation",
        responses: { 204: { description: "It is gone." }, 501: problem("There is no store.") }
      }
    }
  ],
  [
    `${prefix}/health`,
    {
      get: {
        operationId: "health",
        summary: "Whether the process lives",
        security: [],
        responses: { 200: { description: "It does." } }
      }
    }
  ],
  [
    `${prefix}/ready`,
    {
      get: {
        operationId: "ready",
        summary: "Whether the server takes requests",
        security: [],
        responses: { 200: { description: "It does." }, 503: problem("It does not.") }
      }
    }
  ]
]

/** The OpenAPI document of a server. */
export const openApi = ({ runners, settings }: Pick<Edge, "runners" | "settings">): Json => ({
  openapi: "3.1.0",
  info: { title: "Troupe", version },
  paths: Object.fromEntries([
    ...[...runners.values()].flatMap((runner) => ofRunner(settings.prefix, runner)),
    ...ofRuns(settings.prefix)
  ]),
  components: {
    schemas,
    ...(settings.bearer === undefined ? {} : { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } })
  },
  ...(settings.bearer === undefined ? {} : { security: [{ bearer: [] }] })
})

const escape = (value: string): string => value.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)

const style =
  "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}" +
  "pre{overflow:auto;padding:1rem;border:1px solid;border-radius:.3rem}summary{cursor:pointer}:root{color-scheme:light dark}"

const operations = (item: Json): ReadonlyArray<readonly [method: string, operation: Json]> =>
  ["get", "post", "delete"].flatMap((method) => (method in item ? [[method, item[method] as Json] as const] : []))

/** The same as a page, without any script. */
export const docsPage = (edge: Edge): HttpServerResponse.HttpServerResponse => {
  const document = openApi(edge)
  const sections = Object.entries(document["paths"] as Readonly<Record<string, Json>>).flatMap(([path, item]) =>
    operations(item).map(
      ([method, operation]) =>
        `<details><summary><b>${method.toUpperCase()}</b> <code>${escape(path)}</code> ${escape(String(operation["summary"]))}</summary>` +
        `<p>${escape(String(operation["description"] ?? ""))}</p><pre>${escape(JSON.stringify(operation, null, 2))}</pre></details>`
    )
  )
  const page =
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>Troupe</title><style>${style}</style><h1>Runners of this server</h1>` +
    `<p>As data: <a href="${escape(edge.settings.prefix)}/openapi.json">openapi.json</a></p>${sections.join("")}</html>`
  return HttpServerResponse.text(page, {
    contentType: "text/html; charset=utf-8",
    headers: {
      "content-security-policy":
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
      "x-content-type-options": "nosniff"
    }
  })
}
