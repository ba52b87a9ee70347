/**
 * The threads that tools run in, as children of the I/O thread: it can watch them while the main thread is blocked. One
 * call at a time has a thread to itself; further calls wait in order.
 *
 * A call that is cancelled before its module is loaded is over, and its thread goes on loading, no longer than one may be
 * idle: otherwise a tool that has less time than its module takes could never be called.
 *
 * In: call { id, pool, url, export, params, context }, cancel { id }, close-pool { key }. Out: what `toolMain.ts` says,
 * crashed { id, reason, message }.
 */
import { Worker } from "node:worker_threads"
import type { CallMessage, PoolOptions, Request } from "../ioWorker.ts"

type CallRequest = Extract<Request, { readonly type: "call" }> & { readonly id: number }

interface Call extends Omit<CallRequest, "pool"> {
  readonly pool: Pool
  cancelled: boolean
  timer: NodeJS.Timeout | undefined
  thread: Thread | undefined
}

interface Thread {
  readonly worker: Worker
  call: Call | undefined
  error: (Error & { readonly code?: string }) | undefined
  timer: NodeJS.Timeout | undefined
  readonly known: Set<string>
}

interface Pool extends PoolOptions {
  readonly threads: Set<Thread>
  readonly idle: Set<Thread>
  /** A set, so that one of many can be taken out of the middle. */
  readonly queue: Set<Call>
  closed: boolean
}

const crash = ({ error }: Thread, code: number): CallMessage => {
  if (error?.code === "ERR_WORKER_OUT_OF_MEMORY")
    return { type: "crashed", reason: "memory", message: "it ran out of memory" }
  return error === undefined
    ? { type: "crashed", reason: "exit", message: `it exited with code ${code}` }
    : { type: "crashed", reason: "uncaught", message: `it was ended by an uncaught error: ${error.message ?? error}` }
}

const firstOf = <A>(set: ReadonlySet<A>): A | undefined => set.values().next().value

type Post = (message: CallMessage & { readonly id: number }) => void

/** Calls that have not ended, and how each ends: once. */
interface Calls {
  readonly post: Post
  readonly add: (call: Call) => void
  readonly get: (id: number) => Call | undefined
  readonly settle: (call: Call, message: CallMessage) => void
  /** The call of a thread that goes on loading a module has been given up. */
  readonly isLeft: (thread: Thread) => boolean
}

const makeCalls = (post: Post): Calls => {
  const calls = new Map<number, Call>()
  return {
    post,
    add: (call) => void calls.set(call.id, call),
    get: (id) => calls.get(id),
    settle: (call, message) => {
      if (!calls.delete(call.id)) return
      clearTimeout(call.timer)
      post({ ...message, id: call.id })
    },
    isLeft: ({ call }) => call !== undefined && !calls.has(call.id)
  }
}

const expire = (pool: Pool, thread: Thread): void => {
  clearTimeout(thread.timer)
  thread.timer = setTimeout(() => {
    pool.idle.delete(thread)
    void thread.worker.terminate()
  }, pool.idleMs)
}

/** Ends the threads of a pool that have nothing to do; the others end when their call has. */
const close = (pool: Pool, isLeft: Calls["isLeft"]): void => {
  pool.closed = true
  for (const thread of pool.threads) {
    if (!pool.idle.has(thread) && !isLeft(thread)) continue
    clearTimeout(thread.timer)
    void thread.worker.terminate()
  }
  pool.idle.clear()
}

/** What a thread says, and its end. */
interface Listener {
  readonly receive: (pool: Pool, thread: Thread, message: CallMessage & { readonly id: number }) => void
  readonly exited: (pool: Pool, thread: Thread, code: number) => void
}

const spawn = (program: string, pool: Pool, listener: Listener): Thread => {
  const { execArgv, resourceLimits } = pool
  const worker = new Worker(program, {
    eval: true,
    name: "troupe-tool",
    execArgv: [...execArgv],
    ...(resourceLimits === undefined ? {} : { resourceLimits })
  })
  const thread: Thread = { worker, call: undefined, error: undefined, timer: undefined, known: new Set() }
  pool.threads.add(thread)
  worker.on("message", (message: CallMessage & { readonly id: number }) => listener.receive(pool, thread, message))
  worker.on("error", (error) => void (thread.error = error as Error))
  worker.on("exit", (code) => listener.exited(pool, thread, code))
  return thread
}

/** Gives calls that wait to threads that are free; `program` is what a thread runs. */
const dispatcher = (program: string, calls: Calls, onEmpty: (pool: Pool) => void) => {
  const { isLeft, post, settle } = calls
  const free = (pool: Pool, thread: Thread): void => {
    if (pool.closed) return void thread.worker.terminate()
    pool.idle.add(thread)
    expire(pool, thread)
    next(pool)
  }
  const receive: Listener["receive"] = (pool, thread, message) => {
    const { call } = thread
    if (call === undefined || message.id !== call.id) return
    if ((message.type as string) === "loaded") {
      thread.known.add(call.url)
      if (!call.cancelled) thread.worker.postMessage({ type: "go", id: call.id })
    } else if (message.type === "progress") {
      if (!call.cancelled) post(message)
    } else {
      thread.call = undefined
      settle(call, call.cancelled ? { type: "stopped" } : message)
      free(pool, thread)
    }
  }
  const exited: Listener["exited"] = (pool, thread, code) => {
    pool.threads.delete(thread)
    pool.idle.delete(thread)
    clearTimeout(thread.timer)
    const { call } = thread
    thread.call = undefined
    if (call !== undefined) settle(call, call.cancelled ? { type: "stopped" } : crash(thread, code))
    next(pool)
  }
  /** An idle thread, or a new one; none when there are as many as there may be. */
  const take = (pool: Pool, call: Call): Thread | undefined => {
    const idle = firstOf(pool.idle)
    if (idle !== undefined && pool.idle.delete(idle)) return idle
    if (pool.threads.size < pool.size) return spawn(program, pool, { receive, exited })
    const left = [...pool.threads].find((one) => isLeft(one) && one.call?.url !== call.url)
    void left?.worker.terminate()
    return undefined
  }
  const next = (pool: Pool): void => {
    for (let call = firstOf(pool.queue); call !== undefined; call = firstOf(pool.queue)) {
      let thread: Thread | undefined
      try {
        thread = take(pool, call)
      } catch (error) {
        pool.queue.delete(call)
        settle(call, { type: "unusable", message: error instanceof Error ? error.message : String(error) })
        continue
      }
      if (thread === undefined) return
      clearTimeout(thread.timer)
      pool.queue.delete(call)
      start(thread, call)
    }
    if (pool.threads.size === 0) onEmpty(pool)
  }
  return next
}

const start = (thread: Thread, call: Call): void => {
  thread.call = call
  call.thread = thread
  const { context, export: name, id, params, url } = call
  thread.worker.postMessage({ type: "call", id, url, export: name, params, context })
}

const cancel = (call: Call, settle: Calls["settle"], next: (pool: Pool) => void): void => {
  call.cancelled = true
  const { pool, thread } = call
  if (thread === undefined) {
    pool.queue.delete(call)
    settle(call, { type: "stopped" })
    return next(pool)
  }
  thread.worker.postMessage({ type: "abort", id: call.id })
  if (!thread.known.has(call.url)) {
    settle(call, { type: "stopped" })
    expire(pool, thread)
    return next(pool)
  }
  call.timer = setTimeout(() => void thread.worker.terminate(), pool.graceMs)
}

/** Keeps the pools of one I/O thread. `program` is what their threads run. Returns whether a message was for them. */
export const toolPools = (post: Post, program: string) => {
  const pools = new Map<number, Pool>()
  const calls = makeCalls(post)
  const next = dispatcher(program, calls, (pool) => void pools.delete(pool.key))
  const poolOf = (options: PoolOptions): Pool => {
    const pool = pools.get(options.key) ?? {
      ...options,
      threads: new Set<Thread>(),
      idle: new Set<Thread>(),
      queue: new Set<Call>(),
      closed: false
    }
    pools.set(pool.key, pool)
    return pool
  }

  return (message: { readonly type: string; readonly id: number }): boolean => {
    if (message.type === "call") {
      const asked = message as CallRequest
      const call: Call = { ...asked, pool: poolOf(asked.pool), cancelled: false, timer: undefined, thread: undefined }
      calls.add(call)
      call.pool.queue.add(call)
      next(call.pool)
    } else if (message.type === "cancel") {
      const call = calls.get(message.id)
      if (call !== undefined && !call.cancelled) cancel(call, calls.settle, next)
    } else if (message.type === "close-pool") {
      const pool = pools.get((message as unknown as { readonly key: number }).key)
      if (pool !== undefined) close(pool, calls.isLeft)
    } else return false
    return true
  }
}
