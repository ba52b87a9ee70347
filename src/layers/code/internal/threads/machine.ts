/**
 * One program in an instance of QuickJS, in which it has the functions of its tools and `console`, and nothing else. Where it runs is up
 * to who makes it: `codeMain.ts` in a thread, `inline.ts` where there are none.
 */
import type { Called, End, Program, Turn } from "../../../../services/CodeEngine.ts"

/** A value in the engine. */
interface Handle {
  readonly toString: () => string
  readonly toBoolean: () => boolean
}

/** What is used of `quickjs-wasi`, whose types are there only where it is installed. */
interface Vm {
  readonly undefined: Handle
  readonly newString: (text: string) => Handle
  readonly newFunction: (name: string, f: (...args: ReadonlyArray<Handle>) => Handle) => Handle
  readonly newPromise: () => { readonly handle: Handle; readonly resolve: (value: Handle) => void }
  readonly evalCode: (source: string, file?: string) => Handle
  readonly callFunction: (f: Handle, self: Handle, ...args: ReadonlyArray<Handle>) => Handle
  readonly executePendingJobs: () => unknown
  readonly dispose: () => void
}

/** How an instance is made. */
interface VmOptions {
  readonly wasm: object
  readonly memoryLimit: number
  readonly timezoneOffset: number
  readonly interruptHandler: () => boolean
  readonly wasi: (memory: { readonly buffer: ArrayBufferLike }) => object
}

/** What makes an instance of the engine. */
export interface Made {
  readonly create: (options: VmOptions) => Promise<Vm>
  /** The WebAssembly of the engine: its bytes, or compiled. */
  readonly wasm: object
  /** The time that the program has worked so far, in milliseconds. */
  readonly worked: () => number
}

/** A program in its instance. Each function gives what the program did until it awaited or ended. */
export interface Machine {
  readonly start: () => Turn
  readonly answer: (n: number, isFailure: boolean, json: string) => Turn
  readonly dispose: () => void
}

/** How often a loop is asked in a millisecond, for platforms whose clock stands still while code runs, such as Cloudflare's Workers. */
const looksPerMs = 20

/** How much of `console` is kept for a turn: its end. */
const maxConsole = 8_000

/**
 * Returns the function that starts the program. What it uses is taken before the program could change it. A failed call throws an error
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

/** What a program has done in the turn that is under way, and the calls of all turns that wait. */
interface State {
  readonly open: Map<number, ReturnType<Vm["newPromise"]>>
  calls: Array<Called>
  written: string
  count: number
  end: End | undefined
}

/** What the prelude is given: to call a tool, to end, and to write. */
const functions = (vm: Vm, state: State, stopped: (error: unknown) => End): ReadonlyArray<Handle> => {
  const call = (name: Handle, params: Handle): Handle => {
    const promise = vm.newPromise()
    state.open.set(state.count, promise)
    state.calls.push({ n: state.count++, name: name.toString(), params: params.toString() })
    return promise.handle
  }
  const end = (ok: Handle, given: Handle): Handle => {
    const text = given.toString()
    const failed = (): End => (/out of memory/.test(text) ? stopped(text) : { _tag: "Threw", error: text })
    state.end = ok.toBoolean() ? { _tag: "Returned", value: text } : failed()
    return vm.undefined
  }
  const write = (text: Handle): Handle => {
    state.written = (state.written + text.toString()).slice(-maxConsole)
    return vm.undefined
  }
  return Object.entries({ call, end, write }).map(([name, f]) =>
    vm.newFunction(name, f as Parameters<Vm["newFunction"]>[1])
  )
}

/** Makes an instance for a program, which has not begun. */
export const make = async (program: Program, { create, wasm, worked }: Made): Promise<Machine> => {
  const { limits, names, now, source } = program
  /** Whether the program has worked for too long without awaiting. */
  const time = { begun: 0, isOver: false, looks: 0 }
  const vm: Vm = await create({
    wasm,
    memoryLimit: limits.memory,
    timezoneOffset: 0,
    // Asked at every few instructions: looking at the clock costs more than they do.
    interruptHandler: () => {
      if (time.isOver || ++time.looks % 64 !== 0) return time.isOver
      const spent = worked() - time.begun
      return (time.isOver = spent > limits.turnMs || (spent === 0 && time.looks > limits.turnMs * looksPerMs))
    },
    wasi: (memory) => clockAt(now, memory)
  })
  const stopped = (error: unknown): End => {
    if (!time.isOver) return ended(error, limits.memory)
    return { _tag: "Stopped", reason: "Time", error: `it ran for ${limits.turnMs} ms without awaiting anything` }
  }
  const state: State = { open: new Map(), calls: [], written: "", count: 0, end: undefined }
  /** Does what `work` does in the program, and what follows from it, until it awaits or ends. */
  const turn = (work: () => void): Turn => {
    state.calls = []
    state.written = ""
    time.begun = worked()
    time.looks = 0
    try {
      work()
      vm.executePendingJobs()
    } catch (error) {
      state.end ??= stopped(error)
    }
    if (time.isOver) state.end = stopped(undefined)
    return { calls: state.calls, console: state.written, end: state.end }
  }
  return {
    start: () =>
      turn(() => {
        const begin = vm.callFunction(
          vm.evalCode(prelude),
          vm.undefined,
          vm.newString(JSON.stringify(names)),
          ...functions(vm, state, stopped)
        )
        vm.callFunction(begin, vm.undefined, vm.evalCode(`(async () => {\n${source}\n})`, "program.js"))
      }),
    answer: (n, isFailure, json) =>
      turn(() => {
        const promise = state.open.get(n)
        state.open.delete(n)
        promise?.resolve(vm.newString(`{"isFailure":${isFailure},"value":${json}}`))
      }),
    dispose: () => vm.dispose()
  }
}

/** One clock for dates and for the seed of random numbers: when the run is made again, the program sees the same. */
const clockAt = (now: number, memory: { readonly buffer: ArrayBufferLike }) => ({
  clock_time_get: (_: number, __: bigint, at: number) => {
    new DataView(memory.buffer).setBigUint64(at, BigInt(now) * 1_000_000n, true)
    return 0
  }
})

/** The end of a program that the engine has stopped, or that could not be read. */
const ended = (error: unknown, memory: number): End => {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return /out of memory|RuntimeError|memory access/.test(text)
    ? { _tag: "Stopped", reason: "Memory", error: `it used more than ${memory} bytes of memory` }
    : { _tag: "Threw", error: text }
}
