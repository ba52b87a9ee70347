/** Records of sessions as text, and the attachments in them, which are kept by their hash and once. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import { toJson } from "../../../internal/json.ts"
import { messageOf } from "../../../internal/message.ts"
import { StoreError } from "../../../RunError.ts"
import { Record, version } from "../../../services/SessionStore.ts"

/** How many turns of a conversation records hold; suspended ones are not kept yet. */
export const turnsIn = (records: ReadonlyArray<Record>): number =>
  new Set(records.filter(({ status }) => status !== "suspended").map(({ turn }) => turn)).size

/** A record as it is stored, and the attachments that it names. */
export interface Stored {
  readonly body: string
  readonly blobs: ReadonlyMap<string, Uint8Array>
}

type Fields = { readonly [key: string]: unknown }

/** Attachments that are shorter stay where they are. */
export const minBlob = 256
const blobTag = "troupe/Blob"

const encodeRecord = Schema.encodeSync(Record)
const decodeRecord = Schema.decodeUnknownEffect(Record)

/** Encodes a record. Values without a JSON form, such as those of tools with no schema, are stored in their JSON shape. */
export const encode = (record: Record): Stored => {
  const blobs = new Map<string, Uint8Array>()
  const json = toJson(encodeRecord(record)) as Fields
  const taken = onFiles(json, (data) => {
    const bytes = bytesOf(data)
    if (bytes === undefined || bytes.value.length < minBlob) return data
    const hash = createHash("sha256").update(bytes.value).digest("hex")
    blobs.set(hash, bytes.value)
    return { _tag: blobTag, hash, as: bytes.as }
  })
  return { body: JSON.stringify(taken), blobs }
}

/** The data of a file as bytes: base64 of bytes, or a text, such as base64 or a data URL. Addresses stay addresses. */
const bytesOf = (data: unknown): { readonly value: Uint8Array; readonly as: "bytes" | "text" } | undefined => {
  if (typeof data === "string") return { value: Buffer.from(data, "utf8"), as: "text" }
  if (!Predicate.isTagged(data, "Uint8Array") || !("base64" in data) || typeof data.base64 !== "string")
    return undefined
  return { value: Buffer.from(data.base64, "base64"), as: "bytes" }
}

/** Changes the data of every file in the messages of an encoded record. */
const onFiles = (record: Fields, change: (data: unknown) => unknown): Fields => {
  const inPart = (part: unknown): unknown => {
    if (!isFields(part)) return part
    if (part["type"] === "file") return { ...part, data: change(part["data"]) }
    return Array.isArray(part["modelOutput"]) ? { ...part, modelOutput: part["modelOutput"].map(inPart) } : part
  }
  const inMessage = (message: unknown): unknown =>
    isFields(message) && Array.isArray(message["content"])
      ? { ...message, content: message["content"].map(inPart) }
      : message
  const { messages } = record
  if (!isFields(messages) || !Array.isArray(messages["content"])) return record
  return { ...record, messages: { ...messages, content: messages["content"].map(inMessage) } }
}

const isFields = (u: unknown): u is Fields => Predicate.isObject(u)

/** A record as JSON, and the hashes of its attachments. */
export interface Parsed {
  readonly json: Fields
  readonly hashes: ReadonlySet<string>
}

const unreadable = (subject: string, problem: string, reason: StoreError["reason"] = "unreadable") =>
  new StoreError({ store: "sessions", reason, subject, problem })

/** Reads the text of record `seq` of session `id`. */
export const parse = (id: string, seq: number, body: string): Effect.Effect<Parsed, StoreError> =>
  Effect.suspend(() => {
    const hashes = new Set<string>()
    let json: unknown
    try {
      json = JSON.parse(body)
    } catch {
      return Effect.fail(unreadable(id, `record ${seq} is torn`))
    }
    if (!isFields(json)) return Effect.fail(unreadable(id, `record ${seq} is not a record of a session`))
    const { v } = json
    if (typeof v === "number" && v > version) {
      const problem = `record ${seq} has format ${v}, and this version of Troupe reads up to format ${version}`
      return Effect.fail(unreadable(id, problem, "newer"))
    }
    onFiles(json, (data) => {
      if (isBlob(data)) hashes.add(data.hash)
      return data
    })
    return Effect.succeed({ json, hashes })
  })

interface Blob {
  readonly hash: string
  readonly as: "bytes" | "text"
}

const isBlob = (data: unknown): data is Blob =>
  Predicate.isTagged(data, blobTag) && "hash" in data && typeof data.hash === "string" && "as" in data

/** Makes the record of what was parsed and of the attachments that it names. */
export const decode = (
  id: string,
  seq: number,
  { json }: Parsed,
  blobs: ReadonlyMap<string, Uint8Array>
): Effect.Effect<Record, StoreError> =>
  Effect.suspend(() => {
    let missing = false
    const whole = onFiles(json, (data) => {
      if (!isBlob(data)) return data
      const bytes = blobs.get(data.hash)
      if (bytes === undefined) missing = true
      const value = Buffer.from(bytes ?? [])
      return data.as === "text" ? value.toString("utf8") : { _tag: "Uint8Array", base64: value.toString("base64") }
    })
    if (missing) return Effect.fail(unreadable(id, `an attachment of record ${seq} is missing`))
    return Effect.mapError(decodeRecord(whole), (error) =>
      unreadable(id, `record ${seq} is not a record of a session: ${messageOf(error).split("\n")[0]}`)
    )
  })
