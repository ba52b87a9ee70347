/**
 * The thread of one program: QuickJS in WebAssembly, in which the program has the functions of its tools and `console`, and
 * nothing else. Each message in gives one turn out. `codeHost.ts` watches it from the I/O thread.
 */
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { parentPort, workerData } from "node:worker_threads"
import type { HostFunction, JSValueHandle, QuickJS as Vm } from "quickjs-wasi"
import type { Called, End } from "../../../../services/CodeEngine.ts"
import type { FromProgram, Given, ToProgram } from "./protocol.ts"

const { module, program, wasm } = workerData as Given
const { limits, names, now, source } = program

/** How much of `console` is kept for a turn: its end. */
const maxConsole = 8_000

/**
 * Gives the function that starts the program. What it uses is taken before the program could change it. A failed call throws an error
 * with the name and the message of the failure.
 */
const prelude = `((names, call, end, write) => {
  delete globalThis.Atomics
  const { parse, stringify } = JSON, { freeze, defineProperty } = Object, text = String, Failure = Error
  const tools = {}
  for (const name of parse(names)) {
    defineProperty(tools, name, { enumerable: true, value: async (params = {}) => {
      const { isFailure, value } = parse(await call(name, stringify(params) ?? "null"))
      if (!isFailure) return value
      const error = new Failure(value.message)
      error.name = value.name
      throw error
    } })
  }
  const line = (value) => {
    if (typeof value === "string") return value
    if (value instanceof Failure) return value.name + ": " + value.message
    try { return stringify(value) ?? text(value) } catch { return text(value) }
  }
  const log = (...values) => write(values.map(line).join(" ") + "\\n")
  defineProperty(globalThis, "tools", { value: freeze(tools) })
  defineProperty(globalThis, "console", { value: freeze({ log, info: log, warn: log, error: log, debug: log }) })
  const at = (stack) => { const found = /program\\.js:(\\d+)/.exec(text(stack)); return found ? " (line " + (found[1] - 1) + ")" : "" }
  return (main) => main().then(
    (value) => end(true, stringify(value) ?? "null"),
    (e) => end(false, e instanceof Failure ? e.name + ": " + e.message + at(e.stack) : "threw " + line(e)))
})`

const post = (message: FromProgram) => parentPort!.postMessage(message)

const clock = (memory: { readonly buffer: ArrayBuffer }) => ({
  // One clock for dates and for the seed of random numbers: when the run is made again, the program sees the same.
  clock_time_get: (_: number, __: bigint, at: number) => {
    new DataView(memory.buffer).setBigUint64(at, BigInt(now) * 1_000_000n, true)
    return 0
  }
})

const thread = process as unknown as {
  readonly threadCpuUsage?: () => { readonly user: number; readonly system: number }
}
/** The time that this thread has worked, in milliseconds; by the wall where the platform cannot tell. */
const worked = (): number => {
  const used = thread.threadCpuUsage?.()
  return used === undefined ? performance.now() : (used.user + used.system) / 1000
}

/** Whether the program has worked for too long without awaiting. */
const time = { until: Infinity, isOver: false, looks: 0 }
/** Asked at every few instructions: looking at the clock costs more than they do. */
const interruptHandler = (): boolean => {
  if (time.isOver || ++time.looks % 64 !== 0) return time.isOver
  return (time.isOver = worked() > time.until)
}

/** The end of a program that the engine has stopped, or that could not be read. */
const stopped = (error: unknown): End => {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  if (time.isOver) {
    return { _tag: "Stopped", reason: "Time", error: `it ran for ${limits.turnMs} ms without awaiting anything` }
  }
  return /out of memory|RuntimeError|memory access/.test(text)
    ? { _tag: "Stopped", reason: "Memory", error: `it used more than ${limits.memory} bytes of memory` }
    : { _tag: "Threw", error: text }
}

/** What the program has done in its turn, and the calls that are open. */
const state = {
  open: new Map<number, ReturnType<Vm["newPromise"]>>(),
  calls: [] as Array<Called>,
  written: "",
  count: 0,
  end: undefined as End | undefined
}

/** Does what `work` does in the program, and what follows from it, until it awaits or ends. */
const turn = (vm: Vm, work: () => void): void => {
  state.calls = []
  state.written = ""
  time.until = worked() + limits.turnMs
  try {
    work()
    vm.executePendingJobs()
  } catch (error) {
    state.end ??= stopped(error)
  }
  if (time.isOver) state.end = stopped(undefined)
  const { calls, end, written } = state
  post({ type: "turn", turn: { calls, console: written, end } })
}

/** The functions that the prelude is given. */
const functionsOf = (vm: Vm): ReadonlyArray<JSValueHandle> => {
  const call = (name: JSValueHandle, params: JSValueHandle): JSValueHandle => {
    const promise = vm.newPromise()
    state.open.set(state.count, promise)
    state.calls.push({ n: state.count++, name: name.toString(), params: params.toString() })
    return promise.handle
  }
  const end = (ok: JSValueHandle, given: JSValueHandle): JSValueHandle => {
    const text = given.toString()
    const failed = (): End => (/out of memory/.test(text) ? stopped(text) : { _tag: "Threw", error: text })
    state.end = ok.toBoolean() ? { _tag: "Returned", value: text } : failed()
    return vm.undefined
  }
  const write = (text: JSValueHandle): JSValueHandle => {
    state.written = (state.written + text.toString()).slice(-maxConsole)
    return vm.undefined
  }
  const made = Object.entries({ call, end, write }).map(([name, f]) => vm.newFunction(name, f as HostFunction))
  return [vm.newString(JSON.stringify(names)), ...made]
}

const start = async (): Promise<void> => {
  const { QuickJS } = createRequire(module)(module) as typeof import("quickjs-wasi")
  const vm: Vm = await QuickJS.create({
    wasm: fs.readFileSync(wasm),
    memoryLimit: limits.memory,
    timezoneOffset: 0,
    interruptHandler,
    wasi: clock
  })
  post({ type: "ready" })
  turn(vm, () => {
    const begin = vm.callFunction(vm.evalCode(prelude), vm.undefined, ...functionsOf(vm))
    vm.callFunction(begin, vm.undefined, vm.evalCode(`(async () => {\n${source}\n})`, "program.js"))
  })
  parentPort!.on("message", ({ isFailure, json, n }: ToProgram) =>
    turn(vm, () => {
      const promise = state.open.get(n)
      state.open.delete(n)
      promise?.resolve(vm.newString(`{"isFailure":${isFailure},"value":${json}}`))
    })
  )
}

start().catch((error: unknown) =>
  post({ type: "unusable", message: error instanceof Error ? error.message : String(error) })
)
