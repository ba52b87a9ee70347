/** The common part of recording and replaying. */
import * as Schema from "effect/Schema"
import type { TapeFailure } from "../../../../services/HttpTransport.ts"
import { RequestNotRecorded } from "./errors.ts"

const encode = Schema.encodeSync(RequestNotRecorded)
const decode = Schema.decodeUnknownSync(RequestNotRecorded)

/** The failure that a request gets. */
export const failureOf = (error: RequestNotRecorded): TapeFailure => ({
  _tag: "TapeFailure",
  message: error.message,
  // Encoded, it is plain JSON.
  error: encode(error) as unknown as Schema.MutableJson
})

/** The tagged error behind a failure. */
export const errorOf = ({ error }: TapeFailure): RequestNotRecorded => decode(error)
