/** Commands that an agent elsewhere has its client run: each in a process group of its own, which ends with the run. */
import type { ChildProcess } from "node:child_process"
import { randomUUID } from "node:crypto"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { environment, makeHome, removeHome } from "../../../internal/process/environment.ts"
import { type ProcessGroup, processGroup } from "../../../internal/process/group.ts"
import { codes, failure, refuse, type RpcFailure } from "./rpc.ts"
import { CreateTerminal, reader, Terminal } from "./schema.ts"
import type { Spec } from "./agentSpec.ts"

/** How many commands there may be at once, and how many bytes of the output of each are kept. */
const maxTerminals = 16
const maxOutput = 1024 * 1024

interface Running {
  readonly child: ChildProcess
  readonly group: ProcessGroup
  readonly home: string
  readonly keep: number
  output: Buffer
  isCut: boolean
  ended: { readonly exitCode: number | null; readonly signal: string | null } | undefined
  readonly exited: Promise<void>
}

/** A command that was asked for. */
export interface Asked {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly keep: number
}

/** What an agent may do with commands. */
export interface Terminals {
  readonly asked: (params: unknown) => Effect.Effect<Asked, RpcFailure>
  readonly create: (asked: Asked) => Effect.Effect<object, RpcFailure>
  /** `terminal/output`, `terminal/wait_for_exit`, `terminal/kill` and `terminal/release`. */
  readonly use: (method: string, params: unknown) => Effect.Effect<object, RpcFailure>
}

const createParams = reader(CreateTerminal)
const terminalParams = reader(Terminal)

/** The commands of an agent, which end with the scope; `undefined` where it may run none. */
export const terminalsOf = (spec: Spec): Effect.Effect<Terminals | undefined, never, Scope.Scope> => {
  if (!spec.terminals) return Effect.succeed(undefined)
  /** `undefined`: one that is being started. */
  const open = new Map<string, Running | undefined>()
  const release = (id: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      const running = open.get(id)
      open.delete(id)
      return running === undefined ? Effect.void : Effect.promise(() => end(running))
    })
  const given = (params: unknown): Effect.Effect<readonly [id: string, running: Running], RpcFailure> =>
    Effect.flatMap(terminalParams(params), ({ terminalId }) => {
      const running = open.get(terminalId)
      return running === undefined
        ? refuse(codes.notFound, "There is no such terminal.")
        : Effect.succeed([terminalId, running] as const)
    })
  const terminals: Terminals = {
    asked: (params) => Effect.map(createParams(params), (params) => askedOf(spec, params)),
    create: (asked) =>
      Effect.suspend(() => {
        if (open.size >= maxTerminals) return refuse(codes.internal, `There are ${maxTerminals} terminals already.`)
        const terminalId = `term_${randomUUID()}`
        open.set(terminalId, undefined)
        return begin(asked).pipe(
          Effect.tapError(() => Effect.sync(() => open.delete(terminalId))),
          Effect.map((running) => {
            open.set(terminalId, running)
            return { terminalId }
          })
        )
      }).pipe(Effect.uninterruptible),
    use: (method, params) =>
      Effect.flatMap(given(params), ([id, running]): Effect.Effect<object, RpcFailure> => {
        switch (method) {
          case "terminal/output":
            return Effect.sync(() => outputOf(running))
          case "terminal/wait_for_exit":
            return Effect.map(
              Effect.promise(() => running.exited),
              () => running.ended ?? {}
            )
          case "terminal/kill":
            return Effect.as(
              Effect.promise(() => kill(running)),
              {}
            )
          default:
            return Effect.as(release(id), {})
        }
      })
  }
  return Effect.as(
    Effect.addFinalizer(() => Effect.forEach([...open.keys()], release, { concurrency: "unbounded", discard: true })),
    terminals
  )
}

const askedOf = (spec: Spec, params: typeof CreateTerminal.Type): Asked => ({
  command: params.command,
  args: params.args ?? [],
  env: Object.fromEntries((params.env ?? []).map(({ name, value }) => [name, value])),
  cwd: path.resolve(spec.cwd, params.cwd ?? "."),
  keep: Math.min(params.outputByteLimit ?? maxOutput, maxOutput)
})

const begin = ({ args, command, cwd, env, keep }: Asked): Effect.Effect<Running, RpcFailure> =>
  Effect.tryPromise({
    try: async () => {
      const group = processGroup()
      const home = makeHome()
      const id = randomUUID()
      try {
        const child = group.start({
          command,
          args,
          cwd,
          env: { ...environment({ cwd, env }, home), TROUPE_RUN: id },
          mark: `TROUPE_RUN=${id}`
        })
        const running = watched(child, group, home, keep)
        await new Promise<void>((resolve, reject) => {
          child.once("spawn", resolve)
          child.once("error", reject)
        })
        return running
      } catch (error) {
        removeHome(home)
        await group.dismiss()
        throw error
      }
    },
    catch: (cause) =>
      failure(codes.internal, `It cannot be started (${(cause as NodeJS.ErrnoException).code ?? "unknown"}).`)
  })

const watched = (child: ChildProcess, group: ProcessGroup, home: string, keep: number): Running => {
  const exited = new Promise<void>((resolve) => {
    child.once("close", (exitCode, signal) => {
      running.ended = { exitCode, signal }
      resolve()
    })
    child.on("error", () => resolve())
  })
  const running: Running = { child, group, home, keep, output: Buffer.alloc(0), isCut: false, ended: undefined, exited }
  const take = (chunk: Buffer) => {
    running.output = Buffer.concat([running.output, chunk])
    if (running.output.length <= keep) return
    running.isCut = true
    running.output = Buffer.from(running.output.subarray(-keep))
  }
  child.stdin?.on("error", () => {})
  child.stdin?.end()
  for (const pipe of [child.stdout, child.stderr]) {
    pipe?.on("error", () => {})
    pipe?.on("data", take)
  }
  return running
}

/** The protocol wants a text: a character that the limit has cut in two is left out. */
const outputOf = ({ ended, isCut, output }: Running): object => {
  const text = output.toString("utf8")
  return {
    output: isCut ? text.replace(/^\ufffd+/, "") : text,
    truncated: isCut,
    ...(ended === undefined ? {} : { exitStatus: ended })
  }
}

const kill = async ({ exited, group }: Running): Promise<void> => {
  group.signal("SIGKILL")
  await group.sweep()
  await Promise.race([exited, sleep(1000, undefined, { ref: false })])
}

const end = async (running: Running): Promise<void> => {
  await kill(running)
  await running.group.dismiss()
  for (const pipe of [running.child.stdout, running.child.stderr]) pipe?.destroy()
  removeHome(running.home)
}
