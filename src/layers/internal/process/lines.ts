/** Lines of a pipe, of which none may be longer than so many bytes. Bundled into the I/O thread. */

import { isUtf8 } from "node:buffer"

/** A line that was too long. Of it only the beginning and the end are kept. */
export interface LongLine {
  readonly begin: string
  readonly end: string
}

/** A line that is not UTF-8. */
export const notUtf8 = Symbol("not UTF-8")

/** Splits bytes into lines. */
export interface Lines<out Line = string> {
  /** The lines that a chunk ends, without what separates them. */
  readonly read: (chunk: Uint8Array) => ReadonlyArray<Line | LongLine>
  /** The line that the end of the input ends, if it has begun. */
  readonly rest: () => ReadonlyArray<Line | LongLine>
  /** Whether the line that has begun is too long already. */
  readonly isTooLong: () => boolean
}

/** How many bytes are kept of the beginning and of the end of a line that is too long. */
const kept = 200

const newline = 10

/** What is not UTF-8 in a line is replaced. */
export const make = (maxBytes: number): Lines => decodedBy(maxBytes, (line) => line.toString())

/** A line that is not UTF-8 is {@link notUtf8}. */
export const makeStrict = (maxBytes: number): Lines<string | typeof notUtf8> =>
  decodedBy(maxBytes, (line) => (isUtf8(line) ? line.toString() : notUtf8))

const decodedBy = <Line>(maxBytes: number, decode: (line: Buffer) => Line): Lines<Line> => {
  let parts: Array<Uint8Array> = []
  let bytes = 0
  let begin: Buffer | undefined
  let end = Buffer.alloc(0)
  const add = (part: Uint8Array): void => {
    if (part.length === 0) return
    bytes += part.length
    if (begin !== undefined) {
      end = Buffer.from(Buffer.concat([end, part.subarray(-kept)]).subarray(-kept))
      return
    }
    // The chunk is the stream's, which may use it again.
    parts.push(Buffer.from(part))
    if (bytes <= maxBytes) return
    const line = Buffer.concat(parts)
    begin = Buffer.from(line.subarray(0, kept))
    end = Buffer.from(line.subarray(-kept))
    parts = []
  }
  const finish = (): Line | LongLine => {
    const line = begin === undefined ? decode(Buffer.concat(parts)) : { begin: begin.toString(), end: end.toString() }
    parts = []
    bytes = 0
    begin = undefined
    return line
  }
  return {
    read: (chunk) => {
      const lines: Array<Line | LongLine> = []
      let from = 0
      for (let to = chunk.indexOf(newline); to !== -1; to = chunk.indexOf(newline, from)) {
        add(chunk.subarray(from, to))
        lines.push(finish())
        from = to + 1
      }
      add(chunk.subarray(from))
      return lines
    },
    rest: () => (bytes === 0 ? [] : [finish()]),
    isTooLong: () => begin !== undefined
  }
}
