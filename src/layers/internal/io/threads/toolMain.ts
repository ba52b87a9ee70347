/**
 * The program of a thread that runs tools. It loads the tool's module as any program would, and runs one call at a time.
 * A tool of `AgentTool.fromFunction` serves a call by itself; a plain function takes JSON and returns JSON.
 *
 * A call for a module that is not loaded yet says "loaded" before the function is called, and waits for "go".
 *
 * In: call { id, url, export, params, context }, go { id }, abort { id }.
 * Out: loaded { id }, progress { id, value }, result { id, value }, threw { id, name, message, failure },
 * unusable { id, message }, stopped { id }.
 */
import { parentPort } from "node:worker_threads"

interface Call {
  readonly type: "call"
  readonly id: number
  readonly url: string
  readonly export: string
  readonly params: unknown
  readonly context: object
}
type Received = Call | { readonly type: "go"; readonly id: number } | { readonly type: "abort"; readonly id: number }

interface Current {
  readonly id: number
  readonly controller: AbortController
  readonly go: () => void
}

/** A module's export: a function, or a tool that serves calls. */
type Exported =
  | ((params: unknown, context: object) => unknown)
  | { readonly serve: (params: unknown, context: object) => Promise<object> }

/** Why a module cannot be used. */
class Unusable {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

const port = parentPort!
const known = new Set<string>()
let current: Current | undefined

const messageOf = (error: unknown): string => {
  try {
    if (error instanceof Error) return error.message || error.name
    return typeof error === "string" ? error : (JSON.stringify(error) ?? String(error))
  } catch {
    return String(error)
  }
}

const failureOf = (error: unknown): object => {
  const name = error instanceof Error ? String(error.name) : "Error"
  const message = messageOf(error)
  const tag = error && typeof error === "object" && "_tag" in error ? { tag: String(error._tag) } : {}
  return { type: "threw", name, message, failure: { error: message, ...tag } }
}

const plain = (value: unknown): unknown => {
  const text = JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner))
  return text === undefined ? null : JSON.parse(text)
}

const load = async (call: Call): Promise<Exported> => {
  let module: Readonly<Record<string, unknown>>
  try {
    module = (await import(call.url)) as Readonly<Record<string, unknown>>
  } catch (error) {
    throw new Unusable(`it could not be loaded: ${messageOf(error)}`)
  }
  const found = module[call.export]
  if (typeof found === "function") return found as Exported
  if (found && typeof found === "object" && "serve" in found && typeof found.serve === "function")
    return found as Exported
  const name = JSON.stringify(call.export)
  throw new Unusable(
    found === undefined
      ? `it has no export named ${name}`
      : `its export ${name} is neither a function nor a tool of AgentTool.fromFunction`
  )
}

const run = async (call: Call): Promise<object> => {
  const controller = new AbortController()
  let go = () => {}
  const allowed = new Promise<void>((resolve) => void (go = resolve))
  current = { id: call.id, controller, go }
  const progress = (value: unknown) => port.postMessage({ type: "progress", id: call.id, value: plain(value) })
  const context = { ...call.context, signal: controller.signal, progress }
  try {
    const tool = await load(call)
    if (!known.has(call.url)) {
      port.postMessage({ type: "loaded", id: call.id })
      await allowed
      known.add(call.url)
      if (controller.signal.aborted) return { type: "stopped" }
    }
    if (typeof tool !== "function") return await tool.serve(call.params, context)
    const value = await tool(call.params, context)
    if (value && typeof value === "object" && "~effect/Effect" in value) {
      throw new Error(
        "a plain function of a module cannot return an Effect: export a tool of AgentTool.fromFunction instead"
      )
    }
    return { type: "result", value: plain(value) }
  } catch (error) {
    return error instanceof Unusable ? { type: "unusable", message: error.message } : failureOf(error)
  }
}

const serve = async (call: Call): Promise<void> => {
  const outcome = await run(call)
  current = undefined
  port.postMessage({ ...outcome, id: call.id })
}

port.on("message", (message: Received) => {
  if (message.type === "go") current?.go()
  else if (message.type === "abort") {
    if (current?.id !== message.id) return
    current.controller.abort()
    current.go()
  } else void serve(message)
})
