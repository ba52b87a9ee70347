/** Files below one directory, for an agent elsewhere. */
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { FileToolError } from "../../../internal/files/errors.ts"
import * as Rooted from "../../../internal/files/rooted.ts"
import { ofRooted } from "../../../internal/files/rootedTree.ts"
import { readText } from "../../../internal/files/text.ts"
import { codes, failure, refuse, type RpcFailure } from "./rpc.ts"
import { ReadFile, reader, WriteFile } from "./schema.ts"
import type { Spec } from "./agentSpec.ts"

/** How many bytes a file may have. */
const maxBytes = 8 * 1024 * 1024

const readParams = reader(ReadFile)
const writeParams = reader(WriteFile)

/** What an agent may do with files. */
export interface Files {
  readonly read: (params: unknown) => Effect.Effect<object, RpcFailure>
  /** What would be written, and what writes it. */
  readonly write: (
    params: unknown
  ) => Effect.Effect<{ readonly path: string; readonly run: Effect.Effect<object, RpcFailure> }, RpcFailure>
}

/** The files of an agent; `undefined` where it may use none. */
export const filesOf = ({ files }: Spec): Files | undefined => {
  if (files === undefined) return undefined
  const doing = <A>(given: string, use: (rooted: Rooted.Rooted, below: string) => A): Effect.Effect<A, RpcFailure> =>
    Effect.try({
      try: () => {
        const root = fs.realpathSync(files.root)
        return use(Rooted.make(root), belowOf(files.root, root, given))
      },
      catch: failed
    })
  return {
    read: (params) =>
      Effect.flatMap(readParams(params), ({ limit, line, path: given }) =>
        doing(given, (rooted, below) => Effect.mapError(readText(ofRooted(rooted), below, maxBytes), failed)).pipe(
          Effect.flatten,
          Effect.map((text) => ({ content: linesOf(text, line ?? undefined, limit ?? undefined) }))
        )
      ),
    write: (params) =>
      Effect.flatMap(writeParams(params), ({ content, path: given }) => {
        if (files.write !== true) return refuse(codes.invalidParams, "Files may be read, and not written.")
        if (Buffer.byteLength(content) > maxBytes)
          return refuse(codes.invalidParams, `It has more than ${maxBytes} bytes.`)
        const run = Effect.as(
          doing(given, (rooted, below) => rooted.write(below, content, randomUUID())),
          {}
        )
        return Effect.succeed({ path: given, run })
      })
  }
}

const failed = (cause: unknown): RpcFailure =>
  failure(
    codes.invalidParams,
    cause instanceof FileToolError ? `${cause.reason}: ${cause.detail}` : "The file cannot be used."
  )

/** The path below the root; the agent has absolute ones, by the name of the root that it was given or by its real one. */
const belowOf = (root: string, real: string, given: string): string => {
  if (!path.isAbsolute(given)) return given
  const named = path.relative(path.resolve(root), given)
  return named.split(path.sep)[0] === ".." ? path.relative(real, given) : named
}

/** Lines from one on, counted from 1. */
const linesOf = (text: string, from: number | undefined, count: number | undefined): string => {
  if (from === undefined && count === undefined) return text
  const first = Math.max(1, from ?? 1) - 1
  return text
    .split("\n")
    .slice(first, count === undefined ? undefined : first + count)
    .join("\n")
}
