/** The process of an agent, and the connection to it. It ends with the scope, with all that it has started. */
import { randomUUID } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { oneLine } from "../../../../internal/text.ts"
import { type LineProcess, lineProcess } from "../../../internal/process/lineProcess.ts"
import { programDirectories } from "../../../internal/process/environment.ts"
import { AcpAgentError } from "./acpError.ts"
import { codes, failure, type Handlers, make, type Peer, type RpcFailure } from "./rpc.ts"
import type { Spec } from "./agentSpec.ts"

/** A connection to an agent. */
export interface Connection<R> {
  readonly peer: Peer<R>
  /** An error of the agent, with what its process has said. */
  readonly error: (reason: AcpAgentError["reason"], detail: string) => AcpAgentError
  /** The same for a failed request. */
  readonly ofRpc: (given: RpcFailure, doing: string) => AcpAgentError
}

/** How many characters may wait to be read before the process has to wait, and at how few it goes on. */
const highWater = 1024 * 1024
const lowWater = 256 * 1024
/** How many lines of its output may be something else than messages. */
const maxJunk = 1000

type Hooks<R> = Pick<Handlers<R>, "request" | "notification">

/** Starts the process and connects to it. `broken` is called when it cannot go on. */
export const open = <R>(
  spec: Spec,
  hooks: Hooks<R>,
  broken: (error: AcpAgentError) => void
): Effect.Effect<Connection<R>, AcpAgentError, R | Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const lines = yield* Queue.unbounded<string>()
    const reading = limitedReading(spec, lines)
    const process = lineProcess(commandOf(spec), {
      line: (line) => reading.line(process, line, () => broken(error("too-large", tooLarge(spec)))),
      error: () => process.isTooLong() && broken(error("too-large", tooLarge(spec))),
      closed: () => {
        broken(error("ended", endOf(process)))
        peer.close(failure(codes.closed, "its process has ended"))
      }
    })
    const error = (reason: AcpAgentError["reason"], detail: string): AcpAgentError =>
      new AcpAgentError({ agent: spec.name, reason, detail, stderr: saidBy(spec, process) })
    let junk = 0
    const peer = make<R>(
      {
        ...hooks,
        send: (line) => Effect.ignore(Effect.tryPromise(() => process.write(`${line}\n`))),
        unreadable: () =>
          Effect.sync(() => {
            if (++junk === maxJunk) broken(error("unreadable", "Its output is not ACP."))
          })
      },
      scope
    )
    yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => process.start(),
        catch: (cause) => {
          const code = (cause as NodeJS.ErrnoException).code ?? "unknown"
          return error("unstartable", `It cannot be started (${code}).`)
        }
      }),
      () => Effect.promise(() => process.close())
    )
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.flatMap(Queue.take(lines), (line) => Effect.andThen(reading.took(process, line), peer.take(line)))
      )
    )
    return { peer, error, ofRpc: (given, doing) => ofRpc(spec, error, given, doing) }
  })

/** Counts what comes: in sum, and what waits. */
const limitedReading = ({ limit }: Spec, lines: Queue.Enqueue<string>) => {
  let total = 0
  let waiting = 0
  let isPaused = false
  return {
    line: (process: LineProcess, line: string, over: () => void): void => {
      total += line.length
      if (total > limit) return over()
      waiting += line.length
      Queue.offerUnsafe(lines, line)
      if (waiting > highWater && !isPaused) {
        isPaused = true
        process.pause()
      }
    },
    took: (process: LineProcess, line: string): Effect.Effect<void> =>
      Effect.sync(() => {
        waiting -= line.length
        if (isPaused && waiting < lowWater) {
          isPaused = false
          process.resume()
        }
      })
  }
}

const tooLarge = ({ limit }: Spec): string => `It sent more than ${limit} characters.`

const endOf = (process: LineProcess): string => {
  const end = process.end()
  if (end === undefined) return "Its process has ended."
  return end.signal === undefined
    ? `Its process ended with code ${end.exitCode ?? 0}.`
    : `Its process was ended by ${end.signal}.`
}

const ofRpc = (
  spec: Spec,
  error: Connection<never>["error"],
  { code, message }: RpcFailure,
  doing: string
): AcpAgentError => {
  if (code === codes.closed) return error("ended", `It closed the connection while ${doing}.`)
  const said = oneLine(withoutSecrets(spec, message)).slice(0, 500)
  if (code === codes.unauthorized) return error("unauthorized", `It wants to be signed in first: ${said}.`)
  if (code === codes.invalidParams && message.startsWith("The message does not fit")) {
    return error("unreadable", `What it sent while ${doing} is not ACP.`)
  }
  return error("refused", `It refused while ${doing} (${code}): ${said}.`)
}

/** Programs need these to start at all. */
const passed = ["TZ", "LANG", "SystemRoot", "PATHEXT", "ComSpec", "TMPDIR", "TEMP"]

/** The whole environment: what programs need to start, and what the program gives. */
const commandOf = (spec: Spec) => {
  const given = Object.fromEntries(Object.entries(spec.env).map(([name, value]) => [name, plain(value)]))
  const own = Object.fromEntries(
    passed.flatMap((name) => {
      const value = globalThis.process.env[name]
      return value === undefined ? [] : [[name, value] as const]
    })
  )
  const id = randomUUID()
  return {
    command: spec.command,
    args: spec.args,
    cwd: spec.cwd,
    env: {
      ...own,
      PATH: programDirectories({ cwd: spec.cwd, env: given }).join(globalThis.process.platform === "win32" ? ";" : ":"),
      ...given,
      TROUPE_AGENT: id
    },
    mark: `TROUPE_AGENT=${id}`,
    maxLineBytes: spec.limit,
    graceMs: spec.graceMs
  }
}

const plain = (value: string | Redacted.Redacted<string>): string =>
  Redacted.isRedacted(value) ? Redacted.value(value) : value

/** The end of what it wrote to standard error. */
const saidBy = (spec: Spec, process: LineProcess): string => oneLine(withoutSecrets(spec, process.stderr())).slice(-500)

/** What the agent says, without the secrets that it was given. */
const withoutSecrets = ({ env }: Spec, said: string): string => {
  let clean = said
  for (const value of Object.values(env)) {
    const secret = Redacted.isRedacted(value) ? Redacted.value(value) : ""
    if (secret.length > 3) clean = clean.replaceAll(secret, "<redacted>")
  }
  return clean
}
