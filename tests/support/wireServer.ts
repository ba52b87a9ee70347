/**
 * An OpenAI server in a process of its own that answers each request as the request itself says, so that many agents can
 * be distinguished, and that counts their outcomes: answered, or given up by its client. Both sides are in this file.
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Reply, Seen } from "./openAiServer.ts"

/** How the server answers one request of a conversation. */
export interface Turn extends Reply {
  /** Takes a minute: streamed in small pieces, or whole at the end. */
  readonly slow?: true | undefined
}

interface Plan {
  readonly id: string
  readonly turns: ReadonlyArray<Turn>
}

const marker = "PLAN "

/** What an agent is instructed with, or asked, so that the server answers like this; the last turn is repeated. */
export const plan = (id: string, ...turns: ReadonlyArray<Turn>): string =>
  `${marker}${JSON.stringify({ id, turns } satisfies Plan)}`

/** What became of the requests, by the ids of their plans, sorted. */
export interface Report {
  readonly begun: ReadonlyArray<string>
  readonly answered: ReadonlyArray<string>
  /** Given up by the client. */
  readonly aborted: ReadonlyArray<string>
  /** Neither yet: what waiting for the end of all did not bring. */
  readonly open: ReadonlyArray<string>
  /** When the last request was given up, in milliseconds since the epoch; absent where none was. */
  readonly abortedAt?: number
  /** From the end of the first answer to the last request that was given up. */
  readonly abortedAfterMs: number
  /**
   * Sockets that are open and have carried a request. Node's fetch also opens a new one for each that it broke off, and
   * lets it be closed by time: those carry nothing.
   */
  readonly connections: number
}

/** The server's process. */
export interface WireServer {
  /** Forgets what it has seen, closes what is open, and gives its new address. */
  readonly renew: () => Promise<string>
  /** Waits until every request has ended, one way or the other; 20 seconds at most. */
  readonly report: () => Promise<Report>
  readonly stop: () => void
}

const self = fileURLToPath(import.meta.url)

/** Starts the process. */
export const start = (): WireServer => {
  const child: ChildProcess = fork(self, { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] })
  const ask = <A>(message: string) =>
    new Promise<A>((resolve) => {
      child.once("message", (answer) => resolve(answer as A))
      child.send(message)
    })
  return { renew: () => ask("renew"), report: () => ask("report"), stop: () => child.kill("SIGKILL") }
}

// -- the child --------------------------------------------------------------------------------------------------------

const textsIn = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string"
    ? [value]
    : typeof value === "object" && value !== null
      ? Object.values(value).flatMap(textsIn)
      : []

/** The agent's instructions come before what it was asked, which others may have written. */
const planOf = ({ body }: Seen): Plan => {
  const line = textsIn([body["instructions"], body["messages"] ?? body["input"]])
    .flatMap((text) => text.split("\n"))
    .find((text) => text.startsWith(marker))
  return line === undefined ? { id: "?", turns: [] } : (JSON.parse(line.slice(marker.length)) as Plan)
}

const turnOf = (seen: Seen): Turn => {
  const said: ReadonlyArray<{ readonly role?: string; readonly type?: string }> =
    seen.body["messages"] ?? seen.body["input"]
  const turn = said.filter((one) => one.role === "tool" || one.type === "function_call_output").length
  const { turns } = planOf(seen)
  return turns[Math.min(turn, turns.length - 1)] ?? { status: 404 }
}

const slowly = (streams: boolean): Reply =>
  streams ? { text: "word ".repeat(360), paceMs: 100 } : { text: "late", delayMs: 60_000 }

if (process.send !== undefined && process.argv[1] === self) {
  const { serve } = await import("./openAiServer.ts")
  const begin = () =>
    serve((seen) => {
      const { slow, ...reply } = turnOf(seen)
      return slow === true ? { ...reply, ...slowly(seen.body["stream"] === true) } : reply
    })
  let server = await begin()
  const report = async (): Promise<Report> => {
    const { seen } = server
    const giveUp = Date.now() + 20_000
    while (seen.some((one) => one.endedAt === undefined) && Date.now() < giveUp) {
      await new Promise((go) => setTimeout(go, 5))
    }
    const idsOf = (some: ReadonlyArray<Seen>) => some.map((one) => planOf(one).id).toSorted()
    const ended = seen.filter((one) => one.endedAt !== undefined)
    const [aborted, answered] = [ended.filter((one) => one.aborted), ended.filter((one) => !one.aborted)]
    return {
      begun: idsOf(seen),
      answered: idsOf(answered),
      aborted: idsOf(aborted),
      open: idsOf(seen.filter((one) => one.endedAt === undefined)),
      ...(aborted.length === 0 ? {} : { abortedAt: Math.max(...aborted.map((one) => one.endedAt!)) }),
      abortedAfterMs:
        Math.max(...aborted.map((one) => one.endedAt!)) - Math.min(...answered.map((one) => one.endedAt!)),
      connections: server.connections()
    }
  }
  process.on("message", async (message) => {
    if (message === "report") return process.send!(await report())
    server.close()
    server = await begin()
    return process.send!(server.url)
  })
}
