/**
 * The interface that every agent and every workflow has, and its combinators. `run`, `result` and `stream` are three
 * views of one body.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import {
  assertFunction,
  assertName,
  assertOneOf,
  assertOptions,
  assertSchema,
  assertText,
  durationOf,
  invalid,
  kindOf,
  limitOf,
  namesOf,
  numberOf
} from "./internal/definition.ts"
import { inAttempts } from "./internal/attempts.ts"
import * as Budgets from "./internal/budget.ts"
import { codec } from "./internal/jsonForm.ts"
import { type Definition, execute, type Result, resultOf, streamOf } from "./internal/execution.ts"
import { withoutMail } from "./internal/inbox.ts"
import * as Compensation from "./internal/compensation.ts"
import { withInterruptFailures } from "./internal/interruptFailures.ts"
import { journalOf } from "./internal/journaled.ts"
import { draw } from "./internal/mermaid.ts"
import { messageOf } from "./internal/message.ts"
import { assertOneEffect } from "./internal/oneEffect.ts"
import * as Resumption from "./internal/resumption.ts"
import { modelOf } from "./internal/runnerModel.ts"
import { CurrentState, type RunState } from "./internal/runState.ts"
import * as Suspension from "./internal/suspension.ts"
import type { Saved } from "./internal/suspension.ts"
import { goOn, refusal, suspend, suspendForEvent } from "./internal/workflowSuspension.ts"
import { promptIn, replayable, toPrompt } from "./internal/input.ts"
import * as Schemas from "./internal/runnerSchemas.ts"
import { type Used, usedSince } from "./internal/stepAccount.ts"
import { aFunction, type Structure } from "./internal/structure.ts"
import * as Spans from "./internal/telemetry.ts"
import * as TimeLimit from "./internal/timeLimit.ts"
import { unlessLeaving } from "./internal/trueExit.ts"
import { within } from "./internal/withinBudget.ts"
import {
  type BudgetExceeded,
  CannotResume,
  InvalidApproval,
  InvalidTranscript,
  RunSuspended,
  type RunTimedOut
} from "./RunError.ts"
import type { RunEvent } from "./RunEvent.ts"
import type { Decision } from "./services/Approver.ts"
import { CurrentRun, type RunInfo } from "./services/CurrentRun.ts"
import { CurrentWaiting, type WaitingFor } from "./services/Waiting.ts"
import { signal } from "./Step.ts"

assertOneEffect(import.meta.url)

const TypeId = "~troupe/Runner"

/**
 * Something that turns an input into an output by running agents: an agent, a workflow, or a function made into one.
 *
 * - `run` succeeds with the plain output, so that runners compose.
 * - `result` adds the bill and the transcript.
 * - `stream` emits events as they happen; its last event carries the result, and when the run fails the stream
 *   fails with the same typed error after a `RunFailed`. A slow consumer slows the run; ending the stream interrupts it.
 *
 * Interrupting any of the three interrupts everything the run has started, and waits for its finalizers.
 */
export interface Runner<in Input, out Output, out Error, out Services> extends Pipeable {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  /** The purpose of the runner. Guides routers, and is the tool's description in `AgentTool.fromRunner`. */
  readonly description: string | undefined
  /** Runs it and succeeds with the plain output. Interrupting it interrupts everything that the run has started. */
  readonly run: (input: Input) => Effect.Effect<Output, Error, Services>
  /** Like `run`, and succeeds with the output, usage, steps, decisions, duration and the transcript. */
  readonly result: (input: Input) => Effect.Effect<Result<Output>, Error, Services>
  /**
   * Like `run`, and emits events as they happen. The last event is `RunCompleted` with the output, or `RunFailed`, after
   * which the stream fails with the same error. Ending the stream interrupts the run.
   */
  readonly stream: (input: Input) => Stream.Stream<RunEvent, Error, Services>
  /** @internal */
  readonly definition: Definition<Input, Output, Error, Services>
}

/** Any runner. */
export type Any = Runner<never, unknown, unknown, unknown>
/**
 * Any runner, where a type is inferred from it. Its types are left out, because those of {@link Any} would be taken for a
 * runner that is written in place: one that does not look at its input would take `never`.
 */
export type Member = Pick<Any, typeof TypeId | "name" | "description">
/** The input that runner `R` takes. */
export type Input<R> = R extends Runner<infer I, infer _A, infer _E, infer _R> ? I : never
/** The output of runner `R`. */
export type Output<R> = R extends Runner<infer _I, infer A, infer _E, infer _R> ? A : never
/** The errors that runner `R` can fail with. */
export type Error<R> = R extends Runner<infer _I, infer _A, infer E, infer _R> ? E : never
/** The services that runner `R` needs. */
export type Services<R> = R extends Runner<infer _I, infer _A, infer _E, infer S> ? S : never

export type { Remaining } from "./internal/budget.ts"
export { type Definition, type MemberTranscript, type Result, StreamBuffer } from "./internal/execution.ts"

/** True for a runner. */
export const isRunner = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * @internal The members of a workflow, by name or by their place in a list. Throws `InvalidDefinition` for one that is not a
 * runner.
 */
export const membersOf = (
  subject: string,
  members: Readonly<Record<string, unknown>> | ReadonlyArray<unknown>
): ReadonlyArray<readonly [key: string, member: Any]> => {
  assertMembers(subject, members)
  return Object.entries<unknown>(members).map(([key, member]) => {
    if (isRunner(member)) return [key, member]
    const [what, remedy] = notARunner(member)
    throw invalid(subject, `"${key}" is ${what}, not a runner`, remedy)
  })
}

/** @internal As {@link membersOf}, for a workflow whose members have names. */
export const namedMembersOf = (
  subject: string,
  members: Readonly<Record<string, unknown>>
): ReadonlyArray<readonly [key: string, member: Any]> => {
  if (Array.isArray(members)) throw invalid(subject, "its members are a list", "Give them by name: { name: runner }")
  return membersOf(subject, members)
}

/** @internal Throws `InvalidDefinition` where nothing stands in the place of the members. */
export const assertMembers = (subject: string, members: unknown): void => {
  if (typeof members === "object" && members !== null) return
  throw invalid(subject, `its members are ${kindOf(members)}`, "Give its name first, then its members")
}

/** What a value is that is not a runner, and what to do about it. The compiler says the same, see `RunnerSlot`. */
const notARunner = (value: unknown): readonly [what: string, remedy: string] => {
  if (Predicate.hasProperty(value, "execute") || Predicate.hasProperty(value, "parametersSchema")) {
    return ["a tool", "Give it to an agent, which is one"]
  }
  if (Layer.isLayer(value)) return ["a Layer", "Provide it around the run with Effect.provide"]
  if (Effect.isEffect(value)) return ["an Effect", 'Write Runner.make("name", { run: () => effect })']
  if (typeof value === "function") return ["a function", 'Write Runner.make("name", { run: (input) => effect })']
  return [kindOf(value), "Make one with Agent.make, Runner.make or a workflow"]
}

/** The run that the current fiber works for, for code inside of tools and middleware. `None` outside of a run. */
export const current: Effect.Effect<Option.Option<RunInfo>> = Effect.map(CurrentRun, Option.fromUndefinedOr)

/** @internal */
export const fromDefinition = <I, A, E, R>(
  name: string,
  description: string | undefined,
  definition: Definition<I, A, E, R>
): Runner<I, A, E, R> => ({
  [TypeId]: TypeId,
  name,
  description,
  definition,
  run: (input) => execute(name, definition, input, {}),
  result: (input) => Effect.suspend(() => resultOf(name, definition, input)),
  stream: (input) => streamOf(name, definition, input),
  pipe
})

/** Shared by all runners: programs make thousands of agents. */
function pipe(this: unknown): unknown {
  // oxlint-disable-next-line prefer-rest-params -- Pipeable's own protocol
  return pipeArguments(this, arguments)
}

/**
 * Makes a runner of a function. Runs of other runners inside of it are nested: their events carry the longer path,
 * their usage is summed into this run's, and they are interrupted with it.
 *
 * - `output`: the schema that encodes the output for `RunCompleted`; without one its own JSON shape is taken.
 * - `input`: the schema that decodes inputs which arrive as JSON, at an MCP server or the command line. Inputs in the
 *   program are not decoded. Throws `InvalidDefinition` for a schema without a JSON form.
 * - `compensate`: undoes what it did, see {@link withCompensation}.
 *
 * @example
 * import { Effect } from "effect"
 * import { Runner } from "troupe"
 *
 * const shout = Runner.make("shout", { run: (text: string) => Effect.succeed(text.toUpperCase()) })
 */
export const make = <I, A, E = never, R = never, R2 = never>(
  name: string,
  options: {
    readonly description?: string | undefined
    readonly input?: Schema.Codec<I, unknown> | undefined
    readonly output?: Schema.Schema<A> | undefined
    readonly run: (input: I) => Effect.Effect<A, E, R>
    readonly compensate?: ((output: NoInfer<A>) => Effect.Effect<unknown, never, R2>) | undefined
  }
): Runner<I, A, E, R | R2> => {
  assertName("a runner", name, 'Give it one: Runner.make("name", { run })')
  const subject = `runner "${name}"`
  assertOptions(subject, options, known)
  assertText(subject, "description", options.description)
  assertFunction(subject, "run", options.run)
  const runner: Runner<I, A, E, R> = fromDefinition(name, options.description, {
    body: (input) => Effect.suspend(() => options.run(input)),
    ...schemasOf(subject, options),
    observers: [],
    structure: aFunction
  })
  return options.compensate === undefined ? runner : withCompensation(runner, options.compensate)
}

const known: ReadonlySet<string> = new Set(["compensate", "description", "input", "output", "run"])

/** The schemas that a function's author knows. */
const schemasOf = (
  subject: string,
  { input, output }: { readonly input?: unknown; readonly output?: unknown }
): Schemas.Schemas => {
  if (input !== undefined) codec(subject, input as Schema.Top, "input")
  if (output !== undefined) assertSchema(subject, "output", output)
  return {
    input: Schemas.always(input as Schema.Top | undefined),
    output: Schemas.always(output as Schema.Top | undefined)
  }
}

/** @internal What a workflow is made of. */
export interface Workflow<in I, out A, out E, out R> {
  readonly description: string | undefined
  readonly structure: () => Structure
  /** The schema of its inputs, made of those of its members; not known if unset. */
  readonly input?: Schemas.Lazy | undefined
  /** The schema of its outputs, made of those of its members; not known if unset. */
  readonly output?: Schemas.Lazy | undefined
  readonly run: (input: I, state: RunState) => Effect.Effect<A, E, R>
  /**
   * Goes on at a member that is suspended; the member is run with `input` and takes the transcript instead. `undefined`
   * where there is no such member. Without it the workflow cannot be resumed in its middle.
   */
  readonly resume?: ((member: string, input: I, state: RunState) => Effect.Effect<A, E, R> | undefined) | undefined
  /** Why it cannot be resumed in its middle, where it has neither `resume` nor `restore`. */
  readonly blocked?: string | undefined
  /** Whether one of its members has the conversation at a time, and listens to the inbox of the run. Default: none does. */
  readonly converses?: boolean | undefined
  /**
   * Goes on from what the workflow has kept of a run in which members wait. `undefined` where that is not of this workflow.
   */
  readonly restore?: ((saved: Saved, input: I, state: RunState) => Effect.Effect<A, E, R> | undefined) | undefined
}

/** @internal Makes a workflow whose body has its run's bookkeeping. */
export const workflow = <I, A, E, R>(name: string, options: Workflow<I, A, E, R>): Runner<I, A, E, R> =>
  fromDefinition(name, options.description, {
    // Without a span of its own, each of its members would begin a trace.
    body: (input, state) =>
      Spans.invoke(
        {
          path: state.info.path,
          conversationId: state.info.conversationId,
          description: options.description,
          isNew: () => state.isNew
        },
        Effect.suspend(() => {
          const run = runOrResume(options, input, state)
          return options.converses === true ? run : withoutMail(run)
        })
      ),
    input: Schemas.once(options.input ?? Schemas.unknown),
    output: Schemas.once(options.output ?? Schemas.unknown),
    observers: [],
    structure: options.structure
  })

/**
 * @internal Makes a workflow whose body works on members of erased types. The result fits every type that its constructor
 * declares: this cast is the only one.
 */
export const erasedWorkflow = (
  name: string,
  options: Workflow<never, unknown, unknown, unknown>
): Runner<unknown, never, never, never> => workflow(name, options) as Runner<unknown, never, never, never>

const runOrResume = <I, A, E, R>(
  options: Pick<Workflow<I, A, E, R>, "blocked" | "restore" | "resume" | "run">,
  input: I,
  state: RunState
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Resumption.find(input, state), (found): Effect.Effect<A, E | CannotResume | InvalidApproval, R> => {
    const { path } = state.info
    const { blocked = "its state is not kept while a member of it waits", restore, resume, run } = options
    const isStateful = resume === undefined && restore === undefined
    if (found === undefined) {
      const body = run(input, state)
      return isStateful ? Effect.provideService(body, Resumption.Blocking, { path, reason: blocked }) : body
    }
    const { resumption, rest } = found
    const fail = (problem: string) => Effect.fail(new CannotResume({ path, waiting: resumption.target, problem }))
    if (isStateful) return fail(`this workflow cannot be resumed in its middle: ${blocked}`)
    if (rest[0] === undefined) return restoreFrom(options, resumption, input, state, fail)
    const resumed = resume?.(rest[0], input, state)
    if (resumed === undefined) return fail("it has no such member, or more than one")
    return Resumption.within(resumed, resumption, path)
    // A transcript that waits is made by an agent, and `CannotResume` is one of the errors of every agent.
  }) as Effect.Effect<A, E, R>

/** Goes on from what the workflow itself has kept, when that counts. */
const restoreFrom = <I, A, E, R>(
  { restore }: Pick<Workflow<I, A, E, R>, "restore">,
  resumption: Resumption.Resumption,
  input: I,
  state: RunState,
  fail: (problem: string) => Effect.Effect<never, CannotResume>
): Effect.Effect<A, E | CannotResume | InvalidApproval, R> =>
  Effect.flatMap(refusal(resumption.transcript), (refused): Effect.Effect<A, E | CannotResume | InvalidApproval, R> => {
    if (refused !== undefined) return Effect.fail(new InvalidApproval({ path: state.info.path, ...refused }))
    const saved = Suspension.savedIn(resumption.transcript.content)
    if (saved === undefined) return fail("an agent of the same name waits in it")
    if (saved.blocked !== undefined) return fail(`it cannot be resumed in its middle: ${saved.blocked}`)
    const restored = restore?.(saved, input, state)
    if (restored === undefined) return fail("what is kept in it is not of this workflow, or not of this version of it")
    resumption.taken = true
    return restored
  })

const modify = <I, A, E, R, I2, A2, E2, R2>(
  self: Runner<I, A, E, R>,
  body: (input: I2, state: RunState, inner: (input: I) => Effect.Effect<A, E, R>) => Effect.Effect<A2, E2, R2>,
  { input, output }: Schemas.Schemas = self.definition
): Runner<I2, A2, E2, R2> =>
  fromDefinition<I2, A2, E2, R2>(self.name, self.description, {
    // Later, so that combinators around combinators take no stack of the caller's.
    body: (input, state) => body(input, state, (inner) => Effect.suspend(() => self.definition.body(inner, state))),
    input,
    output,
    observers: self.definition.observers,
    structure: self.definition.structure,
    session: self.definition.session
  })

/** Replaces the output of a run that has handed its conversation over. It never reaches a function of a user. */
const noOutput = <B>(): B => undefined as B

/** Options of {@link map} and {@link mapEffect}. */
export interface MapOptions<out B> {
  /** The schema of the new output; without one its own JSON shape is taken. */
  readonly output?: Schema.Schema<B> | undefined
}

/** Options of {@link mapInput}. */
export interface MapInputOptions<in out I2> {
  /** The schema of the new input, for inputs that arrive as JSON. */
  readonly input?: Schema.Codec<I2, unknown> | undefined
}

/** With a third argument that may be left out, only the first one tells which form it is. */
const isDataFirst = (args: IArguments): boolean => isRunner(args[0])

/** The schemas of a runner whose output was changed. */
const withOutput = (self: Any, options: MapOptions<unknown> = {}): Schemas.Schemas => {
  const subject = `runner "${self.name}"`
  assertOptions(subject, options, knownOfMap)
  return { ...schemasOf(subject, options), input: self.definition.input }
}

const knownOfMap = namesOf<MapOptions<unknown>>({ output: true })
const knownOfMapInput = namesOf<MapInputOptions<unknown>>({ input: true })

/**
 * Changes the output by a function; what it throws is a defect. It is the same run, with the same name. `output` is the
 * schema of what the function returns.
 * @example
 * import { Schema } from "effect"
 * import { Agent, Runner } from "troupe"
 * const lines = Agent.make("planner", {}).pipe(
 *   Runner.map((text) => text.split("\n"), { output: Schema.Array(Schema.String) })
 * )
 */
export const map: {
  <A, B>(f: (output: A) => B, options?: MapOptions<B>): <I, E, R>(self: Runner<I, A, E, R>) => Runner<I, B, E, R>
  <I, A, E, R, B>(self: Runner<I, A, E, R>, f: (output: A) => B, options?: MapOptions<B>): Runner<I, B, E, R>
} = dual(isDataFirst, <I, A, E, R, B>(self: Runner<I, A, E, R>, f: (output: A) => B, options?: MapOptions<B>) =>
  modify(
    self,
    (input: I, state, inner) => Effect.map(inner(input), (output) => (state.handedOver ? noOutput<B>() : f(output))),
    withOutput(self, options)
  )
)

/**
 * Changes the output by an Effect, whose errors and services join the runner's. It is the same run. `output` is the schema
 * of what the Effect succeeds with.
 * @example
 * import { Effect } from "effect"
 * import { Agent, Runner } from "troupe"
 * const noted = Agent.make("writer", {}).pipe(Runner.mapEffect((text) => Effect.as(Effect.log(text), text.length)))
 */
export const mapEffect: {
  <A, B, E2, R2>(
    f: (output: A) => Effect.Effect<B, E2, R2>,
    options?: MapOptions<B>
  ): <I, E, R>(self: Runner<I, A, E, R>) => Runner<I, B, E | E2, R | R2>
  <I, A, E, R, B, E2, R2>(
    self: Runner<I, A, E, R>,
    f: (output: A) => Effect.Effect<B, E2, R2>,
    options?: MapOptions<B>
  ): Runner<I, B, E | E2, R | R2>
} = dual(
  isDataFirst,
  <I, A, E, R, B, E2, R2>(
    self: Runner<I, A, E, R>,
    f: (output: A) => Effect.Effect<B, E2, R2>,
    options?: MapOptions<B>
  ) =>
    modify(
      self,
      (input: I, state, inner) =>
        Effect.flatMap(inner(input), (output): Effect.Effect<B, E2, R2> =>
          state.handedOver ? Effect.succeed(noOutput<B>()) : unlessLeaving(Effect.suspend(() => f(output)))
        ),
      withOutput(self, options)
    )
)

/**
 * Changes the input by a function before the runner gets it; what it throws is a defect. It is the same run. The transcript
 * of a suspended run reaches the runner as it is. `input` is the schema of what the function takes.
 * @example
 * import { Agent, Runner } from "troupe"
 * const about = Agent.make("writer", {}).pipe(Runner.mapInput((topic: { readonly name: string }) => `Write on ${topic.name}.`))
 */
export const mapInput: {
  <I, I2>(
    f: (input: I2) => I,
    options?: MapInputOptions<I2>
  ): <A, E, R>(self: Runner<I, A, E, R>) => Runner<I2, A, E, R>
  <I, A, E, R, I2>(self: Runner<I, A, E, R>, f: (input: I2) => I, options?: MapInputOptions<I2>): Runner<I2, A, E, R>
} = dual(
  isDataFirst,
  <I, A, E, R, I2>(self: Runner<I, A, E, R>, f: (input: I2) => I, options: MapInputOptions<I2> = {}) => {
    const subject = `runner "${self.name}"`
    assertOptions(subject, options, knownOfMapInput)
    return modify(
      self,
      (input: I2, _state, inner) =>
        Effect.suspend(() => inner(resumes(self, input) ? (input as unknown as I) : f(input))),
      { ...schemasOf(subject, options), output: self.definition.output }
    )
  }
)

/** A suspended agent resumes its own conversation, so its input is not needed again. */
const resumes = (self: Any, input: unknown): boolean =>
  self.definition.structure().kind !== "function" && Suspension.waitingAt(input) !== undefined

/**
 * Fails with `RunTimedOut` when the run takes longer than `duration`. Everything the run has started is interrupted,
 * and its finalizers have run, before the run fails. The error has the conversation up to then, from which an agent can go on.
 * A number is milliseconds. A suspended run that goes on with answers has the whole of it; `withBudget` has a `time` that counts on.
 * Throws `InvalidDefinition` when `duration` is not a duration.
 *
 * @example
 * import { Agent, Runner } from "troupe"
 * const quick = Agent.make("writer", {}).pipe(Runner.withTimeout("30 seconds"))
 */
export const withTimeout: {
  (duration: Duration.Input): <I, A, E, R>(self: Runner<I, A, E, R>) => Runner<I, A, E | RunTimedOut, R>
  <I, A, E, R>(self: Runner<I, A, E, R>, duration: Duration.Input): Runner<I, A, E | RunTimedOut, R>
} = dual(2, <I, A, E, R>(self: Runner<I, A, E, R>, input: Duration.Input) => {
  const duration = durationOf(`runner "${self.name}"`, "timeout", input)
  return modify(self, (input: I, state, inner) => TimeLimit.within(inner(input), duration, state))
})

/** What the runs of a runner may use, in {@link withBudget}. A limit that is not set does not limit. */
export interface Budget {
  /** Tokens of input and output, over all model calls. */
  readonly tokens?: number | undefined
  /** US dollars, by `Prices`. A model whose price is not known is refused. */
  readonly cost?: number | undefined
  /** Steps of agents, which are model calls without their retries. Those of agents elsewhere are counted when they have ended. */
  readonly steps?: number | undefined
  /** Tool calls that are made. One that is retried counts once. */
  readonly toolCalls?: number | undefined
  /** How long the run may take. A number is milliseconds. */
  readonly time?: Duration.Input | undefined
  /**
   * What happens when a limit is reached. `"fail"` (default): the run fails with `BudgetExceeded`. `"answer"`, for agents: what
   * the agent is doing is interrupted, and it answers with what it has, in one last call without tools, which is on top of
   * the budget.
   */
  readonly onExceeded?: "fail" | "answer" | undefined
}

/**
 * Limits what a run uses: itself, and all runs nested in it, to any depth. When a limit is reached, everything that the run has
 * started is interrupted, to the wire, and its finalizers have run; then it fails with `BudgetExceeded`, which says which limit
 * it was, which run went beyond it and what was spent. Nothing inside of the run sees that error. A budget inside of another one
 * is bounded by both. Each run has a budget of its own, and so has each attempt of a retry around it. A suspended run that goes on
 * with answers counts on, without the time in which it waited. A durable run that goes on after a crash counts on, and its time
 * counts from the first time on that it was made.
 *
 * - `steps` and `toolCalls` are never exceeded but by steps of agents elsewhere, which are known when they have ended: what would go
 *   beyond them does not begin. A step whose tool calls do not all fit makes none of them.
 * - What a model call uses is known when it has ended. Before it begins, its prompt, and as much as the largest call so far, is
 *   set aside; it waits while that does not fit alongside the calls at work. Until a first call has ended, at most four are at work.
 *   A call that is alone begins as long as anything is left. So `tokens` and `cost` are exceeded by what calls at work use beyond
 *   what was set aside for them: by one call at most where calls are made one after the other. A call that is interrupted is not
 *   counted, because nothing is known of what it used.
 *
 * Throws `InvalidDefinition` for limits below 1, or 0 for `cost`, `toolCalls` and `time`, and for `onExceeded: "answer"` of a
 * runner that is not an agent.
 *
 * @example
 * import { Agent, Runner } from "troupe"
 *
 * const desk = Agent.make("desk", { instructions: "Answer questions." })
 * const limited = Runner.withBudget(desk, { tokens: 50_000, steps: 40, time: "2 minutes" })
 */
export const withBudget: {
  (budget: Budget): <I, A, E, R>(self: Runner<I, A, E, R>) => Runner<I, A, E | BudgetExceeded, R>
  <I, A, E, R>(self: Runner<I, A, E, R>, budget: Budget): Runner<I, A, E | BudgetExceeded, R>
} = dual(2, <I, A, E, R>(self: Runner<I, A, E, R>, budget: Budget) => {
  const limits = limitsOf(`runner "${self.name}"`, budget)
  assertAnswers(self, limits)
  return modify(self, (input: I, state, inner) => within(state, limits, inner(input)))
})

/** @internal The limits of a budget. Throws `InvalidDefinition` for those that make no sense. */
export const limitsOf = (subject: string, budget: Budget): Budgets.Limits => {
  assertOptions(subject, budget, budgetOptions)
  assertOneOf(subject, "onExceeded", budget.onExceeded, ["fail", "answer"])
  const { onExceeded = "fail", time, ...counts } = budget
  for (const [limit, value] of Object.entries(counts)) {
    const least = limit === "cost" || limit === "toolCalls" ? 0 : 1
    if (value !== undefined) numberOf(subject, `its budget of ${limit}`, value, least)
  }
  return { ...counts, onExceeded, time: time === undefined ? undefined : durationOf(subject, "time", time) }
}

const assertAnswers = (self: Any, { onExceeded }: Budgets.Limits): void => {
  if (onExceeded !== "answer") return
  const { kind } = self.definition.structure()
  if (kind === "agent" || kind === "orchestrator") return
  throw invalid(
    `runner "${self.name}"`,
    `it cannot answer when its budget is used up: it is a ${kind}, not an agent`,
    "Give the budget to an agent in it, or leave onExceeded out"
  )
}

const budgetOptions = namesOf<Budget>({
  tokens: true,
  cost: true,
  steps: true,
  toolCalls: true,
  time: true,
  onExceeded: true
})

/** @internal What a run has used so far. */
export interface Meter {
  readonly used: Used
  /** `undefined` where a price is not known. */
  readonly cost: number | undefined
}

/** @internal Measures what the runs of a runner use, and limits nothing. */
export const metered = <I, A, E, R>(self: Runner<I, A, E, R>, onBegin: (meter: Meter) => void): Runner<I, A, E, R> =>
  modify(self, (input: I, state, inner) =>
    Effect.suspend(() => {
      const ledger = Budgets.Ledger.tally(state.budget, state.info)
      const before = state.bill.moment
      onBegin({
        get used() {
          return usedSince(state.bill, before, ledger.used)
        },
        get cost() {
          return ledger.metered
        }
      })
      return state.within(ledger, inner(input))
    })
  )

/**
 * What the budgets around the current fiber leave, for code inside of tools and middleware: for each limit the least that any
 * of them leaves, and `undefined` where none sets it. Model calls at work count once they have ended.
 *
 * @example
 * import { Effect } from "effect"
 * import { AgentTool, Runner } from "troupe"
 *
 * const thorough = AgentTool.fromFunction("thorough", {
 *   description: "Looks at everything",
 *   execute: () =>
 *     Effect.gen(function* () {
 *       const { tokens } = yield* Runner.remaining
 *       return tokens !== undefined && tokens < 10_000 ? "skipped: few tokens are left" : "looked at everything"
 *     })
 * })
 */
export const remaining: Effect.Effect<Budgets.Remaining> = Effect.withFiber((fiber) =>
  Effect.succeed(
    Budgets.remainingOf(fiber.getRef(CurrentState)?.budget, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
  )
)

/** How {@link withRetry} retries. */
export interface RetryOptions<in E> {
  /** The most further attempts. Default: as many as the schedule allows, or 1 without a schedule. */
  readonly times?: number | undefined
  /** When the next attempt starts. Default: at once. */
  readonly schedule?: Schedule.Schedule<unknown, E> | undefined
  /** Which errors are retried. Default: all. */
  readonly while?: ((error: E) => boolean) | undefined
}

/**
 * Runs the whole runner again when it fails, by a `Schedule`. It stays one run: a `RunRetried` event says which events
 * are void, and what failed attempts spent stays on the bill. An agent already retries its model calls step by step,
 * so this is for failures that a fresh start may avoid. Tools run again in every attempt, each call under the
 * `idempotencyKey` that it had in the attempts before. A run that waits for approval has not failed and is never retried, and neither
 * is one whose answers do not count; where it goes on with answers, it has what is left of `times`, and the schedule from its beginning.
 *
 * @example
 * import { Agent, Runner } from "troupe"
 * const patient = Agent.make("writer", {}).pipe(Runner.withRetry({ times: 2, while: (e) => e._tag === "InvalidOutput" }))
 */
export const withRetry: {
  <E>(options: RetryOptions<NoInfer<E>>): <I, A, R>(self: Runner<I, A, E, R>) => Runner<I, A, E, R>
  <I, A, E, R>(self: Runner<I, A, E, R>, options: RetryOptions<E>): Runner<I, A, E, R>
} = dual(2, <I, A, E, R>(self: Runner<I, A, E, R>, options: RetryOptions<E>) => {
  assertOptions(`the retry of runner "${self.name}"`, options, knownOfRetry)
  if (options.times !== undefined) limitOf(`the retry of runner "${self.name}"`, "times", options.times, 0)
  return modify(self, (input: I, state, inner) =>
    inAttempts(`${state.info.runId}/attempts`, placeOf(state), (attempt) =>
      Resumption.counting("retries", input, state, (retries) =>
        withInterruptFailures(attempt(inner(replayable(input))), (run) => {
          const times = options.times ?? (options.schedule === undefined ? 1 : undefined)
          const left = times === undefined ? undefined : Math.max(0, times - retries.value)
          let count = 0
          let last: E | undefined
          const once = Effect.suspend(() => {
            count++
            if (count === 1) return run
            retries.value++
            const again = Effect.suspend(() => {
              state.beginAgain()
              return state.events.emit({
                _tag: "RunRetried",
                attempt: count,
                discardFrom: state.events.startSeq + 1,
                reason: messageOf(last)
              })
            })
            return unlessLeaving(Effect.andThen(Compensation.undo(state), Effect.andThen(again, run)))
          }).pipe(
            Effect.tapError((error) =>
              Effect.sync(() => {
                last = error
              })
            )
          )
          return Effect.retry(once, {
            times: left,
            schedule: options.schedule as Schedule.Schedule<unknown, E> | undefined,
            while: (error: E) => !Resumption.isPassedOn(error) && (options.while?.(error) ?? true)
          }) as Effect.Effect<A, E, R>
        })
      )
    )
  )
})

const knownOfRetry = namesOf<RetryOptions<unknown>>({ times: true, schedule: true, while: true })

/** The errors among `E` of a run that waits, or cannot go on with its answers. Workflows and {@link orElse} pass them on. */
export type Waiting<E> = Extract<E, RunSuspended | InvalidApproval | CannotResume>

/**
 * Runs another runner, on the same input, when the runner fails with a typed error. Both are nested runs of one run, which
 * has the name and the description of the first: `RunFailed` of the first shows why the second ran, and what both spent is
 * on one bill. The second has a number in its path when both have one name.
 *
 * An interruption, a defect, a run that waits for approval, and an approval that does not count are not failures: they end
 * the run as they are. A suspended run goes on at the member that waits; when that fails, the second runner gets the
 * conversation up to the last message of the user, or the input of the run where the first made another one of that. Tools
 * that the first has called may be called again by the second.
 *
 * @example
 * import { Agent, OpenAi, Runner } from "troupe"
 *
 * const writer = Agent.make("writer", { instructions: "Write a slogan." })
 * const small = Runner.provide(writer, OpenAi.layer({ model: "gpt-4.1-mini" }))
 * const large = Runner.provide(writer, OpenAi.layer({ model: "gpt-4.1" }))
 * const either = small.pipe(Runner.orElse(large))
 */
export const orElse: {
  <I2, A2, E2, R2>(
    that: Runner<I2, A2, E2, R2>
  ): <I, A, E, R>(self: Runner<I, A, E, R>) => Runner<I & I2, A | A2, E2 | Waiting<E>, R | R2>
  <I, A, E, R, I2, A2, E2, R2>(
    self: Runner<I, A, E, R>,
    that: Runner<I2, A2, E2, R2>
  ): Runner<I & I2, A | A2, E2 | Waiting<E>, R | R2>
} = dual(2, <I, A, E, R, I2, A2, E2, R2>(self: Runner<I, A, E, R>, that: Runner<I2, A2, E2, R2>) => {
  const second = that.name === self.name ? named(that, `${that.name} 2`) : that
  const firstOf = (
    first: Effect.Effect<A, E | CannotResume, R>,
    instead: I & I2,
    state: RunState
  ): Effect.Effect<A | A2, E2 | Waiting<E>, R | R2> =>
    withInterruptFailures(
      first,
      (first) =>
        Effect.catchCause(first, (cause): Effect.Effect<A2, E2 | Waiting<E>, R2> => {
          const errors = cause.reasons.filter(Cause.isFailReason).map(({ error }) => error)
          const waiting = errors.find((error) => error instanceof RunSuspended)
          // The second would need the input that is not in its conversation.
          if (waiting !== undefined && !beginsWith(waiting.transcript, promptIn(instead))) {
            return suspend(state, instead, { state: null }, [{ key: self.name, error: waiting }]) as Effect.Effect<
              never,
              Waiting<E>
            >
          }
          return errors.length === 0 || errors.some(Resumption.isPassedOn)
            ? Effect.failCause(cause as Cause.Cause<Waiting<E>>)
            : second.run(instead)
        })
      // An error of the first that is not passed on is there only alongside an interruption.
    ) as Effect.Effect<A | A2, E2 | Waiting<E>, R | R2>
  return workflow<I & I2, A | A2, E2 | Waiting<E>, R | R2>(self.name, {
    description: self.description,
    structure: () => ({
      kind: "fallback",
      members: [self, second].map((runner) => ({ name: runner.name, runner }))
    }),
    converses: true,
    input: () => Schemas.sameOf([self, that].map(Schemas.inputOf)),
    output: () => Schemas.unionOf([self, that].map(Schemas.outputOf)),
    run: (given, state) => {
      const input = replayable(given)
      return firstOf(self.run(input), input, state)
    },
    resume: (member, input, state) =>
      member === self.name
        ? firstOf(self.run(input), withoutAnswer(input), state)
        : member === second.name
          ? second.run(input)
          : undefined,
    restore: ({ before, members: [member] }, input, state) =>
      member?.key === self.name
        ? firstOf(goOn(self.run(input), member, state), Prompt.fromMessages([...before]) as I & I2, state)
        : undefined
  })
})

const beginsWith = ({ content }: Prompt.Prompt, start: Prompt.Prompt | undefined): boolean =>
  start === undefined || start.content.every((message, index) => Equal.equals(message, content[index]))

/** A conversation up to the last message that is not an answer, which is what its last run was given. */
const withoutAnswer = <I>(input: I): I => {
  if (Suspension.waitingAt(input) === undefined) return input
  const { content } = toPrompt(input as Prompt.RawInput)
  const last = content.findLastIndex(({ role }) => role === "user" || role === "system")
  return Prompt.fromMessages(content.slice(0, last + 1)) as I
}

/** The position of a run's attempts, within an attempt of the run around it. */
const placeOf = ({ info }: RunState): string => JSON.stringify(info.path)

/**
 * Gives a runner what undoes it: when it has succeeded, and the run around it fails after all, `compensate` is run with its output.
 * So a booking is cancelled when the payment that follows it is refused. A run that fails undoes what has finished in it, to any
 * depth, the last first, before its error is seen: also a branch whose siblings fail, an attempt before the next one, and the first
 * runner of `orElse` before the second.
 *
 * - Each is undone once. In a durable run, undoing is a step: it goes on after a crash, also one in its midst, and is asked about where
 *   it is not known whether it happened. What is undone in a step is not kept one by one.
 * - A run that is suspended or interrupted has not failed, and neither has the losing branch of a race or a quorum: nothing of it is
 *   undone for that. What an interrupted branch had finished is undone when the run that interrupted it fails.
 * - `compensate` has the services that the runner has. It cannot fail, and is not interrupted: retry in it what can fail for a moment. When
 *   it dies, the others run all the same, and the run fails with both.
 *
 * @example
 * import { Effect } from "effect"
 * import { Chain, Runner } from "troupe"
 *
 * const hotel = Runner.make("hotel", { run: () => Effect.succeed("booking 7") }).pipe(
 *   Runner.withCompensation((booking) => Effect.log(`cancels ${booking}`))
 * )
 * const pay = Runner.make("pay", { run: (booking: string) => Effect.fail(`no money for ${booking}` as const) })
 * const trip = Chain.make("trip", [hotel, pay])
 */
export const withCompensation: {
  <A, R2>(
    compensate: (output: A) => Effect.Effect<unknown, never, R2>
  ): <I, E, R>(self: Runner<I, A, E, R>) => Runner<I, A, E, R | R2>
  <I, A, E, R, R2>(
    self: Runner<I, A, E, R>,
    compensate: (output: A) => Effect.Effect<unknown, never, R2>
  ): Runner<I, A, E, R | R2>
} = dual(
  2,
  <I, A, E, R, R2>(self: Runner<I, A, E, R>, compensate: (output: A) => Effect.Effect<unknown, never, R2>) => {
    assertFunction(`runner "${self.name}"`, "compensate", compensate)
    return modify(self, (input: I, state, inner) =>
      Compensation.finishing(state, self.name, (place) => place.key("part"), inner(input), compensate)
    )
  }
)

/** The same runner under another name, which shows in paths, spans and graphs. */
export const named: {
  (name: string): <I, A, E, R>(self: Runner<I, A, E, R>) => Runner<I, A, E, R>
  <I, A, E, R>(self: Runner<I, A, E, R>, name: string): Runner<I, A, E, R>
} = dual(2, <I, A, E, R>(self: Runner<I, A, E, R>, name: string) =>
  fromDefinition(name, self.description, self.definition)
)

/** The same runner with a description, which guides routers and models that have it as a tool. */
export const described: {
  (description: string): <I, A, E, R>(self: Runner<I, A, E, R>) => Runner<I, A, E, R>
  <I, A, E, R>(self: Runner<I, A, E, R>, description: string): Runner<I, A, E, R>
} = dual(2, <I, A, E, R>(self: Runner<I, A, E, R>, description: string) =>
  fromDefinition(self.name, description, self.definition)
)

/**
 * Gives the runner services of its own, such as a model or tool handlers, which replace those provided around it. The
 * Layer is built for each run and released when the run ends; use `Agent.Service` to build it once. When the Layer
 * cannot be built, the run fails with the Layer's error.
 *
 * @example
 * import { Agent, OpenAi, Runner } from "troupe"
 * const own = Agent.make("writer", {}).pipe(Runner.provide(OpenAi.layer({ model: "gpt-4.1-mini" })))
 */
export const provide: {
  <ROut, LE, RIn>(
    layer: Layer.Layer<ROut, LE, RIn>
  ): <I, A, E, R>(self: Runner<I, A, E, R>) => Runner<I, A, E | LE, Exclude<R, ROut> | RIn>
  <I, A, E, R, ROut, LE, RIn>(
    self: Runner<I, A, E, R>,
    layer: Layer.Layer<ROut, LE, RIn>
  ): Runner<I, A, E | LE, Exclude<R, ROut> | RIn>
} = dual(2, <I, A, E, R, ROut, LE, RIn>(self: Runner<I, A, E, R>, layer: Layer.Layer<ROut, LE, RIn>) =>
  modify(self, (input: I, _state, inner): Effect.Effect<A, E | LE, Exclude<R, ROut> | RIn> =>
    Effect.provide(inner(input), layer)
  )
)

/**
 * Provides a runner as a language model, so that it stands wherever a model does: an agent that answers for another agent,
 * a workflow behind `LanguageModel.generateText`. Each model call is a run with the prompt as its input, nested in the run
 * that makes the call.
 *
 * - The turn is the output, also of `streamText`: one text, when the runner is done. It has no usage of its own; what the
 *   runner uses is counted in its run, and so in the run around it.
 * - A request with tools fails with an `AiError` (`InvalidRequestError`). Where JSON is asked for, the prompt asks for it in
 *   words.
 * - A model call that fails in the runner arrives as the provider's `AiError`; any other typed error as an `UnknownError`
 *   that says what happened, also `RunSuspended`: such a run cannot be resumed. Neither is retried by an agent, because
 *   the runner has its own retries. Interrupting the call interrupts the run.
 *
 * The Layer keeps the model that it was built with. Other services and references are those of the caller, where it has
 * them.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Chain, DemoModel, Runner } from "troupe"
 *
 * const thinker = Chain.make("thinker", [
 *   Agent.make("draft", { instructions: "Answer the question." }),
 *   Agent.make("check", { instructions: "Correct the answer." })
 * ])
 * const clerk = Agent.make("clerk", { instructions: "Be polite." })
 * const answer = clerk.run("What is 2 + 40?").pipe(
 *   Effect.provide(Runner.asLanguageModel(thinker)),
 *   Effect.provide(DemoModel.layer)
 * )
 */
export const asLanguageModel = <E, R>(
  self: Runner<Prompt.RawInput, string, E, R>
): Layer.Layer<LanguageModel.LanguageModel, never, R> => Layer.effectContext(modelOf(self))

/**
 * Calls `f` with every event of the runner and of the runs nested in it, with each of `run`, `result` and `stream`
 * used, the terminal event included. The run waits for `f`; a slow `f` slows it, and interruption waits for it too. Runs
 * that `f` starts are runs of their own. Where runs or tools work at once, calls of `f` can overlap.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Runner } from "troupe"
 * const logged = Agent.make("writer", {}).pipe(Runner.onEvent((event) => Effect.logDebug(event._tag, event.path)))
 */
export const onEvent: {
  (f: (event: RunEvent) => Effect.Effect<void>): <I, A, E, R>(self: Runner<I, A, E, R>) => Runner<I, A, E, R>
  <I, A, E, R>(self: Runner<I, A, E, R>, f: (event: RunEvent) => Effect.Effect<void>): Runner<I, A, E, R>
} = dual(2, <I, A, E, R>(self: Runner<I, A, E, R>, f: (event: RunEvent) => Effect.Effect<void>) =>
  fromDefinition(self.name, self.description, {
    ...self.definition,
    // Runners that an observer runs do not become a part of the run that it observes.
    observers: [
      ...self.definition.observers,
      (event) =>
        Effect.provideService(
          Effect.suspend(() => f(event)),
          CurrentState,
          undefined
        )
    ]
  })
)

/** The transcript of a suspended run: that of its `RunSuspended`, or the encoded one of its terminal event. */
export type Suspended = Prompt.RawInput | typeof Prompt.Prompt.Encoded

const transcriptOf = (subject: string, transcript: Suspended): Prompt.Prompt => {
  try {
    return toPrompt(transcript)
  } catch {
    const holds = Predicate.hasProperty(transcript, "transcript")
    const problem = holds
      ? "it is what holds one, such as an error: write error.transcript"
      : "it is not a conversation"
    throw new InvalidTranscript({ path: [subject], problem })
  }
}

/**
 * What the transcript of a suspended run waits for: approvals, results of tools that the caller runs, outside events; those of
 * runs nested in it too. It is the `waitingFor` of the run's `RunSuspended`, without what was answered since. It holds no
 * signature and can be shown to anyone who may see the arguments. Throws `InvalidTranscript` for what is not a conversation.
 */
export const pending = (transcript: Suspended): ReadonlyArray<WaitingFor> =>
  Suspension.pending(transcriptOf("Runner.pending", transcript))

/**
 * An answer to one thing that a suspended run waits for, as plain JSON: for an approval a decision (`Approvals.approve`,
 * `Approvals.deny("why")`), for a tool that the caller runs its result, for an event its value.
 */
export type Answer = Decision | Schema.Json

/**
 * Makes of the transcript of a suspended run, and answers by the ids of what it waits for, the input that goes on. Run the same
 * runner with it: it goes on at the members that wait, and what was done before is not done again. What is not answered
 * goes on waiting: answers can be given one by one, each to the result of the call before.
 *
 * Throws `InvalidApproval` for an id that nothing waits for, for an approval whose answer is not a decision, and for an answer
 * that is not JSON; `InvalidTranscript` for what is not a conversation. Whether a result fits its tool is known when the run
 * goes on: it then fails with `InvalidApproval`.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Prompt } from "effect/ai"
 * import { Agent, Approvals, Runner } from "troupe"
 *
 * const agent = Agent.make("agent", {})
 * declare const store: (json: unknown) => Effect.Effect<void>
 *
 * const first = agent.run("Pay the invoice").pipe(
 *   Effect.catchTag("RunSuspended", ({ transcript }) => store(Schema.encodeSync(Prompt.Prompt)(transcript)))
 * )
 * const second = (stored: typeof Prompt.Prompt.Encoded, id: string) =>
 *   agent.run(Runner.answer(stored, { [id]: Approvals.approve }))
 */
export const answer = (transcript: Suspended, answers: Readonly<Record<string, Answer>>): Prompt.Prompt => {
  const prompt = transcriptOf("Runner.answer", transcript)
  const problem = Suspension.problemOf(prompt, answers)
  if (problem !== undefined) throw new InvalidApproval(problem)
  return Suspension.answer(prompt, answers)
}

/**
 * Makes a runner that waits for something that happens outside: a payment, a delivery, a person's text. Its run is suspended:
 * it fails with `RunSuspended`, whose `waitingFor` has an entry of kind `"event"` with this name. `Runner.answer` takes the
 * event's value, as JSON, by the entry's id and makes the input that goes on, in any workflow; the output is the value,
 * decoded by `schema`. A value that does not fit fails the run that goes on with `InvalidApproval`. The input is not used.
 *
 * A durable run is not suspended: it waits for `Durable.signal` with the event's name, as `Step.signal` does.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Agent, Chain, Runner } from "troupe"
 *
 * const paid = Runner.event("paid", { schema: Schema.Struct({ amount: Schema.Finite }) })
 * const order = Chain.make("order", [
 *   Agent.make("clerk", { instructions: "Confirm the order." }),
 *   paid,
 *   ({ amount }) => Effect.succeed(`paid ${amount}`)
 * ])
 */
export const event = <A>(
  name: string,
  options: { readonly schema: Schema.Codec<A, unknown>; readonly description?: string | undefined }
): Runner<unknown, A, RunSuspended | InvalidApproval | CannotResume, never> => {
  assertName("an event", name, 'Give it one: Runner.event("paid", { schema })')
  const subject = `event "${name}"`
  assertOptions(subject, options, knownOfEvent)
  assertText(subject, "description", options.description)
  const { description } = options
  codec(subject, options.schema as unknown as Schema.Top, "schema")
  const wait = (id: string, input: unknown, state: RunState) =>
    Effect.withFiber((fiber): Effect.Effect<A, RunSuspended> => {
      // A durable run waits where it is, for what is sent to it.
      if (fiber.getRef(CurrentWaiting) !== undefined && journalOf(fiber)?.signal !== undefined) {
        return Effect.orDie(signal(name, options.schema))
      }
      const request = { id, path: state.info.path, name, ...(description === undefined ? {} : { description }) }
      return suspendForEvent(state, input, request)
    })
  return workflow(name, {
    description,
    structure: () => ({ kind: "event", members: [] }),
    output: () => options.schema as unknown as Schema.Top,
    run: (input: unknown, state): Effect.Effect<A, RunSuspended | InvalidApproval | CannotResume> =>
      wait(`${state.info.runId}/event`, input, state),
    restore: ({ before, event: waited }, _input, state) => {
      if (waited === undefined || waited.request.name !== name) return undefined
      const { given, request } = waited
      if (given === undefined) return wait(request.id, Prompt.fromMessages(before), state)
      return Effect.mapError(
        decodeEvent(options.schema)(given.value),
        ({ message }) =>
          new InvalidApproval({
            path: state.info.path,
            approvalId: request.id,
            reason: "invalid",
            problem: `it is not a value of the event "${name}": ${message}`
          })
      )
    }
  })
}

const knownOfEvent: ReadonlySet<string> = new Set(["schema", "description"])
const decodeEvent = <A>(schema: Schema.Codec<A, unknown>) => Schema.decodeUnknownEffect(schema)

/**
 * Draws the structure of a runner, to any depth, as a Mermaid flowchart. With the `events` of one of its runs, the picture
 * also shows the path that was taken, how often and how long each part ran, and what failed or was interrupted.
 *
 * @example
 * import { Effect, Stream } from "effect"
 * import { Agent, Chain, Runner } from "troupe"
 *
 * const pipeline = Chain.make("pipeline", [Agent.make("writer", {}), Agent.make("editor", {})])
 * const before: string = Runner.toMermaid(pipeline)
 * const after = Effect.map(Stream.runCollect(pipeline.stream("Hello")), (events) => Runner.toMermaid(pipeline, events))
 */
export const toMermaid = (runner: Any, events?: Iterable<RunEvent>): string => draw(runner, events)
