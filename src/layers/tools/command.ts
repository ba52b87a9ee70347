/**
 * One command as a process in a group of its own, as an Effect: whoever interrupts it goes on when the group is gone. It
 * touches the I/O thread, whose program starts and ends the process.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Duration from "effect/Duration"
import * as Program from "../../internal/io/program.ts"

/** What is run. */
export interface Command {
  /** The program's absolute path. */
  readonly file: string
  readonly args: ReadonlyArray<string>
  readonly cwd: string
  /** All of its environment. */
  readonly env: Readonly<Record<string, string>>
  readonly input: string
  /** How many bytes of each output are kept. */
  readonly keep: number
  /** At how many bytes of output it is killed. */
  readonly most: number
  /** How long it has to end after SIGTERM. */
  readonly graceMs: number
}

/** How it ended. */
export interface Ended {
  readonly type: "ended"
  readonly exitCode: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  /** There was more output than was kept. */
  readonly cut: boolean
  readonly timedOut: boolean
}

/** It could not be started, or the I/O thread is gone. */
export interface NotRun {
  readonly type: "failed"
  readonly message: string
}

// In: run { command }, kill {}. Out, once: ended { ... }, failed { message }.
const source = `"use strict"
const { spawn } = require("node:child_process")
const kept = { stdout: [], stderr: [] }
const room = { stdout: 0, stderr: 0 }
let child, command, killer
let written = 0
let cut = false
const signal = (name) => {
  try { if (process.platform === "win32") child.kill(name); else process.kill(-child.pid, name) } catch {}
}
const kill = () => {
  if (child === undefined || child.pid === undefined || killer !== undefined) return
  signal("SIGTERM")
  killer = setTimeout(() => signal("SIGKILL"), command.graceMs)
}
const hear = (name) => {
  room[name] = command.keep
  child[name].on("error", () => {})
  child[name].on("data", (chunk) => {
    const fit = chunk.subarray(0, room[name])
    if (fit.length > 0) kept[name].push(Buffer.from(fit))
    if (fit.length < chunk.length) cut = true
    room[name] -= fit.length
    written += chunk.length
    if (written > command.most) signal("SIGKILL")
  })
}
const text = (name) => new TextDecoder().decode(Buffer.concat(kept[name]))
const run = () => {
  const { args, cwd, env, file, input } = command
  try { child = spawn(file, args, { cwd, env, detached: process.platform !== "win32", stdio: "pipe", windowsHide: true }) }
  catch (error) { post({ type: "failed", message: String(error && error.message) }); return }
  child.on("error", (error) => { if (child.pid === undefined) post({ type: "failed", message: String(error.message) }) })
  if (child.pid === undefined) return
  hear("stdout")
  hear("stderr")
  child.stdin.on("error", () => {})
  child.stdin.end(input)
  const closed = new Promise((resolve) => child.once("close", resolve))
  child.once("exit", (exitCode, by) => {
    clearTimeout(killer)
    killer = true
    // What it has left behind in its group.
    signal("SIGKILL")
    // A process that has left the group may hold the pipes open.
    const late = new Promise((resolve) => setTimeout(resolve, 500))
    Promise.race([closed, late]).then(() => {
      child.stdout.destroy()
      child.stderr.destroy()
      post({ type: "ended", exitCode, signal: by, stdout: text("stdout"), stderr: text("stderr"), cut })
    })
  })
}
return (message) => {
  if (message.type === "kill") kill()
  else { command = message.command; run() }
}
`

/** Runs a command; after `timeout` it is killed, and so it is on interruption. */
export const run = (command: Command, timeout: Duration.Duration): Effect.Effect<Ended, NotRun> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const end = Deferred.makeUnsafe<Omit<Ended, "timedOut">, NotRun>()
      const program = yield* Program.start(source, (heard) => {
        const said =
          heard._tag === "Message" ? (heard.message as Ended | NotRun) : { type: "failed" as const, ...heard }
        Deferred.doneUnsafe(end, said.type === "ended" ? Effect.succeed(said) : Effect.fail(said))
      })
      program.send({ type: "run", command })
      const ended = program.wait(Deferred.await(end))
      const kill = Effect.sync(() => program.send({ type: "kill" }))
      const stopped = Effect.andThen(kill, ended)
      return yield* restore(Effect.timeoutOption(ended, timeout)).pipe(
        Effect.onInterrupt(() => Effect.ignore(stopped)),
        Effect.flatMap((done) =>
          Option.isSome(done)
            ? Effect.succeed({ ...done.value, timedOut: false })
            : Effect.map(stopped, (value) => ({ ...value, timedOut: true }))
        ),
        Effect.ensuring(program.release)
      )
    })
  )
