/**
 * One connection as the parts of its program share it: the SDK's client and transport, whether it is up, and what went
 * wrong. `opening.ts` puts the client and its transport here, the others read them.
 */
import type { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { incoming, type Incoming } from "./incoming.ts"
import { problemOf } from "./problem.ts"
import type { FromHost, Problem, ProcessEnd } from "./protocol.ts"
import * as Relations from "./relations.ts"
import type { Sdk } from "./sdkLoader.ts"
import type { ProcessTransport } from "./stdioTransport.ts"

/** Sends a message to the side that uses the connection. */
export type Post = (message: FromHost) => void

/** A transport of the SDK that is behind an address. */
export type HttpTransport = InstanceType<Sdk["StreamableHTTPClientTransport"]> | InstanceType<Sdk["SSEClientTransport"]>

/** What one attempt to connect has made. Attempts follow each other, and the last one counts. */
export interface Attempt {
  readonly client: Client
  readonly process: ProcessTransport | undefined
  readonly http: HttpTransport | undefined
}

/** A connection, shared by the parts of its program. */
export interface SdkConnection {
  readonly sdk: Sdk
  readonly post: Post
  /** Reads what the server sends. */
  readonly incoming: Incoming
  /** Which calls the server's questions belong to. */
  readonly relations: Relations.Relations
  /** Logs on the other side. */
  readonly report: (level: "warning" | "debug", message: string) => void
  /** The last attempt. */
  attempt: Attempt | undefined
  isUp: boolean
  /** Posts once that the connection has ended. */
  readonly goDown: (problem: Problem) => void
  readonly problemOf: (error: unknown) => Problem
  /** How the server's process ended, or its output so far. */
  readonly processEnd: () => ProcessEnd | undefined
}

/** How many reports of one connection are passed on: a server can send much that cannot be used. */
const maxReports = 100

export const make = (sdk: Sdk, post: Post): SdkConnection => {
  let reports = 0
  const report = (level: "warning" | "debug", message: string) => {
    reports++
    if (reports <= maxReports) post({ type: "report", level, message })
    else if (reports === maxReports + 1) post({ type: "report", level, message: "further reports are left out" })
  }
  const connection: SdkConnection = {
    sdk,
    post,
    report,
    incoming: incoming(sdk, (message) => report("warning", message)),
    relations: Relations.make(),
    attempt: undefined,
    isUp: false,
    goDown: (problem) => {
      if (!connection.isUp) return
      connection.isUp = false
      post({ type: "down", problem, end: connection.processEnd() })
    },
    problemOf: (error) => {
      const { http, process } = connection.attempt ?? {}
      const hasSession = http !== undefined && "sessionId" in http && http.sessionId !== undefined
      const problem = problemOf(sdk, error, hasSession)
      if (problem.kind !== "connection") return problem
      return { ...problem, message: process?.offence() ?? problem.message }
    },
    processEnd: () => {
      const process = connection.attempt?.process
      if (process === undefined) return undefined
      return process.end() ?? { exitCode: undefined, signal: undefined, stderr: process.stderr() }
    }
  }
  return connection
}
