/**
 * The process that runs one file for programs of the sync edge: messages come as lines of its input, and go as lines of its output.
 * It ends with its input.
 */
import { createInterface } from "node:readline"
import { pathToFileURL } from "node:url"
import { failureOf } from "./failureOf.ts"
import type { FromModel, ToModel } from "./protocol.ts"
import { load, type Package, type Session } from "./session.ts"

const post = (message: FromModel): void => void process.stdout.write(`${JSON.stringify(message)}\n`)
const making = new Map<number, AbortController>()
let session: Session | undefined

const answer = async (message: ToModel): Promise<unknown> => {
  switch (message.type) {
    case "load":
      session = await load((await import(pathToFileURL(message.library).href)) as Package, message.source)
      return undefined
    case "context":
      return session!.context(message.options)
    case "embedding":
      return session!.embedding(message.options)
    case "embed":
      return session!.embed(message.context, message.text)
    case "free":
      return session!.free(message.context)
    case "generate": {
      const { context, id, sequence, task } = message
      const controller = new AbortController()
      making.set(id, controller)
      return session!
        .generate(context, sequence, task, {
          onChunk: (chunk) => post({ id, type: "chunk", chunk }),
          signal: controller.signal
        })
        .finally(() => making.delete(id))
    }
    case "abort":
      return undefined
  }
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
