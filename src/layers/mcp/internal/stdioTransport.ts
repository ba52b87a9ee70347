/**
 * A server's process as a transport of the SDK, in a process group of its own that never outlives us.
 */
import type { serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { lineProcess, type Command as ProcessCommand } from "../../internal/process/lineProcess.ts"
import type { Incoming } from "./incoming.ts"
import type { ProcessEnd } from "./protocol.ts"

/** What it is made with. */
export interface ProcessParts {
  readonly serializeMessage: typeof serializeMessage
}

/** What is run. */
export interface Command extends ProcessCommand {
  /** Reads the lines of its output. */
  readonly read: ReturnType<Incoming["lines"]>
}

/** The transport, with what it knows of its process. */
export interface ProcessTransport extends Transport {
  readonly pid: () => number | undefined
  /** How it ended; `undefined` while it runs, or when it could not be started. */
  readonly end: () => ProcessEnd | undefined
  readonly stderr: () => string
  /** Why it was ended by us, if by what it has said. */
  readonly offence: () => string | undefined
}

const offence = "the server sent a message that is too large, and was ended"

/**
 * The SDK's own stdio transport hides the exit code, does not end what the server has started itself, and leaves it all
 * running when this process is killed.
 */
export const processTransport = (parts: ProcessParts, what: Command): ProcessTransport => {
  const process = lineProcess(what, {
    line: (line) => what.read(line).forEach((message) => transport.onmessage?.(message)),
    error: (error) => transport.onerror?.(process.isTooLong() ? new Error(offence) : error),
    closed: () => transport.onclose?.()
  })
  const transport: ProcessTransport = {
    start: process.start,
    send: (message) => process.write(parts.serializeMessage(message)),
    close: process.close,
    pid: process.pid,
    end: process.end,
    stderr: process.stderr,
    offence: () => (process.isTooLong() ? offence : undefined)
  }
  return transport
}
