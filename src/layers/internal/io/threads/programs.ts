/**
 * Programs of other modules in the I/O thread. A program arrives as the text of a CommonJS module that exports `start`,
 * made by `npm run codegen` from an ordinary module.
 *
 * In: program { id, source, args }, tell { id, data }, abort { id }. Out: message { id, data }, failed { id, message, code }.
 */
import { createRequire } from "node:module"
import type { Message } from "../ioWorker.ts"
import { describe } from "../../../../internal/connectionError.ts"

/** The export of a program: it sends messages by `post`, and the function that it returns receives messages. */
export type Start = (post: (data: unknown) => void, args: unknown) => (data: unknown) => void

/** Messages to programs. */
export type ToPrograms =
  | { readonly type: "program"; readonly id: number; readonly source: string; readonly args: unknown }
  | { readonly type: "tell"; readonly id: number; readonly data: unknown }
  | { readonly type: "abort"; readonly id: number }

const require = createRequire(`${process.cwd()}/`)

const load = (source: string): Start => {
  const module = { exports: {} as { readonly start: Start } }
  // The text is our own: it comes from the thread that started this one.
  new Function("require", "module", "exports", source)(require, module, module.exports)
  return module.exports.start
}

/** Runs the programs of one thread. Returns whether a message was one for them. */
export const programs = (post: (message: Message & { readonly id: number }) => void) => {
  const running = new Map<number, ((data: unknown) => void) | undefined>()
  return (message: { readonly type: string; readonly id: number }): boolean => {
    const { id } = message
    if (message.type === "program") {
      const { args, source } = message as Extract<ToPrograms, { readonly type: "program" }>
      running.set(id, undefined)
      try {
        const start = load(source)
        running.set(
          id,
          start((data) => {
            if (running.has(id)) post({ type: "message", id, data })
          }, args)
        )
      } catch (error) {
        running.delete(id)
        post({ type: "failed", id, ...describe(error) })
      }
      return true
    }
    if (!running.has(id)) return message.type === "tell"
    if (message.type === "tell") running.get(id)?.((message as Extract<ToPrograms, { readonly type: "tell" }>).data)
    else if (message.type === "abort") running.delete(id)
    else return false
    return true
  }
}
