/** Answers of a server. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { bodyOf, type Problem } from "./problem.ts"

/** The answer that a problem is. */
export const respond = (given: Problem): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(JSON.stringify(bodyOf(given)), {
    status: given.status,
    contentType: "application/problem+json",
    headers: { "cache-control": "no-store", ...given.headers }
  })

/** An answer of JSON. */
export const json = (
  body: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(JSON.stringify(body), {
    status,
    contentType: "application/json",
    headers: { "cache-control": "no-store", ...headers }
  })
