/** Events as they come from the server. */
import type { Client } from "../../../../../../RunEvent.ts"

/** An event that the server shows. */
export type ClientEvent = typeof Client.Encoded

/** What a suspended run waits for. */
export type Waiting = Extract<ClientEvent, { readonly _tag: "Suspended" }>["waitingFor"][number]

/** The usage of a model call. */
export type Usage = Extract<ClientEvent, { readonly _tag: "Used" }>["usage"]

const isEvent = (value: unknown): value is ClientEvent =>
  typeof value === "object" &&
  value !== null &&
  "_tag" in value &&
  typeof value._tag === "string" &&
  "seq" in value &&
  typeof value.seq === "number" &&
  "at" in value &&
  typeof value.at === "number"

/** An event of a message; `undefined` for anything else. */
export const eventIn = (value: unknown): ClientEvent | undefined => (isEvent(value) ? value : undefined)

/** An event of a line of JSON; `undefined` for anything else. */
export const readEvent = (line: string): ClientEvent | undefined => {
  try {
    return eventIn(JSON.parse(line))
  } catch {
    return undefined
  }
}
