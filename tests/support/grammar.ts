/** Checks events against the grammar in the header of `RunEvent`, and collects streams through that check. */
import { Cause, Effect, Exit, Predicate, Stream } from "effect"
import { RunEvent, type Runner } from "troupe"
import { assert } from "vitest"

type Event = RunEvent.RunEvent

/** Throws when the events break the grammar. `whole`: the root run has ended, so every run must have. */
export const checkGrammar = (events: ReadonlyArray<Event>, whole = true): void => {
  const fail = (event: Event | undefined, why: string): never =>
    assert.fail(
      `${why} at ${JSON.stringify(event)} in\n${events.map((one) => `${one.seq} ${one.runId} ${one._tag}`).join("\n")}`
    )
  events.forEach((event, index) => {
    if (event.seq !== (events[0]?.seq ?? 0) + index) fail(event, "seq does not count by one")
    if (index > 0 && event.at < events[index - 1]!.at) fail(event, "time goes backwards")
  })
  const runs = Map.groupBy(events, (event) => event.runId)
  const open = new Set<string>()
  for (const event of events) {
    if (event._tag === "RunStarted") {
      if (event.parentId !== undefined && !open.has(event.parentId)) fail(event, "parent is not running")
      if ((event.parentId === undefined) !== (event.path.length === 1)) fail(event, "path and parent disagree")
      open.add(event.runId)
    } else if (!open.has(event.runId)) fail(event, "event outside of its run")
    if (RunEvent.isTerminal(event)) open.delete(event.runId)
  }
  if (whole && open.size > 0) assert.fail(`runs without a terminal event: ${[...open].join(", ")}`)
  for (const own of runs.values()) checkRun(own, fail)
}

const checkRun = (events: ReadonlyArray<Event>, fail: (event: Event | undefined, why: string) => never): void => {
  let phase: "outside" | "model" | "tools" = "outside"
  let step = 0
  let calls = new Map<string, boolean>()
  let running: string | undefined
  events.forEach((event, index) => {
    if ((event._tag === "RunStarted") !== (index === 0)) fail(event, "RunStarted is not the first event")
    if (RunEvent.isTerminal(event) && index !== events.length - 1) fail(event, "an event after the terminal one")
    if ("step" in event && event._tag !== "StepStarted" && event.step !== step) fail(event, "wrong step")
    switch (event._tag) {
      case "StepStarted":
        if (phase !== "outside") fail(event, "a step in a step")
        if (event.step !== step + 1) fail(event, "steps do not count by one")
        step = event.step
        phase = "model"
        calls = new Map()
        break
      case "RunRetried":
        phase = "outside"
        step = 0
        break
      case "PlanRevised":
      case "Compacted":
      case "ToolNotice":
      case "InputReceived":
        if (phase !== "model") fail(event, "not in a step")
        break
      case "StepRetried":
      case "TurnReplaced":
      case "TextDelta":
      case "ReasoningDelta":
      case "ToolParamsDelta":
        if (phase !== "model") fail(event, "not in a model call")
        break
      case "ToolCalled":
        if (event.providerExecuted === true) {
          if (phase !== "model" || running !== undefined) fail(event, "run by the provider outside of a model call")
          running = event.toolCallId
          break
        }
        if (event.parentToolCallId !== undefined) {
          if (calls.get(event.parentToolCallId) !== false) fail(event, "not inside of a running call")
        } else if (phase === "outside" || [...calls.values()].some(Boolean)) fail(event, "asked too late")
        phase = "tools"
        calls.set(event.toolCallId, false)
        break
      case "ApprovalRequested":
      case "ApprovalAnswered":
      case "ToolProgress":
      case "ToolCompleted":
      case "ToolFailed":
        if ("providerExecuted" in event) {
          if (running !== event.toolCallId) fail(event, "the provider ran no such call")
          running = undefined
          break
        }
        if (calls.get(event.toolCallId) !== false) fail(event, "no such running call")
        if (event._tag === "ToolCompleted" || event._tag === "ToolFailed") calls.set(event.toolCallId, true)
        break
      case "OutputRejected":
        if (phase !== "model") fail(event, "rejected outside of an answer")
        break
      case "StepCompleted":
        if (phase === "outside") fail(event, "no step to complete")
        if ([...calls.values()].some((done) => !done)) fail(event, "a call without an outcome")
        phase = "outside"
        break
      case "RouteTaken":
      case "RoundCompleted":
      case "PlanMade":
      case "HandedOff":
      case "StoppedEarly":
      case "ItemCompleted":
      case "TaskChanged":
      case "MessageSent":
        if (phase !== "outside") fail(event, "decided within a step")
        break
      case "RunCompleted":
        if (phase !== "outside") fail(event, "completed in a step")
    }
  })
}

/** The events after a `StepRetried`, `TurnReplaced` or `RunRetried` void those before it: what a consumer is left with. */
export const effective = (events: ReadonlyArray<Event>): ReadonlyArray<Event> =>
  events.reduce<Array<Event>>((kept, event) => {
    if (event._tag === "StepRetried" || event._tag === "TurnReplaced" || event._tag === "RunRetried") {
      return kept.filter((one) => one.runId !== event.runId || one.seq < event.discardFrom)
    }
    kept.push(event)
    return kept
  }, [])

/** Runs a stream to its end, checks the grammar and the JSON form of every event, and gives events and exit. */
export const collect = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) =>
  Effect.gen(function* () {
    const events: Array<Event> = []
    const exit = yield* Effect.exit(
      Stream.runForEach(runner.stream(input), (event) => Effect.sync(() => void events.push(event)))
    )
    checkGrammar(events)
    for (const event of events) {
      const line = yield* RunEvent.toJsonLine(event)
      assert.deepStrictEqual(
        JSON.parse(yield* RunEvent.toJsonLine(yield* RunEvent.fromJsonLine(line))),
        JSON.parse(line)
      )
    }
    const isSuspended = Exit.isFailure(exit) && Predicate.isTagged(Cause.squash(exit.cause), "RunSuspended")
    const expected = Exit.isSuccess(exit) ? "RunCompleted" : isSuspended ? "RunSuspended" : "RunFailed"
    assert.strictEqual(events.at(-1)?._tag, expected)
    return { events, exit }
  })

/** The text of the root run, as a consumer of its deltas has it. */
export const textOf = (events: ReadonlyArray<Event>): string =>
  effective(events)
    .flatMap((event) => (event._tag === "TextDelta" && event.path.length === 1 ? [event.delta] : []))
    .join("")
