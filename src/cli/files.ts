/** Reads what the user names: text files up to a size, and standard input. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"
import * as Stdio from "effect/Stdio"
import { badInput, type CliFailure } from "./failure.ts"

/** A text file. */
export interface TextFile {
  readonly name: string
  readonly text: string
}

const mebibyte = 1024 * 1024

/** Reads a text file. Refuses, in one line, what is missing, no file, empty, too large (1 MiB if unset) or no UTF-8 text. */
export const readText = (
  name: string,
  maxBytes: number = mebibyte
): Effect.Effect<TextFile, CliFailure, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const info = yield* fs.stat(name)
    if (info.type === "Directory") return yield* badInput(`${name} is a directory. Name the files in it.`)
    if (info.type !== "File") return yield* badInput(`${name} is not a regular file.`)
    if (info.size > maxBytes) return yield* tooLarge(name, info.size, maxBytes)
    const bytes = yield* fs.readFile(name)
    // It may have grown, and some files have no known size.
    if (bytes.byteLength > maxBytes) return yield* tooLarge(name, bytes.byteLength, maxBytes)
    const text = decode(bytes)
    if (text === undefined) return yield* badInput(`${name} is not a text file (UTF-8).`)
    if (text.trim() === "") return yield* badInput(`${name} is empty.`)
    return { name, text }
  }).pipe(Effect.catchTag("PlatformError", (error) => Effect.fail(ofPlatform(name, error))))

const tooLarge = (name: string, size: number | bigint, maxBytes: number): CliFailure =>
  badInput(`${name} has ${size} bytes; the limit is ${maxBytes}. Split it.`)

const decode = (bytes: Uint8Array): string | undefined => {
  if (bytes.includes(0)) return undefined
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

const ofPlatform = (name: string, error: PlatformError.PlatformError): CliFailure => {
  const { reason } = error
  switch (reason._tag) {
    case "NotFound":
      return badInput(`there is no file ${name}.`)
    case "PermissionDenied":
      return badInput(`${name} may not be read: permission denied.`)
    default:
      return badInput(`${name} cannot be read: ${reason._tag}.`)
  }
}

/** No model takes a question that is as large. */
export const maxInput = 16 * mebibyte

/** All of standard input as text. Refuses, in one line, what is too large or no UTF-8 text. */
export const readStdin: Effect.Effect<string, CliFailure, Stdio.Stdio> = Effect.gen(function* () {
  const stdio = yield* Stdio.Stdio
  const chunks: Array<Uint8Array> = []
  let size = 0
  yield* stdio.stdin.pipe(
    Stream.mapError(() => badInput("standard input cannot be read.")),
    Stream.runForEach((chunk) => {
      chunks.push(chunk)
      size += chunk.byteLength
      return size > maxInput
        ? badInput(`standard input is too large; the limit is ${maxInput} bytes. Split it.`)
        : Effect.void
    })
  )
  const text = decode(Buffer.concat(chunks))
  return text ?? (yield* badInput("standard input is not text (UTF-8)."))
})
