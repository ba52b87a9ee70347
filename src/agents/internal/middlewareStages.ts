/** The middleware around one run, by what it is around. */
import type * as Fiber from "effect/Fiber"
import { type Caller, type Definition, enter, type Entry, givenTo, type Go } from "../../internal/middleware.ts"
import type { ToolSource } from "../../ToolSource.ts"

type Function_ = (request: never, next: never) => unknown

/** One function of a middleware. */
export interface Stage<out F = Function_> {
  readonly entry: Entry
  /** Its place, counted from the outermost. */
  readonly index: number
  readonly f: F
}

/** The functions of all middleware around a run, outermost first. */
export interface Stages {
  readonly run: ReadonlyArray<Stage>
  readonly model: ReadonlyArray<Stage>
  readonly tool: ReadonlyArray<Stage>
  readonly part: ReadonlyArray<Stage<(part: never) => unknown>>
  /** Where the tools come from that they bring. */
  readonly sources: ReadonlyArray<ToolSource<never>>
}

type Kind = Exclude<keyof Stages, "sources">

const stagesOf = (entries: ReadonlyArray<Entry>): Stages => {
  const of = <K extends Kind>(kind: K) =>
    entries.flatMap((entry, index) => {
      const f = entry.definition.around[kind]
      return f === undefined ? [] : [{ entry, index, f }]
    })
  const sources = [...new Set(entries.flatMap(({ definition }) => definition.tools ?? []))]
  return { run: of("run"), model: of("model"), tool: of("tool"), part: of("part") as Stages["part"], sources }
}

/** An agent's own middleware, made ready when it is defined. */
export interface Own {
  readonly entries: ReadonlyArray<Entry>
  readonly stages: Stages
}

/** Makes an agent's own middleware ready; `undefined` without any. */
export const own = (middleware: ReadonlyArray<Definition>): Own | undefined => {
  if (middleware.length === 0) return undefined
  const entries = middleware.map((definition): Entry => ({ definition, built: undefined }))
  return { entries, stages: stagesOf(entries) }
}

/** What is around the run that a fiber begins: what Layers give, and then the agent's own. `undefined` for nothing. */
export const around = (own: Own | undefined, fiber: Fiber.Fiber<unknown, unknown>): Stages | undefined => {
  const given = givenTo(fiber)
  return given.length === 0 ? own?.stages : stagesOf([...given, ...(own?.entries ?? [])])
}

/** The functions as one, around `innermost`. */
export const compose = (stages: ReadonlyArray<Stage>, caller: Caller, innermost: Go): Go =>
  stages.reduceRight((next, { entry, f }) => enter(entry, f, caller, next), innermost)
