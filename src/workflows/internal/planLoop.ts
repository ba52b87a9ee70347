/**
 * One run of a plan-execute-evaluate: plans are made, checked, carried out and judged until one is accepted. Types are
 * erased here; `PlanExecuteEvaluate` has them.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Schemas from "../../internal/runnerSchemas.ts"
import { isAsleep, sleep } from "../../internal/sleep.ts"
import { toJson } from "../../internal/json.ts"
import { withInterruptFailures } from "../../internal/interruptFailures.ts"
import { isPassedOn } from "../../internal/resumption.ts"
import type { RunState } from "../../internal/runState.ts"
import type { Saved } from "../../internal/suspension.ts"
import { goOn, suspend } from "../../internal/workflowSuspension.ts"
import { RunSuspended } from "../../RunError.ts"
import * as Runner from "../../Runner.ts"
import * as Group from "./branchGroup.ts"
import { InvalidPlan, PlanNotAccepted, StepsFailed } from "./errors.ts"
import { replayable } from "../../internal/input.ts"
import { unlessLeaving } from "../../internal/trueExit.ts"
import { toEffect } from "../../internal/wiring.ts"
import { keeping } from "./keptBranches.ts"
import * as Kept from "./keptPlan.ts"
import * as Plan from "./plan.ts"
import * as Text from "./planPrompts.ts"
import { bestOf, settledRound } from "./verdict.ts"

type AnyRunner = Runner.Runner<unknown, unknown, unknown, unknown>
type Fn = (input: unknown) => unknown
type Program = Effect.Effect<unknown, unknown, unknown>

/** Everything that the definition says, checked and made ready. */
export interface Settings {
  readonly name: string
  readonly planner: AnyRunner | Fn | Program
  /** The description of the workers for a planner that is a runner; `undefined` if it has them already. */
  readonly introduction: string | undefined
  readonly workers: ReadonlyMap<string, AnyRunner> | undefined
  readonly executor: AnyRunner | Fn | undefined
  readonly evaluator: AnyRunner | Fn | undefined
  readonly accept: (verdict: unknown) => boolean
  readonly score: (verdict: unknown) => number
  readonly combine: AnyRunner | Fn | undefined
  readonly maxRounds: number
  readonly maxSteps: number
  readonly planRepairs: number
  readonly concurrency: number
  readonly onMaxRounds: "best" | "fail"
  readonly onStepFailure: "replan" | "fail"
}

/** A round whose steps have all succeeded. */
export interface Round extends Verdict {
  /** Counted from 1. */
  readonly round: number
  readonly plan: Plan.Plan
  readonly steps: ReadonlyArray<Plan.DoneStep>
}

interface Verdict {
  readonly verdict: unknown
  /** The verdict as JSON. */
  readonly encoded: Schema.Json
}

/** How the last round went. */
export type Last =
  | { readonly _tag: "failed"; readonly error: StepsFailed<unknown> }
  | { readonly _tag: "rejected"; readonly round: Round }

/** A later round ended by a failure of the planner or the evaluator. */
interface Broken {
  readonly failure: unknown
}

/** Runs it once for a goal. */
export const run = (settings: Settings, goal: unknown, state: RunState): Program =>
  Effect.suspend(() =>
    runRounds({
      settings,
      goal: replayable(goal),
      state,
      done: new Map(),
      rejected: [],
      last: undefined,
      broken: undefined,
      members: []
    })
  )

/** Goes on with a run in which members wait; `undefined` where what was kept is not that of such a run. */
export const restore = (settings: Settings, saved: Saved, state: RunState): Program | undefined => {
  const found = Kept.restored(settings, saved.state)
  if (found === undefined || saved.members.length === 0) return undefined
  const { part, progress } = found
  return Effect.suspend(() => {
    const loop: Loop = {
      settings,
      goal: progress.goal,
      state,
      done: new Map(progress.done),
      rejected: [...progress.rejected],
      last: progress.last,
      broken: undefined,
      members: saved.members
    }
    return part._tag === "combine" ? combineAll(loop, part.done) : runRounds(loop, part)
  })
}

/** One run of the workflow, and what it knows so far. */
interface Loop {
  readonly settings: Settings
  readonly goal: unknown
  readonly state: RunState
  readonly done: Map<string, Plan.DoneStep>
  readonly rejected: Array<Round>
  last: Last | undefined
  broken: Broken | undefined
  /** The members that go on, until the part that they belong to has begun. */
  members: Saved["members"]
}

/** Runs the planner, the evaluator or what combines. When it waits, so does the workflow, with all that it knows. */
const partly = (loop: Loop, part: Kept.Part, work: Program): Program => {
  const member = loop.members[0]
  loop.members = []
  const resumed = unlessLeaving(member === undefined ? work : goOn(work, member, loop.state))
  return keeping(resumed, part._tag, loop.state, loop.goal, () => Kept.save(loop.settings, loop, part))
}

type From = Exclude<Kept.Part, { readonly _tag: "combine" }>

const runRounds = Effect.fnUntraced(function* (loop: Loop, from?: From) {
  const { maxRounds, onStepFailure } = loop.settings
  for (let round = from?.round ?? 1; round <= maxRounds; round++) {
    const at = from?.round === round ? from : undefined
    const planned =
      at === undefined || at._tag === "plan"
        ? yield* attempted(loop, makePlan(loop, round, at), round)
        : { value: at.plan }
    if (planned === undefined) break
    const plan = planned.value
    if (plan === undefined) break
    if (at === undefined || at._tag === "plan") {
      yield* loop.state.events.decide({ _tag: "PlanMade", round, plan: toJson(plan) })
    }
    const failed = at?._tag === "judge" ? undefined : yield* carryOut(loop, plan, round)
    if (failed !== undefined) {
      loop.last = { _tag: "failed", error: failed }
      const verdict = { failures: failuresOf(failed) }
      yield* loop.state.events.decide({ _tag: "RoundCompleted", round, accepted: false, verdict: toJson(verdict) })
      const isBug = failed.failures.some(({ error }) => error instanceof Group.BranchDefect)
      const isOver = failed.failures.some(({ error }) => isPassedOn(error))
      if (isBug || isOver || onStepFailure === "fail") return yield* Effect.fail(failed)
      continue
    }
    const steps = plan.steps.map(({ id }) => loop.done.get(id)!)
    const judged = yield* attempted(loop, judge(loop, plan, steps, round), round)
    if (judged === undefined) break
    const done: Round = { round, plan, steps, ...judged.value }
    const accepted = loop.settings.evaluator === undefined || loop.settings.accept(done.verdict)
    yield* loop.state.events.decide({ _tag: "RoundCompleted", round, accepted, verdict: done.encoded })
    if (accepted) return yield* combineAll(loop, done)
    loop.last = { _tag: "rejected", round: done }
    loop.rejected.push(done)
  }
  return yield* exhausted(loop)
})

/** Planning or judging, or `undefined` when its failure ends the rounds because an earlier one was judged. */
const attempted = <A>(
  loop: Loop,
  work: Effect.Effect<A, unknown, unknown>,
  round: number
): Effect.Effect<{ readonly value: A } | undefined, unknown, unknown> =>
  Effect.flatMap(settledRound(work, loop.rejected.length === 0), (settled) => {
    if (Result.isSuccess(settled)) return Effect.succeed({ value: settled.success })
    loop.broken = { failure: settled.failure }
    const verdict = { failure: Group.textOf(settled.failure) }
    return Effect.as(loop.state.events.decide({ _tag: "RoundCompleted", round, accepted: false, verdict }), undefined)
  })

/** A plan that can be carried out; `undefined` when the planner has none but the one whose results were rejected. */
const makePlan = Effect.fnUntraced(function* (loop: Loop, round: number, from?: Extract<Kept.Part, { _tag: "plan" }>) {
  const { maxSteps, name, planRepairs, workers } = loop.settings
  const rules = { workers: workers && [...workers.keys()], maxSteps, done: loop.done }
  let refused: Kept.Refused | undefined = from?.refused
  for (let attempt = from?.attempt ?? 1; ; attempt++) {
    const part: Kept.Part = { _tag: "plan", round, attempt, refused }
    const given = (yield* partly(
      loop,
      part,
      Effect.suspend(() => ask(loop, round, refused))
    )) as Plan.PlanLike
    const { plan, problems } = Plan.check(given, rules)
    const idle = problems.length === 0 && isIdle(loop, plan)
    if (problems.length === 0 && !idle) return plan
    if (attempt > planRepairs) {
      if (idle) return undefined
      return yield* Effect.fail(new InvalidPlan({ name, round, attempts: attempt, problems, plan }))
    }
    refused = { plan: given, problems: idle ? [alreadyDone] : problems }
  }
})

const isIdle = (loop: Loop, plan: Plan.Plan): boolean => {
  if (loop.last?._tag !== "rejected") return false
  const before = new Set(loop.last.round.plan.steps.map(({ id }) => id))
  const kept = Plan.keptOf(plan, loop.done)
  return plan.steps.length === before.size && plan.steps.every(({ id }) => before.has(id) && kept.has(id))
}

const ask = (
  loop: Loop,
  round: number,
  refused: Kept.Refused | undefined
): Effect.Effect<Plan.PlanLike, unknown, unknown> => {
  const { introduction, planner } = loop.settings
  const last = loop.last
  if (Runner.isRunner(planner)) {
    const texts = [
      ...(introduction === undefined ? [] : [introduction]),
      ...(last === undefined ? [] : [Text.replanText(reportOf(last), loop.done)]),
      ...(refused === undefined ? [] : [Text.repairText(refused.plan, refused.problems)])
    ]
    const input = texts.length === 0 ? Text.alone(loop.goal) : Text.after(loop.goal, texts.join("\n\n"))
    return planner.run(input) as Effect.Effect<Plan.PlanLike, unknown, unknown>
  }
  const made = Effect.isEffect(planner)
    ? planner
    : planner({
        goal: loop.goal,
        round,
        plan: refused?.plan ?? (last === undefined ? undefined : planOf(last)),
        problems: refused?.problems ?? [],
        results: outputsOf(loop.done.values()),
        failures: last?._tag === "failed" ? last.error.failures : [],
        verdict: last?._tag === "rejected" ? last.round.verdict : undefined
      })
  return made as Effect.Effect<Plan.PlanLike, unknown, unknown>
}

/** The steps as work that is done at once: each begins when those it depends on are done. */
const entriesOf = (
  loop: Loop,
  steps: ReadonlyArray<Plan.Step>,
  round: number,
  suspended: Set<string>
): ReadonlyArray<Group.Entry> => {
  const signals = new Map(steps.map(({ id }) => [id, Deferred.makeUnsafe<void, RunSuspended>()]))
  const places = Semaphore.makeUnsafe(loop.settings.concurrency)
  const members = new Map(loop.members.map((member) => [member.key, member]))
  loop.members = []
  return steps.map((step): Group.Entry => {
    const signal = signals.get(step.id)!
    const before = step.dependsOn.flatMap((id) => signals.get(id) ?? [])
    const member = members.get(step.id)
    const work = Effect.suspend(() => workOn(loop, step, round))
    const noting = Effect.onError(member === undefined ? work : goOn(work, member, loop.state), (cause) => {
      if (cause.reasons.some((reason) => Cause.isFailReason(reason) && reason.error instanceof RunSuspended)) {
        suspended.add(step.id)
      }
      return Effect.void
    })
    const waiting = Effect.forEach(before, (one) => Deferred.await(one), { discard: true })
    const all = Effect.andThen(waiting, Semaphore.withPermits(places, 1, noting))
    return [step.id, Effect.onExit(all, (exit) => over(signal, exit))]
  })
}

/** Lets the steps that depend on one go on. One that waits, or sleeps, lets them wait or sleep with it: they do not begin. */
const over = (
  signal: Deferred.Deferred<void, RunSuspended>,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<unknown> => {
  if (Exit.isSuccess(exit)) return Deferred.succeed(signal, undefined)
  const error = Group.suspensionIn(exit)
  if (error !== undefined) return Deferred.fail(signal, error)
  return Effect.flatMap(isAsleep(exit), (asleep) =>
    asleep ? Effect.sync(() => Deferred.doneUnsafe(signal, sleep)) : Effect.void
  )
}

/** Runs the steps that are not done, each as soon as those it depends on are. Returns the failure, if there is one. */
const carryOut = (
  loop: Loop,
  plan: Plan.Plan,
  round: number
): Effect.Effect<StepsFailed<unknown> | undefined, StepsFailed<unknown> | RunSuspended, unknown> =>
  Effect.suspend(() => {
    const { settings, state } = loop
    const { name } = settings
    const kept = Plan.keptOf(plan, loop.done)
    const steps = plan.steps.filter(({ id }) => !kept.has(id))
    const suspended = new Set<string>()
    const all = Group.run(entriesOf(loop, steps, round, suspended), {
      name,
      mode: Group.failFast,
      concurrency: "unbounded",
      state,
      onWaiting: (waiting) => {
        const [first, ...others] = waiting.suspended.filter(({ key }) => suspended.has(key))
        const part: Kept.Part = { _tag: "steps", round, plan }
        return suspend(state, loop.goal, Kept.save(settings, loop, part), [first!, ...others])
      }
    })
    const toError = (error: Group.ParallelError<unknown> | RunSuspended) => {
      if (error instanceof RunSuspended) return error
      const { failures } = error
      const ended = new Set(failures.map(({ branch }) => branch))
      for (const step of steps) if (loop.done.get(step.id)?.step === step) ended.add(step.id)
      return new StepsFailed<unknown>({
        name,
        round,
        failures: failures.map(({ branch, error }) => ({ step: branch, error })),
        interrupted: steps.flatMap(({ id }) => (ended.has(id) ? [] : [id])),
        plan,
        done: encodedOf(loop.done.values()),
        spent: loop.state.bill.spent()
      })
    }
    return withInterruptFailures(
      all,
      (group) =>
        Effect.matchEffect(group, {
          onSuccess: () => Effect.succeed(undefined),
          onFailure: (error) => {
            const failed = toError(error)
            return failed instanceof RunSuspended ? Effect.fail(failed) : Effect.succeed(failed)
          }
        }),
      toError
    )
  })

const workOn = (loop: Loop, step: Plan.Step, round: number): Program => {
  const { executor, workers } = loop.settings
  const inputs = step.dependsOn.map((id) => loop.done.get(id)!)
  // From here on what it gave for another task or input is out of date.
  loop.done.delete(step.id)
  const by = workers === undefined ? executor! : workers.get(step.worker!)!
  const isRunner = Runner.isRunner(by)
  const runner: AnyRunner = isRunner
    ? by
    : Runner.make(step.id, {
        run: () => by({ goal: loop.goal, step, results: outputsOf(inputs), round }) as Program
      })
  const { body } = runner.definition
  const noting = Runner.fromDefinition(step.id, runner.description, {
    ...runner.definition,
    // Within the run: once it has emitted that it completed, it is done, even if it is interrupted then.
    body: (input, state) =>
      Effect.tap(body(input, state), (output) =>
        Effect.sync(() =>
          loop.done.set(step.id, { step, output, encoded: Schemas.encodeOutput(runner, output), inputs })
        )
      )
  })
  return noting.run(isRunner ? Text.after(loop.goal, Text.stepText(step, inputs)) : undefined)
}

const judge = (
  loop: Loop,
  plan: Plan.Plan,
  steps: ReadonlyArray<Plan.DoneStep>,
  round: number
): Effect.Effect<Verdict, unknown, unknown> => {
  const { evaluator } = loop.settings
  if (evaluator === undefined) return Effect.succeed({ verdict: undefined, encoded: null })
  const judged = Effect.suspend(() =>
    Runner.isRunner(evaluator)
      ? evaluator.run(Text.after(loop.goal, Text.doneText(steps)))
      : (evaluator(finished(loop, plan, steps, round)) as Program)
  )
  return Effect.map(partly(loop, { _tag: "judge", round, plan }, judged), (verdict) => ({
    verdict,
    encoded: Schemas.encodeOutput(evaluator, verdict)
  }))
}

const combineAll = (loop: Loop, done: Round): Program =>
  partly(
    loop,
    { _tag: "combine", done },
    Effect.suspend(() => combineSteps(loop, done))
  )

const combineSteps = (loop: Loop, { plan, round, steps }: Round): Program => {
  const { combine } = loop.settings
  if (combine === undefined) {
    const last = new Set(Plan.lastOf(plan))
    return Effect.succeed(outputsOf(steps.filter(({ step }) => last.has(step.id))))
  }
  if (Runner.isRunner(combine)) return combine.run(Text.after(loop.goal, Text.doneText(steps)))
  return toEffect(combine(finished(loop, plan, steps, round)))
}

const finished = (loop: Loop, plan: Plan.Plan, steps: ReadonlyArray<Plan.DoneStep>, round: number) => ({
  goal: loop.goal,
  plan,
  results: outputsOf(steps),
  round
})

const exhausted = (loop: Loop): Program => {
  const { name, onMaxRounds, score } = loop.settings
  const last = loop.last
  const first = loop.rejected[0]
  if (first === undefined || (onMaxRounds === "fail" && last?._tag === "failed" && loop.broken === undefined)) {
    return last?._tag === "failed" ? Effect.fail(last.error) : Effect.die(new Error(`"${name}" has had no round`))
  }
  const best = bestOf(loop.rejected, score)
  if (onMaxRounds === "best") return combineAll(loop, best)
  return Effect.fail(
    new PlanNotAccepted({
      name,
      rounds: loop.rejected.at(-1)!.round,
      plan: best.plan,
      results: encodedOf(best.steps),
      verdict: best.encoded,
      ...loop.broken,
      spent: loop.state.bill.spent()
    })
  )
}

const alreadyDone =
  "every step of it is done already, and the results were not accepted: give the steps that must be done again another task, or plan others"

const failuresOf = ({ failures }: StepsFailed<unknown>) =>
  failures.map(({ error, step }) => ({ step, error: Group.textOf(error) }))

const planOf = (last: Last): Plan.Plan => (last._tag === "failed" ? last.error.plan : last.round.plan)

const reportOf = (last: Last): Text.Report =>
  last._tag === "failed"
    ? { plan: last.error.plan, failures: failuresOf(last.error), open: last.error.interrupted, verdict: undefined }
    : { plan: last.round.plan, failures: [], open: [], verdict: last.round }

const outputsOf = (steps: Iterable<Plan.DoneStep>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Array.from(steps, ({ output, step }) => [step.id, output]))

const encodedOf = (steps: Iterable<Plan.DoneStep>): Readonly<Record<string, Schema.Json>> =>
  Object.fromEntries(Array.from(steps, ({ encoded, step }) => [step.id, encoded]))
