/** What transports on the bytes of the wire share: one end, nothing after an abort, and answers decompressed. */
import type { Exchange, Head, Receiver } from "../../../services/HttpTransport.ts"
import { unzipped } from "./unzip.ts"

/** The request on the wire. */
export type Wire = Pick<Exchange, "pause" | "resume"> & {
  /** Destroys the connection. */
  readonly destroy: () => void
}

/** A receiver for what comes from the wire, and the exchange for what asked. */
export const guarded = (to: Receiver, wire: Wire): { readonly receiver: Receiver; readonly exchange: Exchange } => {
  let isOver = false
  const outer = {
    data: (chunk: Uint8Array): void => {
      if (!isOver) to.data(chunk)
    },
    end: (): void => {
      if (isOver) return
      isOver = true
      to.end()
    },
    fail: (failure: Parameters<Receiver["fail"]>[0]): void => {
      if (isOver) return
      isOver = true
      to.fail(failure)
    }
  }
  let inner: Omit<Receiver, "head"> = outer
  let flow: { readonly pause: () => void; readonly resume: () => void; readonly abort?: () => void } = wire
  return {
    receiver: {
      head: (head: Head) => {
        if (isOver) return
        const unzip = unzipped(head.header("content-encoding"), outer, wire)
        if (unzip !== undefined) {
          flow = unzip
          inner = unzip.to
        }
        to.head(head)
      },
      data: (chunk) => inner.data(chunk),
      end: () => inner.end(),
      fail: (failure) => inner.fail(failure)
    },
    exchange: {
      pause: () => flow.pause(),
      resume: () => flow.resume(),
      abort: () => {
        if (isOver) return
        isOver = true
        flow.abort?.()
        wire.destroy()
      }
    }
  }
}
