/**
 * The program of the I/O thread that starts the thread of a model's program, and ends it where the program does not end by itself: a
 * loop inside of the engine's own code, such as a sort, cannot be interrupted from within.
 */
import { Worker } from "node:worker_threads"
import type { Start } from "../../../internal/io/threads/programs.ts"
import type { End } from "../../../../services/CodeEngine.ts"
import type { FromHost, FromProgram, HostArgs, ToProgram } from "./protocol.ts"

/** How long the engine may take to load. */
const loadMs = 30_000
/** How much later than its limit a program is ended that does not end by itself. */
const graceMs = 40
/** How long a thread may take to answer how long it has worked. */
const answerMs = 5000

/** Watches a thread: for so long by the clock, or for a turn by the time that the thread works. */
const watcher = (worker: Worker, turnMs: number, tooLong: () => void) => {
  let timer: NodeJS.Timeout | undefined
  /** How long the thread had worked when its last turn ended. */
  let worked: number | undefined
  const watch = (ms: number, late: () => void): NodeJS.Timeout => {
    clearTimeout(timer)
    return (timer = setTimeout(late, ms))
  }
  /** A machine that does other things meanwhile may take longer for it by the clock. */
  const watchTurn = (ms = turnMs): void => {
    watch(ms + graceMs, () => {
      const before = worked
      if (before === undefined) return tooLong()
      const asked = watch(answerMs, tooLong)
      worker.cpuUsage().then(({ system, user }) => {
        const left = turnMs - ((system + user) / 1000 - before)
        if (timer !== asked) return undefined
        return left > 0 ? watchTurn(left) : tooLong()
      }, tooLong)
    })
  }
  return {
    watch,
    watchTurn,
    /** Watches no more, as the thread says something and how long it has worked. */
    clear: (now: number | undefined) => {
      clearTimeout(timer)
      timer = undefined
      worked = now
    }
  }
}

export const start: Start = (post, args) => {
  const { given, source } = args as HostArgs
  const { turnMs } = given.program.limits
  const send = (message: FromHost) => post(message)
  const worker = new Worker(source, {
    eval: true,
    name: "troupe-code",
    env: {},
    execArgv: [],
    stdout: true,
    stderr: true,
    workerData: given,
    resourceLimits: { maxOldGenerationSizeMb: 64, stackSizeMb: 4 }
  })
  let isOver = false
  /** Turns that are under way or wait for theirs. */
  let turns = 1
  const stop = (reason: "Time" | "Lost", error: string) => {
    if (isOver) return
    finish()
    const end: End = { _tag: "Stopped", reason, error }
    send({ type: "turn", turn: { calls: [], console: "", end } })
  }
  const finish = () => {
    isOver = true
    clear(undefined)
    worker.terminate().catch(() => {})
  }
  const tooLong = () => stop("Time", `it ran for ${turnMs} ms without awaiting anything`)
  const { clear, watch, watchTurn } = watcher(worker, turnMs, tooLong)
  watch(loadMs, () => stop("Lost", `the engine was not ready after ${loadMs} ms`))
  worker.on("message", ({ worked, ...message }: FromProgram) => {
    if (isOver) return
    clear(worked)
    if (message.type === "ready") return watchTurn()
    turns--
    if (message.type === "turn" && message.turn.end === undefined) {
      if (turns > 0) watchTurn()
    } else finish()
    send(message)
  })
  worker.on("error", (error) => stop("Lost", `its thread failed: ${(error as Error).message}`))
  worker.on("exit", () => stop("Lost", "its thread ended"))
  return (message) => {
    if (message === "stop") return finish()
    if (isOver) return
    if (turns++ === 0) watchTurn()
    worker.postMessage(message as ToProgram)
  }
}
