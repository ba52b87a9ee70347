/** Requests through the I/O thread, as Effects. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as IoWorker from "./ioWorker.ts"
import { type Edge, noEdge, waiting } from "./waiting.ts"
import type {
  Exchange,
  Head,
  HttpFailure,
  HttpRequest,
  HttpTransport,
  Receiver
} from "../../../services/HttpTransport.ts"
import type { SyncBridge } from "../../../services/SyncBridge.ts"
import { toEffect } from "../http/effects.ts"
import { warnOfReplaced } from "./replacedFetch.ts"

/** A bridge, and what aborts the requests that it has still open. */
export interface Bridge extends SyncBridge {
  readonly close: () => void
}

/** The bridge that `SyncEdge.layer` provides. */
export const make = (edge: Edge): Bridge => {
  const open = new Set<IoWorker.Handler>()
  const transport = transportOf(edge, open)
  return {
    enter: (fiber) => edge.enter(fiber),
    expect: (change, source) => edge.expect(change, source),
    close: () => {
      for (const onMessage of open)
        onMessage({ type: "failed", message: "the run that made the request has ended", code: "ECANCELED" })
    },
    resolve: (host) =>
      Effect.suspend(() => {
        const found = Deferred.makeUnsafe<ReadonlyArray<string>, HttpFailure>()
        const worker = IoWorker.get()
        const onMessage: IoWorker.Handler = (message) => {
          if (message.type === "resolved") Deferred.doneUnsafe(found, Effect.succeed(message.addresses))
          if (message.type === "failed") {
            const { code, message: text } = message
            Deferred.doneUnsafe(found, Effect.fail({ _tag: "HttpFailure", message: text, code }))
          }
        }
        const id = worker.open({ type: "resolve", host }, onMessage)
        return Effect.onExit(waiting(edge, worker)(Deferred.await(found)), () => Effect.sync(() => worker.close(id)))
      }),
    fetch: toEffect(transport),
    transport
  }
}

/** How many chunks are delivered before the thread is given credit for as many more. */
const creditAfter = IoWorker.window / 2

/** Requests as a port. */
const transportOf = (edge: Edge, open: Set<IoWorker.Handler>): HttpTransport => {
  const send = ({ address, body, headers, method, redirect, url }: HttpRequest, to: Receiver): Exchange => {
    warnOfReplaced()
    // The thread is looked up and asked at once: it may end in between.
    const worker = IoWorker.get()
    let isOver = false
    let isPaused = false
    let owed = 0
    const end = () => {
      isOver = true
      open.delete(onMessage)
      worker.close(id)
    }
    const pay = (least: number) => {
      if (isPaused || owed < least) return
      worker.credit(id, owed)
      owed = 0
    }
    const onMessage: IoWorker.Handler = (message) => {
      if (isOver) return
      switch (message.type) {
        case "head":
          return to.head(headOf(message))
        case "chunk":
          owed++
          to.data(message.data)
          return isOver ? undefined : pay(creditAfter)
        case "end":
          end()
          return to.end()
        case "failed":
          end()
          to.fail({ _tag: "HttpFailure", message: message.message, code: message.code })
      }
    }
    const id = worker.open(
      { type: "fetch", credit: IoWorker.window, method, url, headers, body, address, redirect },
      onMessage
    )
    open.add(onMessage)
    return {
      pause: () => {
        isPaused = true
      },
      resume: () => {
        isPaused = false
        if (!isOver) pay(1)
      },
      abort: () => {
        if (!isOver) end()
      }
    }
  }
  const awaited: HttpTransport["awaited"] = (effect) => Effect.suspend(() => waiting(edge, IoWorker.get())(effect))
  return Object.assign(send, { awaited })
}

const headOf = ({ headers, status, url }: Extract<IoWorker.Message, { readonly type: "head" }>): Head => ({
  status,
  url,
  header: (name) => headers.find(([key]) => key === name)?.[1],
  headers: () => headers
})

/** A bridge for requests outside of the sync edge: Node's event loop delivers. */
export const unattached: SyncBridge = make(noEdge)
