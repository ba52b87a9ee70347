/** What tests know of a run's identity. */
import { Effect } from "effect"
import { Runner } from "troupe"

/** The ids of a run and of the runs nested in it, in the order in which they began, with `ROOT` for that of the root. */
export const idsOf = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) =>
  Effect.suspend(() => {
    const ids: Array<string> = []
    const watched = Runner.onEvent(runner, (event) =>
      Effect.sync(() => {
        if (event._tag === "RunStarted") ids.push(event.runId)
      })
    )
    return Effect.map(watched.run(input), () => ids.map((id) => id.replace(ids[0]!, "ROOT")))
  })
