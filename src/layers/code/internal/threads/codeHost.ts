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
  let timer: NodeJS.Timeout | undefined
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
    clearTimeout(timer)
    worker.terminate().catch(() => {})
  }
  const watch = (ms: number, late: () => void): NodeJS.Timeout => {
    clearTimeout(timer)
    return (timer = setTimeout(late, ms))
  }
  /** How long the thread had worked when its last turn ended. */
  let worked: number | undefined
  const tooLong = () => stop("Time", `it ran for ${turnMs} ms without awaiting anything`)
  /** Ends a turn that works for too long. A machine that does other things meanwhile may take longer for it by the clock. */
  const watchTurn = (ms = turnMs): void => {
    watch(ms + graceMs, () => {
      const before = worked
      if (before === undefined) return tooLong()
      const asked = watch(answerMs, tooLong)
      worker.cpuUsage().then(({ system, user }) => {
        if (timer !== asked) return
        const left = turnMs - ((system + user) / 1000 - before)
        if (left > 0) watchTurn(left)
        else tooLong()
      }, tooLong)
    })
  }
  watch(loadMs, () => stop("Lost", `the engine was not ready after ${loadMs} ms`))
  worker.on("message", ({ worked: now, ...message }: FromProgram) => {
    if (isOver) return
    worked = now
    if (message.type === "ready") return watchTurn()
    turns--
    clearTimeout(timer)
    timer = undefined
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
