/** The events of a run for those that record runs, such as `TraceStore.record`: as they are kept, and not as executions emit them. */
import * as Schema from "effect/Schema"
import { RunEvent } from "../../../RunEvent.ts"
import type { Recorder } from "../../../services/TraceStore.ts"

type Record = ReturnType<Recorder>

/** What one execution hands on. */
export interface Recording {
  /** Begins with what earlier executions have kept, which a recorder may have in part. */
  readonly by: (recorders: ReadonlyArray<Record>) => void
  /** Hands on what was written. */
  readonly written: (events: ReadonlyArray<RunEvent>) => void
}

const decode = Schema.decodeUnknownOption(RunEvent)

/** Makes the recording of an execution that begins with these events, as they were written. */
export const recording = (kept: ReadonlyArray<unknown>): Recording => {
  let all: ReadonlyArray<Record> = []
  const written = (events: ReadonlyArray<RunEvent>) => {
    for (const record of all) for (const event of events) record(event)
  }
  return {
    by: (recorders) => {
      all = recorders
      written(
        kept.flatMap((event) => {
          const decoded = decode(event)
          return decoded._tag === "Some" ? [decoded.value] : []
        })
      )
    },
    written
  }
}
