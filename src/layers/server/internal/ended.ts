/** The end of a run, out of its events. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { isTerminal, type RunEvent } from "../../../RunEvent.ts"
import { type Ended, RunsError } from "../../../services/Runs.ts"

/** The terminal event of the root run in a stream of its events. */
export const endOf = (events: Stream.Stream<RunEvent, RunsError>, runId: string): Effect.Effect<Ended, RunsError> =>
  Effect.flatMap(Stream.runLast(Stream.filter(events, isTerminal)), (last) =>
    last._tag === "Some"
      ? Effect.succeed(last.value)
      : Effect.fail(
          new RunsError({ reason: "engine", runId, problem: "its events ended before it did", remedy: "Poll the run" })
        )
  )
