/**
 * The part of the I/O thread's program that keeps the threads in which tools run, as text like the rest of it. One call
 * at a time has a thread to itself; further calls wait in order. It uses `post` of `workerSource.ts`.
 *
 * A call that is cancelled before its module is loaded is over, and its thread goes on loading, no longer than one may be
 * idle: otherwise a tool that has less time than its module takes could never be called.
 *
 * In: call { id, pool, url, export, params, context }, cancel { id }, close-pool { key }.
 * Out: progress { id, value }, result { id, value }, threw { id, name, message, failure }, unusable { id, message },
 * crashed { id, reason, message }, stopped { id }.
 */
import { toolSource } from "./toolSource.ts"

/** Defines `pooled(message)`: true when the message was one of the above. */
export const poolSource: string = `
const { Worker } = require("node:worker_threads")
const pools = new Map()
const calls = new Map()
const settle = (call, message) => { if (calls.delete(call.id)) { clearTimeout(call.timer); post({ ...message, id: call.id }) } }
const crash = (error, code) => {
  if (error && error.code === "ERR_WORKER_OUT_OF_MEMORY") return { type: "crashed", reason: "memory", message: "it ran out of memory" }
  if (error) return { type: "crashed", reason: "uncaught", message: "it was ended by an error that nobody caught: " + (error.stack ? String(error.message) : String(error)) }
  return { type: "crashed", reason: "exit", message: "it exited with code " + code }
}
const spawn = (pool) => {
  const worker = new Worker(${JSON.stringify(toolSource)}, {
    eval: true, name: "troupe-tool", execArgv: pool.execArgv, resourceLimits: pool.resourceLimits
  })
  const thread = { worker, call: undefined, error: undefined, timer: undefined, known: new Set() }
  pool.threads.add(thread)
  worker.on("message", (message) => {
    const { call } = thread
    if (call === undefined || message.id !== call.id) return
    if (message.type === "loaded") {
      thread.known.add(call.url)
      if (!call.cancelled) worker.postMessage({ type: "go", id: call.id })
    } else if (message.type === "progress") { if (!call.cancelled) post(message) }
    else { thread.call = undefined; settle(call, call.cancelled ? { type: "stopped" } : message); free(pool, thread) }
  })
  worker.on("error", (error) => { thread.error = error })
  worker.on("exit", (code) => {
    pool.threads.delete(thread)
    pool.idle = pool.idle.filter((one) => one !== thread)
    clearTimeout(thread.timer)
    const { call } = thread
    thread.call = undefined
    if (call !== undefined) settle(call, call.cancelled ? { type: "stopped" } : crash(thread.error, code))
    next(pool)
  })
  return thread
}
const expire = (pool, thread) => {
  clearTimeout(thread.timer)
  thread.timer = setTimeout(() => { pool.idle = pool.idle.filter((one) => one !== thread); thread.worker.terminate() }, pool.idleMs)
}
const isLeft = ({ call }) => call !== undefined && !calls.has(call.id)
const free = (pool, thread) => {
  if (pool.closed) { thread.worker.terminate(); return }
  pool.idle.push(thread)
  expire(pool, thread)
  next(pool)
}
const next = (pool) => {
  while (pool.queue.length > 0) {
    let thread = pool.idle.pop()
    if (thread === undefined) {
      if (pool.threads.size >= pool.size) {
        const other = [...pool.threads].find((one) => isLeft(one) && one.call.url !== pool.queue[0].url)
        if (other !== undefined) other.worker.terminate()
        return
      }
      try { thread = spawn(pool) } catch (error) { settle(pool.queue.shift(), { type: "unusable", message: String(error && error.message) }); continue }
    }
    clearTimeout(thread.timer)
    const call = pool.queue.shift()
    thread.call = call
    call.thread = thread
    thread.worker.postMessage({ type: "call", id: call.id, url: call.url, export: call.export, params: call.params, context: call.context })
  }
  if (pool.threads.size === 0) pools.delete(pool.key)
}
const poolOf = (options) => {
  let pool = pools.get(options.key)
  if (pool === undefined) { pool = { ...options, threads: new Set(), idle: [], queue: [], closed: false }; pools.set(pool.key, pool) }
  return pool
}
const pooled = (m) => {
  if (m.type === "call") {
    const pool = poolOf(m.pool)
    const call = { ...m, pool, cancelled: false, timer: undefined, thread: undefined }
    calls.set(m.id, call)
    pool.queue.push(call)
    next(pool)
  } else if (m.type === "cancel") {
    const call = calls.get(m.id)
    if (call === undefined || call.cancelled) return true
    call.cancelled = true
    const { pool, thread } = call
    if (thread === undefined) { pool.queue = pool.queue.filter((one) => one !== call); settle(call, { type: "stopped" }); next(pool); return true }
    thread.worker.postMessage({ type: "abort", id: call.id })
    if (!thread.known.has(call.url)) { settle(call, { type: "stopped" }); expire(pool, thread); next(pool); return true }
    call.timer = setTimeout(() => { thread.worker.terminate() }, pool.graceMs)
  } else if (m.type === "close-pool") {
    const pool = pools.get(m.key)
    if (pool !== undefined) { pool.closed = true; for (const thread of [...pool.idle, ...[...pool.threads].filter(isLeft)]) { clearTimeout(thread.timer); thread.worker.terminate() } pool.idle = [] }
  } else return false
  return true
}
`
