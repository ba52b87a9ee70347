/** Standard output, kept for the protocol: while a server is there, all other writes go to standard error. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Writes to standard output as it was. */
export type Write = (chunk: Uint8Array, done: (error?: Error | null) => void) => void

/** A client that is gone must not end the process with a stack trace, however late that is noticed: it stays. */
const gone = () => {}

/** Who holds standard output, and its function as it was before the first of them. */
let held: { count: number; readonly original: typeof process.stdout.write } | undefined

const divert = (): Write => {
  const { stderr, stdout } = process
  const { original } = (held ??= { count: 0, original: stdout.write })
  held.count++
  stdout.write = stderr.write.bind(stderr)
  if (!stdout.listeners("error").includes(gone)) stdout.on("error", gone)
  return (chunk, done) => original.call(stdout, chunk, undefined, done)
}

const restore = () => {
  if (held === undefined || --held.count > 0) return
  process.stdout.write = held.original
  held = undefined
}

/** While the scope is open, all other writes to standard output go to standard error. */
export const takeOver: Effect.Effect<Write, never, Scope.Scope> = Effect.acquireRelease(Effect.sync(divert), () =>
  Effect.sync(restore)
)

/**
 * Runs an effect with its other output on standard error, for what is done before a server on stdio is there: loading a
 * module that may write to standard output, for example. `McpServer.serve` does the same by itself while it serves.
 *
 * @example
 * import { Effect } from "effect"
 * import { McpServer } from "troupe"
 *
 * const program = McpServer.keepingStdout(Effect.sync(() => console.log("to standard error")))
 */
export const keepingStdout = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(divert),
    () => effect,
    () => Effect.sync(restore)
  )
