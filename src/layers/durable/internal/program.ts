/** What a process executes for a durable definition: the runner, with this process's services and the run's journal. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { CurrentState } from "../../../internal/runState.ts"
import { encodeUsed } from "../../../internal/stepAccount.ts"
import * as Runner from "../../../Runner.ts"
import { type Approver, CurrentApprover, type Decision } from "../../../services/Approver.ts"
import { CurrentRun } from "../../../services/CurrentRun.ts"
import { CurrentJournal } from "../../../services/Journal.ts"
import { SyncBridge } from "../../../services/SyncBridge.ts"
import { CurrentRecorder, CurrentSampler, type Recorder } from "../../../services/TraceStore.ts"
import { CurrentWaiting } from "../../../services/Waiting.ts"
import type { Definition } from "./definition.ts"
import type { Execute, Start } from "./engine.ts"

/** The runner of an execution: under the name of its definition, with its events and its usage kept. */
export const runnerOf = (
  durable: Definition,
  { measure, onEvent }: Start
): Runner.Runner<unknown, unknown, unknown, never> => {
  const runner = durable.runner as Runner.Runner<unknown, unknown, unknown, never>
  const measured = Runner.metered(runner, (meter) =>
    measure(() => {
      const { used } = meter
      return used.steps === 0 ? undefined : encodeUsed(used)
    })
  )
  return Runner.onEvent(Runner.named(measured, durable.name), onEvent)
}

/** Executes the runs of a definition with these services. */
export const programOf =
  (durable: Definition, services: Context.Context<never>): Execute =>
  (start) => {
    return Effect.gen(function* () {
      const input = yield* durable.input.decode("", start.input)
      return yield* durable.output.encode("", yield* runnerOf(durable, start).run(input))
    }).pipe(
      Effect.mapError(durable.encodeError),
      Effect.updateContext((context: Context.Context<never>) => ofRun(Context.merge(context, services), start))
    )
  }

/** The services of the process, without what belongs to a run around the call, and with the journal of this one. */
export const journaled = (services: Context.Context<never>, start: Start): Context.Context<never> =>
  services.pipe(
    Context.add(CurrentState, undefined),
    Context.add(CurrentRun, undefined),
    Context.add(SyncBridge, undefined),
    Context.add(CurrentJournal, start.journal),
    Context.add(CurrentRecorder, recorderOf(services, start)),
    Context.add(CurrentSampler, undefined)
  )

/** Has what is kept of the run recorded, and not what each execution of it emits again. */
const recorderOf = (services: Context.Context<never>, { recordBy }: Start): Recorder | undefined => {
  const recorders = [Context.get(services, CurrentRecorder), Context.get(services, CurrentSampler)].filter(
    (one) => one !== undefined
  )
  if (recorders.length === 0) return undefined
  return (run) => {
    recordBy(recorders.map((record) => record(run)))
    return () => {}
  }
}

/** The same, in which a run waits where others end as suspended. */
const ofRun = (services: Context.Context<never>, start: Start): Context.Context<never> =>
  journaled(services, start).pipe(
    Context.add(CurrentWaiting, (waiting) =>
      start.ask({ kind: "client-tool", id: waiting.id, name: waiting.tool, request: asJson(waiting) })
    ),
    Context.add(CurrentApprover, approverOf(Context.get(services, CurrentApprover), start))
  )

/** A value that has a JSON form, as JSON. */
export const asJson = (value: unknown): Schema.Json => JSON.parse(JSON.stringify(value)) as Schema.Json

const Decided = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("Approved"), params: Schema.optionalKey(Schema.Json) }),
  Schema.Struct({ _tag: Schema.Literal("Denied"), reason: Schema.String })
])

/** What the approver of the process leaves for later is decided from outside, and takes no process meanwhile. */
const approverOf = (approver: Approver | undefined, { decide }: Start): Approver => ({
  rule: (request, declared, about) => approver?.rule(request, declared, about) ?? (declared ? "ask" : "allow"),
  decide: (request) => {
    const outside = Effect.map(
      decide({ kind: "approval", id: request.id, name: request.tool, request: asJson(request) }),
      (json): Decision =>
        Option.getOrElse(Schema.decodeUnknownOption(Decided)(json), () => ({
          _tag: "Denied",
          reason: "the decision could not be read"
        }))
    )
    return approver === undefined
      ? outside
      : Effect.flatMap(approver.decide(request), (decision) =>
          decision._tag === "Later" ? outside : Effect.succeed(decision)
        )
  }
})
