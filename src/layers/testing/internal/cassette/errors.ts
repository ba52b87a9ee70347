/** The errors of cassettes. Their messages are scrubbed of secrets. */
import type * as AiError from "effect/ai/AiError"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

const recordAgain = `To record again, set mode: "record", or delete the file and run with mode: "auto" outside of CI`

/** There is nothing to replay. Fails the Layer. */
export class CassetteNotFound extends Schema.TaggedError<CassetteNotFound>()("CassetteNotFound", {
  path: Schema.String,
  /** True when `mode` is `"auto"`, and nothing is recorded because the variable `CI` is set. */
  inCi: Schema.Boolean
}) {
  override get message(): string {
    return this.inCi
      ? `cassette ${this.path}: there is no such file, and CI is set, so nothing is recorded. Record it on your own machine with mode: "auto" and check it in, or set mode: "record".`
      : `cassette ${this.path}: there is no such file to replay. Record it with mode: "record", or with mode: "auto" outside of CI.`
  }
}

/** The file is not a cassette, or its version is newer. Fails the Layer. */
export class CassetteInvalid extends Schema.TaggedError<CassetteInvalid>()("CassetteInvalid", {
  path: Schema.String,
  /** Where in the file: `line 3, column 7`, or `exchanges[0].request.url`. */
  at: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `cassette ${this.path}, ${this.at}: ${this.problem}. Restore the file. ${recordAgain}.`
  }
}

/** The file is already being recorded, by another Layer of this process or by another process. Fails the Layer. */
export class CassetteInUse extends Schema.TaggedError<CassetteInUse>()("CassetteInUse", {
  path: Schema.String,
  /** The lock file; it exists while the recording goes on. */
  lock: Schema.String,
  /** The process that records. */
  pid: Schema.optionalKey(Schema.Int)
}) {
  override get message(): string {
    const by = this.pid === undefined ? "" : ` by process ${this.pid}`
    return `cassette ${this.path} is being recorded${by} already. Give each recording a file of its own, or share one Layer. If no process is recording, delete ${this.lock}.`
  }
}

/** The file system refuses. Fails the Layer; when the recording cannot be written at the end, a defect of its release. */
export class CassetteUnavailable extends Schema.TaggedError<CassetteUnavailable>()("CassetteUnavailable", {
  path: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `cassette ${this.path}: ${this.problem}. Check the path and its permissions.`
  }
}

/** The errors of opening a cassette. */
export type CassetteError = CassetteNotFound | CassetteInvalid | CassetteInUse | CassetteUnavailable

/** One place where a request is not as it was recorded. Texts are scrubbed and shortened. */
export const Difference: Schema.Struct<{
  readonly at: typeof Schema.String
  readonly recorded: Schema.optionalKey<typeof Schema.String>
  readonly got: Schema.optionalKey<typeof Schema.String>
}> = Schema.Struct({
  /** `method`, `path`, `body`, or a place in the body: `body.messages[1].content`. */
  at: Schema.String,
  /** Absent: nothing was there. */
  recorded: Schema.optionalKey(Schema.String),
  /** Absent: nothing is there. */
  got: Schema.optionalKey(Schema.String)
})
export type Difference = typeof Difference.Type

const shown = 3

/** A request came that the cassette has no answer for. */
export class RequestNotRecorded extends Schema.TaggedError<RequestNotRecorded>()("RequestNotRecorded", {
  path: Schema.String,
  /** Which request, counted from 1 in the order in which they began. */
  request: Schema.Int,
  method: Schema.String,
  /** The path of the URL. */
  url: Schema.String,
  /** The problem, as the end of a sentence that begins with the request. */
  problem: Schema.String,
  /** The recording that is nearest, counted from 1 as in the file. */
  nearest: Schema.optionalKey(Schema.Int),
  /** How the request differs from the nearest recording: the first places. */
  differences: Schema.Array(Difference),
  /** How many more places differ. */
  more: Schema.Int
}) {
  override get message(): string {
    const places = this.differences.slice(0, shown).map(({ at, recorded, got }) => {
      return `${at}: expected ${recorded ?? "nothing"}, got ${got ?? "nothing"}`
    })
    const more = this.differences.length - places.length + this.more
    const list = [...places, ...(more > 0 ? [`${more} more`] : [])].join("; ")
    const what = list === "" ? this.problem : `${this.problem}: ${list}`
    return `cassette ${this.path}: request ${this.request} (${this.method} ${this.url}) ${what}. ${recordAgain}.`
  }
}

/** Recordings that no request has asked for. */
export class UnusedRecordings extends Schema.TaggedError<UnusedRecordings>()("UnusedRecordings", {
  path: Schema.String,
  recordings: Schema.Array(
    Schema.Struct({
      /** Counted from 1, as in the file. */
      number: Schema.Int,
      method: Schema.String,
      /** The path of the URL. */
      url: Schema.String
    })
  )
}) {
  override get message(): string {
    const list = this.recordings.map(({ number, method, url }) => `${number} (${method} ${url})`).join(", ")
    return `cassette ${this.path}: ${this.recordings.length} recording(s) were never asked for: ${list}. Find out why the program stopped early. ${recordAgain}.`
  }
}

/** The key under which `AiError`s of a cassette carry the error in their metadata. */
export const metadataKey = "cassette"

const decode = Schema.decodeUnknownOption(RequestNotRecorded)

/** The {@link RequestNotRecorded} behind a model's error; `undefined` for any other. */
export const notRecorded = (error: AiError.AiError): RequestNotRecorded | undefined => {
  const { reason } = error
  return "metadata" in reason ? Option.getOrUndefined(decode(reason.metadata[metadataKey])) : undefined
}
