/** Events as they are written to clients: pure functions from an event to the text of it. */
import * as Schema from "effect/Schema"
import { Client, type Exposed, type RunEvent, toClientWith } from "../../../RunEvent.ts"

/** Writes an event; empty for one that clients do not see. */
export type Write = (event: RunEvent) => string

const encode = Schema.encodeSync(Schema.fromJsonString(Client))

/** The JSON of what clients see of an event; `undefined` for what they do not see. */
export const clientJson = (expose: ReadonlyArray<Exposed>): ((event: RunEvent) => string | undefined) => {
  const toClient = toClientWith({ expose })
  return (event) => {
    const shown = toClient(event)
    if (shown === undefined) return undefined
    // Deltas, which are most of all events, are encoded as they are.
    return shown._tag === "Text" ? JSON.stringify(shown) : encode(shown)
  }
}

/** A server-sent event with JSON. */
export const dataEvent = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

/** A server-sent event with an id, from which a client can go on. */
export const sse = (runId: string, expose: ReadonlyArray<Exposed>): Write => {
  const json = clientJson(expose)
  return (event) => {
    const text = json(event)
    return text === undefined ? "" : `id: ${runId}:${event.seq}\ndata: ${text}\n\n`
  }
}

/** A line of JSON. */
export const ndjson = (expose: ReadonlyArray<Exposed>): Write => {
  const json = clientJson(expose)
  return (event) => {
    const text = json(event)
    return text === undefined ? "" : `${text}\n`
  }
}

/** The run and the `seq` after the event with this id; `undefined` for an id that is not ours. */
export const afterId = (id: string): { readonly runId: string; readonly from: number } | undefined => {
  const match = /^([\w./#~-]{1,200}):(\d{1,15})$/.exec(id)
  return match === null ? undefined : { runId: match[1]!, from: Number(match[2]) + 1 }
}
