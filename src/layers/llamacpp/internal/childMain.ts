/**
 * The process that runs one file for programs of the sync edge: messages come as lines of its input, and go as lines of its output.
 * It ends with its input.
 */
import { createInterface } from "node:readline"
import { pathToFileURL } from "node:url"
import { failureOf } from "./failureOf.ts"
import type { Chunk, FromModel, ToModel } from "./protocol.ts"
import { load, type Package, type Session } from "./session.ts"

const post = (message: FromModel): void => void process.stdout.write(`${JSON.stringify(message)}\n`)
const making = new Map<number, AbortController>()
let session: Session | undefined

const answer = async (message: Exclude<ToModel, { readonly type: "abort" }>): Promise<unknown> => {
  if (message.type === "load") {
    session = await load((await import(pathToFileURL(message.library).href)) as Package, message.source)
    return undefined
  }
  const { id } = message
  const controller = new AbortController()
  making.set(id, controller)
  const onChunk = (chunk: Chunk): void => post({ id, type: "chunk", chunk })
  return session!.ask(message, { onChunk, signal: controller.signal }).finally(() => making.delete(id))
}

const receive = (line: string): void => {
  const message = JSON.parse(line) as ToModel
  const { id } = message
  if (message.type === "abort") return making.get(id)?.abort()
  answer(message).then(
    (value) => post({ id, type: "done", value }),
    (error: unknown) => post({ id, type: "failed", failure: failureOf(error) })
  )
}

createInterface({ input: process.stdin, crlfDelay: Infinity })
  .on("line", receive)
  .on("close", () => {
    for (const controller of making.values()) controller.abort()
    // The system takes the memory back: freeing it would wait for the token that is being made.
    process.exit(0)
  })
process.stdout.on("error", () => process.exit(0))
