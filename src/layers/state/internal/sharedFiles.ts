/** The bytes of attachments in memory, each once for as long as a record has them. */
import * as Prompt from "effect/ai/Prompt"
import { createHash } from "node:crypto"
import { minBlob } from "./sessionRecord.ts"

/** Gives messages back with the bytes that were there before in place of equal ones. */
export const sharedFiles = (): ((messages: Prompt.Prompt) => Prompt.Prompt) => {
  const known = new Map<string, WeakRef<Uint8Array>>()
  // Bytes that no record has any more are not to be found here either.
  const gone = new FinalizationRegistry<string>((hash) => {
    if (known.get(hash)?.deref() === undefined) known.delete(hash)
  })
  const sharedOf = (bytes: Uint8Array): Uint8Array => {
    const hash = createHash("sha256").update(bytes).digest("hex")
    const before = known.get(hash)?.deref()
    if (before !== undefined) return before
    known.set(hash, new WeakRef(bytes))
    gone.register(bytes, hash)
    return bytes
  }
  const shareIn = (part: Prompt.FilePart): Prompt.FilePart => {
    if (!(part.data instanceof Uint8Array) || part.data.length < minBlob) return part
    const data = sharedOf(part.data)
    return data === part.data ? part : Prompt.makePart("file", { ...part, data })
  }
  const shareAll = <Part extends Prompt.Part>(parts: ReadonlyArray<Part>): ReadonlyArray<Part> =>
    // Of a file another file is made, so that the kind of the part stays.
    parts.map((part) => (part.type === "file" ? (shareIn(part) as typeof part) : part))
  const ofMessage = (message: Prompt.Message): Prompt.Message => {
    if (message.role === "user") return Prompt.makeMessage("user", { ...message, content: shareAll(message.content) })
    if (message.role !== "assistant") return message
    return Prompt.makeMessage("assistant", { ...message, content: shareAll(message.content) })
  }
  const hasFiles = ({ content, role }: Prompt.Message): boolean =>
    role !== "system" && content.some(({ type }: { readonly type: string }) => type === "file")
  return (messages) =>
    messages.content.some(hasFiles)
      ? Prompt.fromMessages(messages.content.map((message) => (hasFiles(message) ? ofMessage(message) : message)))
      : messages
}
