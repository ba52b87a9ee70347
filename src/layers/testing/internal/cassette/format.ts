/** The file: its schema, and reading and writing it as text. A file that does not fit says where. */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { CassetteInvalid } from "./errors.ts"

/** The version that is written. Older ones are read. */
export const version = 1

const Headers = Schema.Record(Schema.String, Schema.String)

/** The body of a request: JSON, other text, or bytes. */
const RequestBody = Schema.Union([
  Schema.Struct({ json: Schema.Json }),
  Schema.Struct({ text: Schema.String }),
  Schema.Struct({ base64: Schema.String })
])
export type RequestBody = typeof RequestBody.Type

/** The body of a response: JSON, or text or bytes in their chunks. A chunk of text is a list of pieces, such as events. */
const ResponseBody = Schema.Union([
  Schema.Struct({ json: Schema.Json }),
  Schema.Struct({ chunks: Schema.Array(Schema.Array(Schema.String)) }),
  Schema.Struct({ base64: Schema.Array(Schema.String) })
])
export type ResponseBody = typeof ResponseBody.Type

/** A request, and how it ended: with its response, with a lost connection, or because the program went away. */
export const Exchange = Schema.Struct({
  request: Schema.Struct({
    method: Schema.String,
    url: Schema.String.check(Schema.makeFilter((url) => URL.canParse(url) || "expected an absolute URL")),
    headers: Headers,
    body: Schema.optionalKey(RequestBody)
  }),
  response: Schema.optionalKey(
    Schema.Struct({
      status: Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 999 })),
      /** Where it came from, when redirects led away from the request's address. */
      url: Schema.optionalKey(Schema.String),
      headers: Headers,
      body: Schema.optionalKey(ResponseBody)
    })
  ),
  /** The connection was lost, before the response or within it. */
  failure: Schema.optionalKey(Schema.Struct({ message: Schema.String, code: Schema.optionalKey(Schema.String) })),
  /** The program let go of the request after so many seconds, before it was complete. */
  interrupted: Schema.optionalKey(Schema.Struct({ seconds: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)) }))
}).check(
  Schema.makeFilter(
    ({ failure, interrupted, response }) =>
      response !== undefined ||
      failure !== undefined ||
      interrupted !== undefined ||
      `expected "response", "failure" or "interrupted"`
  )
)
export type Exchange = typeof Exchange.Type

const File = Schema.Struct({
  cassette: Schema.Literal(version),
  /** The run that was recorded was interrupted: requests may be missing. */
  interrupted: Schema.optionalKey(Schema.Boolean),
  /** In the order in which the requests began. */
  exchanges: Schema.Array(Exchange)
})
export type File = typeof File.Type

const decode = Schema.decodeUnknownResult(File)
const issues = SchemaIssue.makeFormatterStandardSchemaV1()

/** Reads the text of a file. */
export const parse = (path: string, text: string): Result.Result<File, CassetteInvalid> => {
  const invalid = (at: string, problem: string) => Result.fail(new CassetteInvalid({ path, at, problem }))
  let json: unknown
  try {
    json = JSON.parse(text.replace(/^\uFEFF/, ""))
  } catch {
    const place = text.slice(0, placeOf(text)).split("\n")
    return invalid(`line ${place.length}, column ${place.at(-1)!.length + 1}`, "this is not JSON")
  }
  const own = Predicate.hasProperty(json, "cassette") ? json.cassette : undefined
  if (typeof own === "number" && own > version) {
    return invalid(
      "cassette",
      `it is of version ${own}, and this release of troupe reads versions up to ${version}: update troupe`
    )
  }
  const decoded = decode(json)
  if (Result.isSuccess(decoded)) return Result.succeed(decoded.success)
  const first = issues(decoded.failure.issue).issues[0]
  const at = (first?.path ?? []).reduce<string>((path, key) => {
    const name = typeof key === "object" ? key.key : key
    return typeof name === "number" || /^\d+$/.test(String(name))
      ? `${path}[${String(name)}]`
      : path === ""
        ? String(name)
        : `${path}.${String(name)}`
  }, "")
  const problem = (first?.message ?? "it does not fit").split("\n")[0]!.slice(0, 300)
  return invalid(at === "" ? "at its root" : at, `this is not what a cassette holds: ${problem}`)
}

/** Where a text stops being the beginning of a JSON text; engines report it for some mistakes only. */
const placeOf = (text: string): number => {
  const goesOn = (length: number): boolean => {
    try {
      JSON.parse(text.slice(0, length))
      return true
    } catch (error) {
      const message = error instanceof Error ? error.message : ""
      const position = /at position (\d+)/.exec(message)
      return /end of JSON input|Unterminated/.test(message) || (position !== null && Number(position[1]) >= length)
    }
  }
  let good = 0
  let bad = text.length + 1
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1
    if (goesOn(middle)) good = middle
    else bad = middle
  }
  return good
}

/** The text of a file: the same exchanges give the same text. */
export const print = (exchanges: ReadonlyArray<Exchange>, interrupted: boolean): string => {
  const file: File = { cassette: version, ...(interrupted ? { interrupted } : {}), exchanges }
  return `${JSON.stringify(file, null, 2)}\n`
}
