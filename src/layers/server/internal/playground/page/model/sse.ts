/** Reads server-sent events as their bytes come. */

/** One event. */
export interface Message {
  readonly id: string | undefined
  readonly event: string | undefined
  readonly data: string
}

/** The longest event that is read, in characters. */
const longest = 32 * 1024 * 1024

/** Reads a stream piece by piece. */
export class SseReader {
  #rest = ""

  /** The events that are whole with this piece. Throws for one that never ends. */
  read(piece: string): ReadonlyArray<Message> {
    this.#rest += piece.replaceAll("\r", "")
    const end = this.#rest.lastIndexOf("\n\n")
    if (end < 0) {
      if (this.#rest.length > longest) throw new Error("The server sends an event that is too large.")
      return []
    }
    const whole = this.#rest.slice(0, end)
    this.#rest = this.#rest.slice(end + 2)
    return whole.split("\n\n").flatMap((block) => messageOf(block) ?? [])
  }
}

const messageOf = (block: string): Message | undefined => {
  const fields = new Map<string, string>()
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":")
    if (colon < 1) continue
    const name = line.slice(0, colon)
    const value = line.slice(colon + 1).replace(/^ /, "")
    const before = name === "data" ? fields.get(name) : undefined
    fields.set(name, before === undefined ? value : `${before}\n${value}`)
  }
  const data = fields.get("data")
  return data === undefined ? undefined : { id: fields.get("id"), event: fields.get("event"), data }
}
