/**
 * The program of a thread that runs tools, as text. It loads the tool's module as any program would, and runs one call
 * at a time. A tool of `AgentTool.fromFunction` knows how to serve a call; a plain function gets JSON and gives JSON.
 *
 * A call for a module that it has not loaded yet says "loaded" before the function is called, and waits to be told to go.
 *
 * In: call { id, url, export, params, context }, go { id }, abort { id }.
 * Out: loaded { id }, progress { id, value }, result { id, value }, threw { id, name, message, failure },
 * unusable { id, message }, stopped { id }.
 */
export const toolSource: string = `"use strict"
const { parentPort } = require("node:worker_threads")
let current
const known = new Set()
const messageOf = (error) => {
  try { return error instanceof Error ? error.message || error.name : typeof error === "string" ? error : JSON.stringify(error) ?? String(error) } catch { return String(error) }
}
const failureOf = (error) => {
  const name = error instanceof Error ? String(error.name) : "Error"
  const message = messageOf(error)
  const tag = error && typeof error === "object" && "_tag" in error ? { tag: String(error._tag) } : {}
  return { type: "threw", name, message, failure: { error: message, ...tag } }
}
const plain = (value) => {
  const text = JSON.stringify(value, (_, inner) => typeof inner === "bigint" ? String(inner) : inner)
  return text === undefined ? null : JSON.parse(text)
}
const load = async (m) => {
  let module
  try { module = await import(m.url) } catch (error) { throw { unusable: "it could not be loaded: " + messageOf(error) } }
  const found = module[m.export]
  if (typeof found === "function") return found
  if (found && typeof found === "object" && typeof found.serve === "function") return found
  throw { unusable: found === undefined ? "it has no export named " + JSON.stringify(m.export) : "its export " + JSON.stringify(m.export) + " is neither a function nor a tool of AgentTool.fromFunction" }
}
const run = async (m) => {
  const controller = new AbortController()
  let go
  const allowed = new Promise((resolve) => { go = resolve })
  current = { id: m.id, controller, go }
  const progress = (value) => { parentPort.postMessage({ type: "progress", id: m.id, value: plain(value) }) }
  const context = { ...m.context, signal: controller.signal, progress }
  try {
    const tool = await load(m)
    if (!known.has(m.url)) {
      parentPort.postMessage({ type: "loaded", id: m.id })
      await allowed
      known.add(m.url)
      if (controller.signal.aborted) return { type: "stopped" }
    }
    if (typeof tool !== "function") return await tool.serve(m.params, context)
    const value = await tool(m.params, context)
    if (value && typeof value === "object" && "~effect/Effect" in value) throw new Error("a plain function of a module cannot give an Effect: export a tool of AgentTool.fromFunction instead")
    return { type: "result", value: plain(value) }
  } catch (error) {
    return error && error.unusable !== undefined ? { type: "unusable", message: error.unusable } : failureOf(error)
  }
}
parentPort.on("message", async (m) => {
  if (m.type === "abort") { if (current && current.id === m.id) { current.controller.abort(); current.go() } }
  else if (m.type === "go") current.go()
  else {
    const said = await run(m)
    current = undefined
    parentPort.postMessage({ ...said, id: m.id })
  }
})
`
