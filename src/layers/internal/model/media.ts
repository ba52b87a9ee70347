/** Images, sounds and transcripts: their kinds, and how they are read from answers. */
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Transcription from "../../../services/Transcription.ts"
import { malformed, type Problem } from "./problems.ts"
import { isFields, list, text } from "./wire.ts"

const begins: ReadonlyArray<readonly [string, ReadonlyArray<number>]> = [
  ["image/png", [0x89, 0x50, 0x4e, 0x47]],
  ["image/jpeg", [0xff, 0xd8, 0xff]],
  ["image/gif", [0x47, 0x49, 0x46]],
  ["image/webp", [0x52, 0x49, 0x46, 0x46]]
]

/** The type of an image, by its first bytes; `image/png` for one that is not known. */
export const imageType = (data: Uint8Array): string =>
  begins.find(([, bytes]) => bytes.every((byte, index) => data[index] === byte))?.[0] ?? "image/png"

const audio: Readonly<Record<string, string>> = {
  mp3: "audio/mpeg",
  wav: "audio/wav",
  opus: "audio/ogg",
  ogg: "audio/ogg",
  flac: "audio/flac",
  aac: "audio/aac",
  m4a: "audio/mp4",
  webm: "audio/webm",
  pcm: "audio/pcm"
}

/** The type of a format of sound. */
export const audioType = (format: string): string => audio[format] ?? `audio/${format}`

/** The end of a file name for a type of sound or image. */
export const endingOf = (mediaType: string): string => {
  const plain = mediaType.split(";")[0]!.trim().toLowerCase()
  const known = Object.entries(audio).find(([, type]) => type === plain)?.[0]
  return known ?? plain.split("/")[1]?.replace(/^x-/, "") ?? "bin"
}

/** Bytes that came as they are or as base64; none for what is neither. */
export const bytesOf = (given: unknown): Option.Option<Uint8Array> => {
  const bytes = typeof given === "string" ? Result.getOrUndefined(Base64.decode(given.replace(/\s+/g, ""))) : given
  return bytes instanceof Uint8Array && bytes.length > 0 ? Option.some(bytes) : Option.none()
}

/** A time in seconds. */
const secondsOf = (fields: unknown, name: string): number | undefined => {
  const value: unknown = Predicate.hasProperty(fields, name) ? fields[name] : undefined
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined
}

/** What is wrong with a recording of more bytes than are allowed. */
export const tooLong = ({ data }: Transcription.Audio, most: number): Problem | undefined =>
  data.length <= most
    ? undefined
    : {
        kind: "unsupported",
        message: `the recording has ${data.length} bytes, and ${most} are allowed: send it in pieces, or raise \`maxAudioBytes\``
      }

/** What was said, by an answer whose times have these names. */
export const transcriptOf = (
  answer: unknown,
  names: Readonly<Record<"start" | "end" | "duration", string>>
): Effect.Effect<Transcription.Result, Problem> => {
  if (!isFields(answer) || typeof answer["text"] !== "string") return Effect.fail(malformed("the answer has no text"))
  const segments = list(answer, "segments").flatMap((one): ReadonlyArray<Transcription.Segment> => {
    const [startSecond, endSecond] = [secondsOf(one, names.start), secondsOf(one, names.end)]
    const said = isFields(one) ? text(one, "text") : undefined
    return startSecond === undefined || endSecond === undefined || said === undefined
      ? []
      : [{ text: said.trim(), startSecond, endSecond }]
  })
  return Effect.succeed({
    text: answer["text"],
    segments,
    language: text(answer, "language"),
    durationSeconds: secondsOf(answer, names.duration)
  })
}
