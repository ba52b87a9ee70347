/** Runs a runner for the command line: events to NDJSON, or text to standard output with progress on standard error. */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import { answering } from "../internal/render.ts"
import { stripControls } from "../internal/text.ts"
import { isTerminal, type RunEvent, toJsonLine } from "../RunEvent.ts"
import * as Runner from "../Runner.ts"
import { type CliFailure, ofCause } from "./failure.ts"
import { type Display, progress, silent } from "./display.ts"
import { out } from "./terminal.ts"
import { CurrentApprover } from "../services/Approver.ts"

/** How a run is shown. */
export interface Show {
  readonly json: boolean
  /** Whether text is written as it streams, or the whole output at the end. */
  readonly live: boolean
}

/** Runs to the end. Fails with one line for the person; an interruption interrupts the run and everything it has begun. */
export const execute = <I, E, LE>(
  runner: Runner.Runner<I, string, E, LanguageModel.LanguageModel>,
  input: I,
  model: Layer.Layer<LanguageModel.LanguageModel, LE>,
  show: Show
): Effect.Effect<void, CliFailure> => {
  const shown = show.json ? asJson() : show.live ? asLiveText() : asReport()
  return Effect.gen(function* () {
    const display = show.json ? silent : yield* progress(shown.busy)
    // The terminal event of an interrupted run reaches an observer, and no consumer of its stream.
    const observed = Runner.onEvent(runner, (event) => {
      const reported = Effect.suspend(() => Effect.andThen(display.show(event), shown.take(event)))
      // Both streams may go to one place, where a line of progress must not go on with a line of text.
      return endsText(event) && shown.busy() ? Effect.andThen(shown.end, reported) : reported
    })
    const ask = !show.json && process.stdin.isTTY === true && process.stdout.isTTY === true
    yield* Stream.runDrain(observed.stream(input)).pipe(
      Effect.provide(ask ? yield* approver(display) : Layer.empty),
      Effect.provide(model),
      Effect.catchCause((cause) => {
        const failure = ofCause(cause)
        return failure === undefined ? Effect.failCause(cause as Cause.Cause<never>) : Effect.fail(failure)
      })
    )
  }).pipe(
    Effect.scoped,
    Effect.andThen(shown.end),
    // The command reports a failure in one line.
    Effect.provide(Logger.layer([]))
  )
}

/** True where the root runner's text of one step is over. */
const endsText = (event: RunEvent): boolean =>
  event.path.length === 1 && (event._tag === "ToolCalled" || event._tag === "StepStarted" || isTerminal(event))

/** Asks the user at the terminal whether a tool that needs approval may run. Hides the display during that. */
const approver = (display: Display) =>
  Effect.gen(function* () {
    const [Approvals, NodeTerminal] = yield* Effect.promise(() =>
      Promise.all([import("../layers/approvals/Approvals.ts"), import("@effect/platform-node/NodeTerminal")])
    )
    const asking = yield* Layer.build(Layer.provide(Approvals.layerTerminal, NodeTerminal.layer))
    const terminal = Context.get(asking, CurrentApprover)
    return terminal === undefined
      ? Layer.empty
      : Layer.succeed(CurrentApprover, { ...terminal, decide: (request) => display.away(terminal.decide(request)) })
  })

interface Shown {
  readonly take: (event: RunEvent) => Effect.Effect<void>
  readonly end: Effect.Effect<void>
  /** True while standard output is in the middle of a line, where a display would spoil it. */
  readonly busy: () => boolean
}

const asJson = (): Shown => ({
  take: (event) => Effect.flatMap(toJsonLine(event), (line) => out(`${line}\n`)),
  end: Effect.void,
  busy: () => false
})

const asLiveText = (): Shown => {
  const text = answering()
  let isWritten = false
  const write = (piece: string) => {
    if (piece === "") return Effect.void
    isWritten = true
    return out(piece)
  }
  return {
    take: (event) => write(text.next(event)),
    // An empty answer is an empty line.
    end: Effect.suspend(() => (isWritten ? write(text.end()) : write("\n"))),
    busy: () => isWritten
  }
}

const asReport = (): Shown => ({
  take: (event) =>
    event._tag === "RunCompleted" && event.path.length === 1 && typeof event.output === "string"
      ? out(`${stripControls(event.output).trimEnd()}\n`)
      : Effect.void,
  end: Effect.void,
  busy: () => false
})
