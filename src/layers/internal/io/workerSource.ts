/**
 * The program of the I/O thread, as text: it needs nothing but Node, so it is found from sources, a build, a packed
 * install and any bundle alike. It speaks with `IoWorker.ts` and touches nothing else. The threads that tools run in are
 * its children: it can watch them while the main thread is blocked.
 *
 * In: fetch { id, method, url, headers, body, credit, address, redirect }, resolve { id, host }, credit { id, n },
 *   abort { id }; what `poolSource.ts` and `programSource.ts` list; for tests crash {}, block {}.
 * Out: head { id, status, url, headers }, resolved { id, addresses }, chunk { id, data }, end { id },
 *   failed { id, message, code }.
 *
 * Each message out raises word 0 of the shared memory and wakes whoever waits for it. Word 1 is the heartbeat, word 2
 * is set when the thread ends.
 */
import { poolSource } from "./poolSource.ts"
import { programSource } from "./programSource.ts"

/** The program. */
export const workerSource: string = `"use strict"
const { workerData } = require("node:worker_threads")
const { ca, memory, port } = workerData
if (ca !== undefined) require("node:tls").setDefaultCACertificates(ca)
const words = new Int32Array(memory)
const wake = () => { Atomics.add(words, 0, 1); Atomics.notify(words, 0) }
const post = (message, transfer) => { port.postMessage(message, transfer); wake() }
process.on("exit", () => { Atomics.store(words, 2, 1); wake() })
setInterval(() => { Atomics.add(words, 1, 1) }, 200)
const jobs = new Map()
const describe = (error) => {
  let message = error && error.message ? String(error.message) : String(error)
  let code = error && error.code
  for (let cause = error && error.cause, depth = 0; cause && depth < 4; cause = cause.cause, depth++) {
    if (cause.code && !code) code = cause.code
    if (cause.message && !message.includes(cause.message)) message += ": " + cause.message
    if (Array.isArray(cause.errors) && cause.errors[0]) { code = code || cause.errors[0].code; message += ": " + cause.errors[0].message }
  }
  // The address may hold a password.
  message = message.replace(/\\/\\/[^/\\s]*@/g, "//")
  return { message, code: code === undefined ? undefined : String(code) }
}
// fetch itself would show the value that it refuses, and that may be a key.
const headersOf = (given) => {
  const headers = new Headers()
  for (const [name, value] of Object.entries(given)) {
    try { headers.append(name, value) } catch { throw new TypeError("HTTP cannot carry the header " + JSON.stringify(name) + " or its value") }
  }
  return headers
}
// A connection to an address that was chosen before: no name is looked up, no redirect followed, nothing decoded.
const pinned = async (m, signal) => {
  const url = new URL(m.url)
  const secure = url.protocol === "https:"
  const host = url.hostname.replace(/^\\[|\\]$/g, "")
  const options = {
    host: m.address, port: url.port || (secure ? 443 : 80), path: url.pathname + url.search, method: m.method, signal,
    headers: { ...m.headers, host: url.host }, servername: require("node:net").isIP(host) ? "" : host, agent: false
  }
  const response = await new Promise((resolve, reject) => {
    const request = require(secure ? "node:https" : "node:http").request(options, resolve)
    request.on("error", reject)
    request.end(m.body)
  })
  const headers = []
  for (let n = 0; n < response.rawHeaders.length; n += 2) headers.push([response.rawHeaders[n].toLowerCase(), response.rawHeaders[n + 1]])
  // A chunk is a part of a larger buffer, all of which would be copied.
  const body = (async function* () { for await (const chunk of response) yield new Uint8Array(chunk) })()
  return { status: response.statusCode, url: m.url, headers, body }
}
const lookUp = (m) => require("node:dns").lookup(m.host, { all: true }, (error, found) => {
  if (error) post({ type: "failed", id: m.id, ...describe(error) })
  else post({ type: "resolved", id: m.id, addresses: found.map((one) => one.address) })
})
const run = async (m) => {
  const job = { abort: new AbortController(), credit: m.credit, resume: undefined }
  jobs.set(m.id, job)
  try {
    const response = m.address !== undefined ? await pinned(m, job.abort.signal) : await fetch(m.url, { method: m.method, headers: headersOf(m.headers), body: m.body, redirect: m.redirect, signal: job.abort.signal })
    post({ type: "head", id: m.id, status: response.status, url: response.url, headers: [...response.headers] })
    if (response.body !== null) {
      for await (const chunk of response.body) {
        post({ type: "chunk", id: m.id, data: chunk })
        if (--job.credit <= 0) await new Promise((resolve) => { job.resume = resolve })
      }
    }
    post({ type: "end", id: m.id })
  } catch (error) {
    if (!job.abort.signal.aborted) post({ type: "failed", id: m.id, ...describe(error) })
  } finally {
    jobs.delete(m.id)
  }
}
${poolSource}
${programSource}
port.on("message", (m) => {
  if (pooled(m) || programmed(m)) return
  const job = jobs.get(m.id)
  if (m.type === "fetch") run(m)
  else if (m.type === "resolve") lookUp(m)
  else if (m.type === "abort") { if (job) { job.abort.abort(); if (job.resume) job.resume() } }
  else if (m.type === "credit") { if (job) { job.credit += m.n; if (job.credit > 0 && job.resume) { const resume = job.resume; job.resume = undefined; resume() } } }
  else if (m.type === "crash") process.exit(7)
  else if (m.type === "block") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})
`
