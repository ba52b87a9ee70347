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

type Asked = Extract<Request, { readonly type: "call" }> & { readonly id: number }

interface Call extends Omit<Asked, "pool"> {
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

/** Keeps the pools of one I/O thread. `source` is the program of their threads. Returns whether a message was for them. */
export const toolPools = (post: (message: CallMessage & { readonly id: number }) => void, source: string) => {
  const pools = new Map<number, Pool>()
  const calls = new Map<number, Call>()

  const settle = (call: Call, message: CallMessage): void => {
    if (!calls.delete(call.id)) return
    clearTimeout(call.timer)
    post({ ...message, id: call.id })
  }
  /** The call of a thread that goes on loading a module has been given up. */
  const isLeft = ({ call }: Thread): boolean => call !== undefined && !calls.has(call.id)

  const expire = (pool: Pool, thread: Thread): void => {
    clearTimeout(thread.timer)
    thread.timer = setTimeout(() => {
      pool.idle.delete(thread)
      void thread.worker.terminate()
    }, pool.idleMs)
  }
  const free = (pool: Pool, thread: Thread): void => {
    if (pool.closed) return void thread.worker.terminate()
    pool.idle.add(thread)
    expire(pool, thread)
    next(pool)
  }
  const receive = (pool: Pool, thread: Thread, message: CallMessage & { readonly id: number }): void => {
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
  const spawn = (pool: Pool): Thread => {
    const { execArgv, resourceLimits } = pool
    const worker = new Worker(source, {
      eval: true,
      name: "troupe-tool",
      execArgv: [...execArgv],
      ...(resourceLimits === undefined ? {} : { resourceLimits })
    })
    const thread: Thread = { worker, call: undefined, error: undefined, timer: undefined, known: new Set() }
    pool.threads.add(thread)
    worker.on("message", (message: CallMessage & { readonly id: number }) => receive(pool, thread, message))
    worker.on("error", (error) => void (thread.error = error as Error))
    worker.on("exit", (code) => {
      pool.threads.delete(thread)
      pool.idle.delete(thread)
      clearTimeout(thread.timer)
      const { call } = thread
      thread.call = undefined
      if (call !== undefined) settle(call, call.cancelled ? { type: "stopped" } : crash(thread, code))
      next(pool)
    })
    return thread
  }
  /** An idle thread, or a new one; none when there are as many as there may be. */
  const take = (pool: Pool, call: Call): Thread | undefined => {
    const idle = firstOf(pool.idle)
    if (idle !== undefined) {
      pool.idle.delete(idle)
      return idle
    }
    if (pool.threads.size < pool.size) return spawn(pool)
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
      thread.call = call
      call.thread = thread
      const { context, export: name, id, params, url } = call
      thread.worker.postMessage({ type: "call", id, url, export: name, params, context })
    }
    if (pool.threads.size === 0) pools.delete(pool.key)
  }
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
  const cancel = (call: Call): void => {
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
  const close = (pool: Pool): void => {
    pool.closed = true
    for (const thread of pool.threads) {
      if (!pool.idle.has(thread) && !isLeft(thread)) continue
      clearTimeout(thread.timer)
      void thread.worker.terminate()
    }
    pool.idle.clear()
  }

  return (message: { readonly type: string; readonly id: number }): boolean => {
    if (message.type === "call") {
      const asked = message as Asked
      const call: Call = { ...asked, pool: poolOf(asked.pool), cancelled: false, timer: undefined, thread: undefined }
      calls.set(call.id, call)
      call.pool.queue.add(call)
      next(call.pool)
    } else if (message.type === "cancel") {
      const call = calls.get(message.id)
      if (call !== undefined && !call.cancelled) cancel(call)
    } else if (message.type === "close-pool") {
      const pool = pools.get((message as unknown as { readonly key: number }).key)
      if (pool !== undefined) close(pool)
    } else return false
    return true
  }
}
