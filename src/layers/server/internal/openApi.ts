/** The description of a server for other programs, as OpenAPI, and a page of it for people. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Edge } from "./edge.ts"
import { version } from "../../../internal/version.generated.ts"
import { type Json, schemas, text } from "./openApiParts.ts"
import { ofProtocols } from "./openApiProtocols.ts"
import { ofPlayground, ofRunner, ofRuns, ofServer, ofSessions, ofTraces } from "./openApiRuns.ts"

/** The OpenAPI document of a server. */
export const openApi = ({ runners, settings }: Pick<Edge, "runners" | "settings">): Json => {
  const served = [...runners.values()]
  const name = { enum: served.map((runner) => runner.name) }
  const parametersOf = (path: string): ReadonlyArray<Json> =>
    Array.from(path.matchAll(/\{(\w+)\}/g), ([, own]) => ({
      name: own,
      in: "path",
      required: true,
      schema: own === "name" ? name : text
    }))
  const paths = [
    ...served.map(ofRunner),
    ofServer,
    ofRuns,
    ofSessions,
    ofTraces,
    ...(settings.playground ? [ofPlayground] : []),
    ofProtocols
  ].flatMap((part) => Object.entries(part))
  return {
    openapi: "3.1.0",
    info: { title: "Troupe", version },
    paths: Object.fromEntries(
      paths.map(([path, item]) => {
        const parameters = parametersOf(path)
        return [`${settings.prefix}${path}`, parameters.length === 0 ? item : { parameters, ...item }]
      })
    ),
    components: {
      schemas,
      ...(settings.bearer === undefined ? {} : { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } })
    },
    ...(settings.bearer === undefined ? {} : { security: [{ bearer: [] }] })
  }
}

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
