/** The settings of a server, checked. */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { assertOneOf, assertOptions, countOf, durationOf, namesOf } from "../../../internal/definition.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import { Exposed } from "../../../RunEvent.ts"

/** How much a server takes on. */
export interface Limits {
  /** The largest request body, in bytes. Default 1 MiB; a larger one gets 413. */
  readonly body?: number | undefined
  /** How many runs there are at once. Default 256. Further requests wait. */
  readonly runs?: number | undefined
  /** How many requests may wait for a run to end. Default 1024; one more gets 503 with `retry-after`. */
  readonly waiting?: number | undefined
  /** How long a request waits at most. Default 10 seconds; then it gets 503 with `retry-after`. */
  readonly wait?: Duration.Input | undefined
  /** How long a run may take. Default 10 minutes; then it is interrupted, and its client gets 504 or a failure. */
  readonly time?: Duration.Input | undefined
  /** The largest answer, in bytes of its body. Default 16 MiB; a larger one ends the run. */
  readonly answer?: number | undefined
  /** How many requests a client may make in a time. A client is who the bearer token names, or else an address. Default: any number. */
  readonly rate?: { readonly requests: number; readonly per: Duration.Input } | undefined
  /**
   * The conversations that clients keep in the `SessionStore`.
   *
   * - `perClient`: how many a client may have, stored responses of `/v1/responses` among them; a further one gets 429. Where clients
   *   have no names, they are one client. Default: any number.
   * - `idle`: a session that had no turn for so long is removed, of the whole store. Default: none is.
   */
  readonly sessions?:
    | { readonly perClient?: number | undefined; readonly idle?: Duration.Input | undefined }
    | undefined
}

/** The outcome of a look at a bearer token: refused, accepted, or accepted as a client of this name. */
export type Accepted = boolean | string

/** Everything about a server but its runners. */
export interface ServerOptions {
  /**
   * What clients see beyond text, names and states of tool calls, decisions, usage and the end. Default: nothing more. See
   * `RunEvent.Exposed`.
   */
  readonly expose?: ReadonlyArray<Exposed> | undefined
  /**
   * Decides on the bearer token of a request; without one that it accepts, the answer is 401. A text that it returns names the
   * client: rates are counted for each name, and a run belongs to the client that started it. Default: no token is asked
   * for. `/health` and `/ready` never ask for one.
   */
  readonly bearer?: ((token: Redacted.Redacted<string>) => Accepted | Effect.Effect<Accepted>) | undefined
  /** The web origins whose pages may call, such as `https://app.example`. Default: none but pages of the server itself. */
  readonly cors?: ReadonlyArray<string> | undefined
  /**
   * The names by which the server may be called, as in the `Host` header without the port; others get 403. For `serve` the
   * default is this machine's own names, so that no web page reaches the server by a name of its own (DNS rebinding).
   * Elsewhere the default is any name.
   */
  readonly hosts?: ReadonlyArray<string> | undefined
  readonly limits?: Limits | undefined
  /**
   * How long a run goes on after its client has hung up, for it to come back with `Last-Event-ID`. Default 0: it is
   * interrupted at once.
   */
  readonly reconnect?: Duration.Input | undefined
  /** On `/v1`: what happens to `system` and `developer` messages of clients. Default `"refuse"`. */
  readonly clientInstructions?: "refuse" | "append" | undefined
  /**
   * Serves a page at `/` for people: it runs runners, shows runs as they happen and those that are kept, and decides on
   * approvals. It asks the other routes as any client does, so it shows what `expose` lets clients see. Default false.
   */
  readonly playground?: boolean | undefined
  /** How long a server that ends waits for its answers before it interrupts the runs. Default 10 seconds. */
  readonly drain?: Duration.Input | undefined
  /** The path that the routes are below, such as `/agents`. Default: none. */
  readonly prefix?: `/${string}` | undefined
}

/** Options, checked, with their defaults. */
export interface Settings {
  readonly expose: ReadonlyArray<Exposed>
  readonly bearer: ServerOptions["bearer"]
  readonly cors: ReadonlySet<string>
  /** `undefined`: any. */
  readonly hosts: ReadonlySet<string> | undefined
  /** Only this machine reaches it, so that its clients are one: they may see all sessions, approvals and traces. */
  readonly isLocal: boolean
  /** Only pages of the same host and those of `cors` may call. */
  readonly checksOrigin: boolean
  readonly body: number
  readonly runs: number
  readonly waiting: number
  readonly waitMs: number
  readonly timeMs: number
  readonly answer: number
  readonly rate: { readonly requests: number; readonly perMs: number } | undefined
  readonly sessions: { readonly perClient: number | undefined; readonly idleMs: number | undefined }
  readonly reconnectMs: number
  readonly clientInstructions: "refuse" | "append"
  readonly playground: boolean
  readonly drainMs: number
  readonly prefix: string
}

const subject = "AgentServer"

const invalid = (problem: string, remedy: string) => new InvalidDefinition({ subject, problem, remedy })

const counted = (name: string, value: number, least = 1): number => countOf(subject, name, value, least)

const ms = (name: string, input: Duration.Input): number => Duration.toMillis(durationOf(subject, name, input))

const sessionsOf = ({ idle, perClient }: NonNullable<Limits["sessions"]> = {}): Settings["sessions"] => ({
  perClient: perClient === undefined ? undefined : counted("limits.sessions.perClient", perClient),
  idleMs: idle === undefined ? undefined : ms("limits.sessions.idle", idle)
})

/** Those of `serve` too, which has a port. */
const known: ReadonlySet<string> = new Set([
  "runners",
  "port",
  "host",
  "expose",
  "bearer",
  "cors",
  "hosts",
  "limits",
  "reconnect",
  "clientInstructions",
  "playground",
  "drain",
  "prefix"
])
const knownOfLimits = namesOf<Limits>({
  body: true,
  runs: true,
  waiting: true,
  wait: true,
  time: true,
  answer: true,
  rate: true,
  sessions: true
})

/** Throws for what the types refuse: an option that is not understood must not leave a server more open than it was meant. */
const assertShape = (options: ServerOptions): void => {
  assertOptions(subject, options, known)
  if (options.limits !== undefined) assertOptions("limits of AgentServer", options.limits, knownOfLimits)
  for (const part of options.expose ?? []) assertOneOf(subject, "a part of expose", part, Exposed.literals)
  assertOneOf(subject, "clientInstructions", options.clientInstructions, ["refuse", "append"])
  assertOneOf(subject, "playground", options.playground, [true, false])
}

/** This machine's own names. */
export const loopback: ReadonlyArray<string> = ["localhost", "127.0.0.1", "[::1]"]

/** Checks options. Throws `InvalidDefinition`. */
export const settingsOf = (options: ServerOptions, defaultHosts?: ReadonlyArray<string>, isLocal = false): Settings => {
  assertShape(options)
  const { limits = {} } = options
  const hosts = options.hosts ?? defaultHosts
  const rate = limits.rate
  if (options.prefix !== undefined && !/^\/[^?#]*[^/?#]$/.test(options.prefix)) {
    throw invalid(`prefix is "${options.prefix}"`, 'Give it a path such as "/agents"')
  }
  for (const origin of options.cors ?? []) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      throw invalid(`cors has "${origin}", which is not an origin`, 'Give it origins such as "https://app.example"')
    }
  }
  return {
    expose: options.expose ?? [],
    bearer: options.bearer,
    cors: new Set(options.cors),
    hosts: hosts === undefined ? undefined : new Set(hosts.map((host) => host.toLowerCase())),
    isLocal,
    checksOrigin: defaultHosts !== undefined,
    body: counted("limits.body", limits.body ?? 1024 * 1024),
    runs: counted("limits.runs", limits.runs ?? 256),
    waiting: counted("limits.waiting", limits.waiting ?? 1024, 0),
    waitMs: ms("limits.wait", limits.wait ?? "10 seconds"),
    timeMs: ms("limits.time", limits.time ?? "10 minutes"),
    answer: counted("limits.answer", limits.answer ?? 16 * 1024 * 1024),
    rate:
      rate === undefined
        ? undefined
        : { requests: counted("limits.rate.requests", rate.requests), perMs: ms("limits.rate.per", rate.per) },
    sessions: sessionsOf(limits.sessions),
    reconnectMs: ms("reconnect", options.reconnect ?? 0),
    clientInstructions: options.clientInstructions ?? "refuse",
    playground: options.playground ?? false,
    drainMs: ms("drain", options.drain ?? "10 seconds"),
    prefix: options.prefix ?? ""
  }
}
