/** Answers as they were before the server compressed them, for transports that give the bytes of the wire. */
import type * as Zlib from "node:zlib"
import { describe } from "../../../internal/connectionError.ts"
import type { Exchange, Receiver } from "../../../services/HttpTransport.ts"

/** The part of an exchange that says how fast data comes, and a receiver that takes it as it came. */
interface Unzipped {
  readonly to: Pick<Receiver, "data" | "end" | "fail">
  readonly pause: () => void
  readonly resume: () => void
  readonly abort: () => void
}

const streamFor = (encoding: string): (Zlib.Gunzip | Zlib.BrotliDecompress) | undefined => {
  const zlib = process.getBuiltinModule("node:zlib")
  switch (encoding.trim().toLowerCase()) {
    case "gzip":
    case "x-gzip":
      // A server may flush what it has so far without ending it.
      return zlib.createGunzip({ flush: zlib.constants.Z_SYNC_FLUSH, finishFlush: zlib.constants.Z_SYNC_FLUSH })
    case "deflate":
      return zlib.createInflate({ flush: zlib.constants.Z_SYNC_FLUSH, finishFlush: zlib.constants.Z_SYNC_FLUSH })
    case "br":
      return zlib.createBrotliDecompress({
        flush: zlib.constants.BROTLI_OPERATION_FLUSH,
        finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH
      })
    case "zstd":
      return zlib.createZstdDecompress()
    default:
      return undefined
  }
}

/** Takes an answer in the encoding and hands it on without; `undefined` where there is nothing to decompress, or the encoding is not known. */
export const unzipped = (
  encoding: string | null | undefined,
  to: Pick<Receiver, "data" | "end" | "fail">,
  source: Pick<Exchange, "pause" | "resume"> & { readonly destroy: () => void }
): Unzipped | undefined => {
  if (encoding === undefined || encoding === null || encoding === "" || encoding === "identity") return undefined
  const stream = streamFor(encoding)
  if (stream === undefined) return undefined
  stream.on("data", (chunk: Uint8Array) => to.data(chunk))
  stream.on("end", () => to.end())
  stream.on("error", (error) => {
    to.fail({ _tag: "HttpFailure", ...describe(error) })
    // Nothing would read what the server goes on to send.
    source.destroy()
  })
  stream.on("drain", () => source.resume())
  return {
    to: {
      data: (chunk) => {
        if (!stream.write(chunk)) source.pause()
      },
      end: () => void stream.end(),
      fail: (failure) => {
        stream.destroy()
        to.fail(failure)
      }
    },
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    abort: () => void stream.destroy()
  }
}
