/**
 * Tools that carry their own handlers, made of a plain function or of a runner. Two agents with equally named tools
 * never get each other's handlers. Tools that run in threads are in `WorkerTool`.
 */
import type * as Duration from "effect/Duration"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import {
  assertFunction,
  assertName,
  assertOneOf,
  assertOptions,
  countOf,
  durationOf,
  invalid,
  namesOf
} from "./internal/definition.ts"
import type { Jobs } from "./internal/jobs.ts"
import { toJson } from "./internal/json.ts"
import { Blocking } from "./internal/resumption.ts"
import { CurrentState } from "./internal/runState.ts"
import { encodeOutput } from "./internal/runnerSchemas.ts"
import * as ServedTool from "./internal/servedTool.ts"
import { describe, type Drawable, toolsWithin } from "./internal/structure.ts"
import { annotate, define, delegation, giveName, type Hints, NoParameters } from "./internal/toolDefinition.ts"
import { call, type Kind, kindOf, type ServicesOf, type ToolContext } from "./internal/toolFunction.ts"
import { clientFailure as failureOfClient } from "./internal/suspension.ts"
import type { ToolFailure } from "./RunError.ts"
import { GoesOn, Holds, InMemory, InSandbox, Resumable, RunsAtClient } from "./internal/toolMarks.ts"
import type { Runner } from "./Runner.ts"

export type { Hints } from "./internal/toolDefinition.ts"
export type { Kind, ToolContext } from "./internal/toolFunction.ts"

const TypeId = "~troupe/AgentTool"

/** A tool with its handler. `Services` is what its function needs; the agent needs it too. */
export interface AgentTool<out Name extends string, out Services> {
  readonly [TypeId]: typeof TypeId
  readonly name: Name
  readonly kind: Kind
  /** The `effect/ai` tool that the model is shown. */
  readonly tool: Tool.Any
  /** How long one call may take. `undefined`: the agent's `toolTimeout`. */
  readonly timeout: Duration.Duration | undefined
  /** @internal The calls that agents make of it at once wait for one another here. `undefined`: they do not. */
  readonly turns: Semaphore.Semaphore | undefined
  /** @internal When a call that failed is made again. `undefined`: the agent's `toolRetry`. */
  readonly retry: Schedule.Schedule<unknown, ToolFailure> | "none" | undefined
  /** @internal The runner that it is the tool form of. */
  readonly runner: Drawable | undefined
  /**
   * @internal Runs the function on decoded parameters; fails with what it threw or failed with. Tells `onPromise` when
   * a promise is under way, which goes on even when the run is interrupted.
   */
  readonly execute: (
    params: unknown,
    context: Omit<ToolContext, "signal">,
    onPromise: () => void
  ) => Effect.Effect<unknown, unknown, Services>
  /** @internal Answers a call from another thread: JSON in, JSON out. It needs no service but what the tool provides. */
  readonly serve: (params: unknown, context: ServedTool.ServedContext) => Promise<ServedTool.Served>
}

/** Any tool with its handler. */
export type Any = AgentTool<string, unknown>
/** The services that tool `T` needs. */
export type Services<T> = T extends AgentTool<infer _Name, infer R> ? R : never

/** True for a tool with its handler. */
export const isAgentTool = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/** The return type of a function of a tool whose result is `A`. */
export type Returns<A> =
  | A
  | PromiseLike<A>
  | Effect.Effect<A, unknown, unknown>
  | Generator<Effect.Effect<unknown, unknown, unknown>, A, never>

/** How {@link fromFunction} defines a tool. */
export interface FromFunctionOptions<Parameters extends Schema.Top, Success extends Schema.Top, Out> {
  /** What it does and when to use it. Together with the parameters, this is all that the model sees. */
  readonly description: string
  /** A struct. If unset, the tool takes no parameters. */
  readonly parameters?: Parameters | undefined
  /** Encodes the result for the model. If unset, the result is converted to JSON as it is. */
  readonly success?: Success | undefined
  /**
   * What a failure does. `"return"` (default): the model sees it and may try again. `"error"`: the run fails with
   * `ToolError` and the other tool calls of the step are interrupted.
   */
  readonly failureMode?: "return" | "error" | undefined
  /** How long one call may take; then it is interrupted and fails. Default: the agent's `toolTimeout`. */
  readonly timeout?: Duration.Input | undefined
  /**
   * How many calls of it agents make at once, over all agents and runs of the process; further ones wait, before their timeout begins. A
   * call that is made within a call of the tool, by an agent in it, does not wait. Default: as many as `toolConcurrency` of the agents lets.
   */
  readonly concurrency?: number | undefined
  /**
   * When a call that fails is made again, by the failure. Default: the agent's `toolRetry`, which says which failures count.
   * `"none"`: never.
   */
  readonly retry?: Schedule.Schedule<unknown, ToolFailure> | "none" | undefined
  /**
   * Whether a call needs approval before it is made, see `Approvals`: always, or by its arguments and the
   * conversation so far. Default `false`.
   */
  readonly needsApproval?: NeedsApproval<Parameters["Type"]> | undefined
  /** Hints for approvers and MCP clients. */
  readonly hints?: Hints | undefined
  /** Overrides the detected kind, for a function that returns a promise and is not declared `async`. */
  readonly kind?: Kind | undefined
  readonly execute: (params: Parameters["Type"], context: ToolContext) => Out
}

/**
 * Makes a tool of a function: sync, async, an Effect, or a generator of Effects. What it throws, rejects or fails with
 * goes to the model as a failed result it can act on (see `failureMode`).
 *
 * Interrupting the run interrupts an Effect, and fires `context.signal` for a promise. Throws `InvalidDefinition` for a
 * name that a provider would refuse (it takes 1 to 64 letters, digits, `_` or `-`) and for parameters that have no JSON form
 * or are not an object.
 *
 * @example
 * import { Schema } from "effect"
 * import { AgentTool } from "troupe"
 *
 * const weather = AgentTool.fromFunction("weather", {
 *   description: "Tells the weather of a city",
 *   parameters: Schema.Struct({ city: Schema.String }),
 *   execute: async ({ city }, { signal }) => (await fetch(`http://localhost:9/${city}`, { signal })).text()
 * })
 */
export const fromFunction = <
  const Name extends string,
  Out extends Returns<Success["Type"]>,
  Parameters extends Schema.Top = typeof NoParameters,
  Success extends Schema.Top = typeof Schema.Unknown
>(
  name: Name,
  options: FromFunctionOptions<Parameters, Success, Out>
): AgentTool<Name, ServicesOf<Out> | Parameters["DecodingServices"] | Success["EncodingServices"]> => {
  assertName("a tool", name, giveName)
  const subject = `tool "${name}"`
  assertOptions(subject, options, known, elsewhere)
  assertFunction(subject, "execute", options.execute)
  assertOneOf(subject, "failureMode", options.failureMode, ["return", "error"])
  const kind = options.kind ?? kindOf(options.execute)
  const tool = define(
    name,
    options.description,
    (options.parameters ?? NoParameters) as Schema.Top,
    (options.success ?? Schema.Unknown) as Schema.Top,
    options.failureMode ?? "return"
  )
  const plain = options.success === undefined
  const run = options.execute as (params: unknown, context: ToolContext) => unknown
  const execute: AgentTool<Name, ServicesOf<Out>>["execute"] = (params, context, onPromise) => {
    // The inferred services are those of `Out`; a generator is what `Effect.gen` takes.
    const given = call(kind, run, params, context, onPromise) as Effect.Effect<unknown, unknown, ServicesOf<Out>>
    return plain ? Effect.map(given, toJson) : given
  }
  return make(name, kind, annotate(tool, options), execute, callingOf(subject, options))
}

/** The options of a tool, by name. */
const known = namesOf<FromFunctionOptions<Schema.Top, Schema.Top, unknown>>({
  description: true,
  parameters: true,
  success: true,
  failureMode: true,
  timeout: true,
  concurrency: true,
  retry: true,
  needsApproval: true,
  hints: true,
  kind: true,
  execute: true
})

/** Fields of other libraries' tools, with ours in their place. */
const elsewhere = {
  id: "Give its name before the options",
  name: "Give its name before the options",
  inputSchema: "Give the schema of the arguments as parameters",
  input_schema: "Give the schema of the arguments as parameters",
  outputSchema: "Give the schema of the result as success",
  schema: "Give the schema of the arguments as parameters",
  func: "Give the function as execute",
  handler: "Give the function as execute",
  run: "Give the function as execute"
}

/** How {@link client} defines a tool. */
export interface ClientOptions<Parameters extends Schema.Top, Success extends Schema.Top> {
  /** What it does and when to use it. Together with the parameters, this is all that the model sees. */
  readonly description: string
  /** A struct. If unset, the tool takes no parameters. */
  readonly parameters?: Parameters | undefined
  /** Of the result, as JSON: one that does not fit is refused. Default: any JSON. */
  readonly success?: Success | undefined
  /** Whether a call needs approval before the caller is asked to run it, see `Approvals`. Default `false`. */
  readonly needsApproval?: NeedsApproval<Parameters["Type"]> | undefined
  /** Hints for approvers and MCP clients. */
  readonly hints?: Hints | undefined
}

/**
 * Makes a tool that the caller of the run runs: a browser, a phone, the program behind a queue. When the model calls it, the
 * other calls of its step are made, and the run is suspended: it fails with `RunSuspended`, whose `waitingFor` has an entry of
 * kind `"client-tool"` with the arguments. `Runner.answer` takes the result by the entry's id and makes the input that goes
 * on; calls that were made are not made again.
 *
 * A durable run is not suspended: it waits for `Durable.answer`, and the model is shown a result that does not fit as a failure.
 *
 * A result that does not fit `success` fails the run that goes on with `InvalidApproval`, before it makes a call. A tool that
 * failed is answered with {@link clientFailure}, which the model sees. Throws `InvalidDefinition` as {@link fromFunction} does.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Agent, AgentTool, Runner } from "troupe"
 *
 * const locate = AgentTool.client("locate", {
 *   description: "Where the user is",
 *   success: Schema.Struct({ city: Schema.String })
 * })
 * const guide = Agent.make("guide", { tools: [locate] })
 * const program = guide.run("What is near me?").pipe(
 *   Effect.catchTag("RunSuspended", ({ transcript, waitingFor }) =>
 *     guide.run(Runner.answer(transcript, { [waitingFor[0].id]: { city: "Rome" } }))
 *   )
 * )
 */
export const client = <
  const Name extends string,
  Parameters extends Schema.Top = typeof NoParameters,
  Success extends Schema.Top = typeof Schema.Json
>(
  name: Name,
  options: ClientOptions<Parameters, Success>
): AgentTool<Name, Parameters["DecodingServices"] | Success["DecodingServices"]> => {
  assertName("a tool", name, giveName)
  assertOptions(`tool "${name}"`, options, knownOfClient, elsewhere)
  const { description, parameters, success } = options
  const defined = define(
    name,
    description,
    (parameters ?? NoParameters) as Schema.Top,
    (success ?? Schema.Json) as Schema.Top,
    "return"
  )
  const tool = annotate(defined, options).annotate(RunsAtClient, true)
  return make(name, "effect", tool, () => Effect.fail("only the caller of an agent's run can run this tool"))
}

/**
 * Makes a tool of one that the model's provider runs itself, as `Tool.providerDefined` describes it. Its calls and results are in
 * events and in the transcript, with `providerExecuted`; nothing runs here. A model of another provider is refused before a
 * request. For those of OpenAI see `OpenAi.tools`, and for a search that any model may have `WebSearch.tool`.
 *
 * @example
 * import { Schema } from "effect"
 * import { Tool } from "effect/ai"
 * import { Agent, AgentTool } from "troupe"
 *
 * const fetcher = Tool.providerDefined({
 *   id: "anthropic.web_fetch_20250910",
 *   customName: "web_fetch",
 *   providerName: "web_fetch",
 *   args: Schema.Struct({ maxUses: Schema.Int }),
 *   success: Schema.Unknown
 * })
 * const reader = Agent.make("reader", { tools: [AgentTool.fromProvider(fetcher({ maxUses: 3 }))] })
 */
export const fromProvider = (tool: Tool.Any): AgentTool<string, never> => {
  if (!Tool.isProviderDefined(tool) || tool.requiresHandler) {
    throw invalid(
      "AgentTool.fromProvider",
      "it is given a tool that no provider runs",
      "Make tools of functions with AgentTool.fromFunction"
    )
  }
  return make(tool.name, "effect", tool, () => Effect.fail("only the model's provider can run this tool"))
}

const knownOfClient = namesOf<ClientOptions<Schema.Top, Schema.Top>>({
  description: true,
  parameters: true,
  success: true,
  needsApproval: true,
  hints: true
})

/**
 * The answer to a call of a {@link client} tool that failed. The model sees `failure` as the failed result of the call.
 * @example
 * import { Prompt } from "effect/ai"
 * import { AgentTool, Runner } from "troupe"
 * const denied = (transcript: Prompt.Prompt, id: string) =>
 *   Runner.answer(transcript, { [id]: AgentTool.clientFailure("the user has not shared the location") })
 */
export const clientFailure = (failure: Schema.Json): Schema.Json => failureOfClient(failure)

/** How {@link fromRunner} shows a runner to a model. */
export interface FromRunnerOptions<Name extends string, Parameters extends Schema.Top, Input> {
  /** The tool's name; the runner's by default, with what providers refuse replaced by `_`; refused where nothing is left of it. */
  readonly name?: Name | undefined
  /** The tool's description; the runner's by default, or for a workflow without one what its members say. */
  readonly description?: string | undefined
  /** What the model fills in, and how it becomes the runner's input. Default: a text, `{ input: string }`. */
  readonly parameters?: Parameters | undefined
  readonly input?: ((params: Parameters["Type"]) => Input) | undefined
  /** What a failed run does: the model sees it (`"return"`, default), or the calling run fails too (`"error"`). */
  readonly failureMode?: "return" | "error" | undefined
  /** How long one run may take; then it is interrupted and counts as a failed call. */
  readonly timeout?: Duration.Input | undefined
  /**
   * What the run does, for approvers and MCP clients. Default: it destroys nothing and stays within its own system, because
   * the tools that the runner calls are decided on by themselves. Say so for a function that does more.
   */
  readonly hints?: Hints | undefined
  /** Whether a call needs approval before the run begins, see `Approvals`. Default `false`. */
  readonly needsApproval?: NeedsApproval<Parameters["Type"]> | undefined
}

/** Whether a call needs approval: always, or by its arguments and the conversation so far. */
export type NeedsApproval<Params> =
  | boolean
  | ((params: Params, context: Tool.NeedsApprovalContext) => boolean | Effect.Effect<boolean>)

/**
 * Makes a tool of any runner, for another agent. Its runs are nested in the calling run: events carry both names,
 * usage is summed, and interrupting the caller interrupts them. The model gets the output as JSON.
 *
 * Throws `InvalidDefinition` when an agent or a function has no description: it is all that the model knows of the
 * tool. A workflow without one is described by its members.
 *
 * @example
 * import { Agent, AgentTool } from "troupe"
 *
 * const researcher = Agent.make("researcher", { description: "Finds facts", instructions: "You research." })
 * const writer = Agent.make("writer", { instructions: "You write.", tools: [AgentTool.fromRunner(researcher)] })
 */
export const fromRunner: {
  <A, E, R>(self: Runner<string, A, E, R>): AgentTool<string, R>
  <I, A, E, R, const Name extends string = string, Parameters extends Schema.Top = typeof TextInput>(
    self: Runner<I, A, E, R>,
    options: FromRunnerOptions<Name, Parameters, I> &
      (string extends I ? unknown : { readonly input: (params: Parameters["Type"]) => I })
  ): AgentTool<Name, R | Parameters["DecodingServices"]>
} = <I, A, E, R>(
  self: Runner<I, A, E, R>,
  options: FromRunnerOptions<string, Schema.Top, I> = {}
): AgentTool<string, R> => {
  const subject = `runner "${self.name}" as a tool`
  assertOptions(subject, options, knownOfRunner)
  assertOneOf(subject, "failureMode", options.failureMode, ["return", "error"])
  const name = options.name ?? nameOf(self.name)
  const description = options.description ?? self.description ?? describe(self.definition.structure())
  if (description === undefined || description.trim() === "") {
    throw invalid(
      subject,
      "it has no description",
      "Describe it where it is made, or give AgentTool.fromRunner a description"
    )
  }
  const defined = define(
    name,
    description,
    options.parameters ?? TextInput,
    Schema.Unknown,
    options.failureMode ?? "return"
  )
  const hints = { ...delegation, ...options.hints }
  const tool = annotate(defined, { hints, needsApproval: options.needsApproval })
    .annotate(Resumable, true)
    .annotate(Holds, () => toolsWithin(self))
  const toInput = options.input ?? ((params: { readonly input: string }) => params.input as I)
  const execute = (params: unknown) =>
    Effect.map(self.run(toInput(params as { readonly input: string })), (output) => encodeOutput(self, output))
  return make(name, "effect", tool, execute, { timeout: options.timeout, runner: self })
}

const knownOfRunner = namesOf<FromRunnerOptions<string, Schema.Top, unknown>>({
  name: true,
  description: true,
  parameters: true,
  input: true,
  failureMode: true,
  timeout: true,
  hints: true,
  needsApproval: true
})

/**
 * Makes tools of a runner that an agent has work in the background: `NAME_start`, which returns a job at once, `NAME_status`,
 * `NAME_wait` and `NAME_cancel`. The result of a job that is not waited for comes to the agent as a message before its next
 * model call, an `InputReceived` event. An agent that would end while jobs run waits for them and goes on with what they give, so
 * that nothing is lost; nothing outlives the run: when it fails, is interrupted or is at a limit, its jobs are interrupted, and
 * their finalizers have run. A job is a nested run: its events carry both names and its usage is summed.
 *
 * A job that would wait for something from elsewhere fails, with a `RunSuspended` whose `blockedBy` is the agent: provide
 * `Approvals.layer` for approvals. In a durable run it waits, and the run sleeps when nothing else is left to do. Throws `InvalidDefinition` as
 * {@link fromRunner} does.
 *
 * @example
 * import { Agent, AgentTool } from "troupe"
 *
 * const researcher = Agent.make("researcher", { description: "Finds facts", instructions: "You research." })
 * const writer = Agent.make("writer", { instructions: "You write.", tools: [...AgentTool.background(researcher)] })
 */
export const background: {
  <A, E, R>(self: Runner<string, A, E, R>): ReadonlyArray<AgentTool<string, R>>
  <I, A, E, R, Parameters extends Schema.Top = typeof TextInput>(
    self: Runner<I, A, E, R>,
    options: BackgroundOptions<Parameters, I> &
      (string extends I ? unknown : { readonly input: (params: Parameters["Type"]) => I })
  ): ReadonlyArray<AgentTool<string, R | Parameters["DecodingServices"]>>
} = <I, A, E, R>(
  self: Runner<I, A, E, R>,
  options: BackgroundOptions<Schema.Top, I> = {}
): ReadonlyArray<AgentTool<string, R>> => {
  const made = (fromRunner as (self: unknown, options: unknown) => AgentTool<string, R>)(self, options)
  const { name } = made
  const about = `Starts work in the background and returns the id of a job at once. Its result comes to you as a message. The work: ${made.tool.description ?? name}`
  const started = annotate(define(`${name}_start`, about, made.tool.parametersSchema, Schema.Unknown, "return"), {
    hints: { ...delegation, ...options.hints },
    needsApproval: options.needsApproval
  })
  const begin: AgentTool<string, R>["execute"] = (params, context, onPromise) =>
    inJobs((jobs, path) => {
      const work = Effect.provideService(made.execute(params, context, onPromise), Blocking, {
        path,
        reason: noWaiting
      })
      return Effect.map(jobs.start(name, work), (job) => ({ job, status: "running" }))
    })
  const start = make<string, R>(`${name}_start`, "effect", started, begin, { runner: self })
  const ask = <P extends Schema.Top>(
    verb: string,
    description: string,
    parameters: P,
    f: (jobs: Jobs, params: P["Type"]) => Effect.Effect<unknown>
  ) =>
    fromFunction(`${name}_${verb}`, {
      description,
      parameters,
      hints: { ...delegation, readOnly: verb !== "cancel", idempotent: true },
      execute: (params) => inJobs((jobs) => Effect.flatMap(f(jobs, params), orUnknown))
    })
  return [
    start,
    ask(
      "status",
      `Tells how jobs of ${name}_start stand: one, or all.`,
      Schema.Struct({ job: Schema.optionalKey(JobId) }),
      (jobs, { job }) => Effect.map(Clock.currentTimeMillis, (now) => jobs.report(job, now))
    ),
    inMemory(
      ask(
        "wait",
        `Waits until a job of ${name}_start has ended, and returns its result.`,
        Schema.Struct({ job: JobId }),
        (jobs, { job }) => jobs.wait(job)
      )
    ),
    inMemory(
      ask("cancel", `Stops a job of ${name}_start.`, Schema.Struct({ job: JobId }), (jobs, { job }) => jobs.cancel(job))
    )
  ]
}

/** @internal The tool as one whose work is in the program's memory: a journal has it done again. */
export const inMemory = <Name extends string, R>(self: AgentTool<Name, R>): AgentTool<Name, R> => ({
  ...self,
  tool: annotated(self.tool, InMemory)
})

/** @internal The tool as one that calls others, and can be suspended with these calls inside of it. */
export const goesOn = <Name extends string, R>(
  self: AgentTool<Name, R>,
  others: ReadonlyArray<Tool.Any>
): AgentTool<Name, R> => ({
  ...self,
  tool: (annotated(self.tool, GoesOn) as Tool.Tool<string, never>).annotate(Holds, () => others) as Tool.Any
})

/** @internal The tool as one that works in the `Sandbox` around the run. */
export const inSandbox = <Name extends string, R>(self: AgentTool<Name, R>): AgentTool<Name, R> => ({
  ...self,
  tool: annotated(self.tool, InSandbox)
})

const annotated = (tool: Tool.Any, mark: typeof InMemory): Tool.Any =>
  (tool as Tool.Tool<string, never>).annotate(mark, true) as Tool.Any

/** How {@link background} shows a runner to a model. */
export interface BackgroundOptions<Parameters extends Schema.Top, Input> extends Omit<
  FromRunnerOptions<string, Parameters, Input>,
  "failureMode" | "timeout"
> {}

const JobId = Schema.String.annotate({ description: "The id that start returned" })

const orUnknown = (found: unknown) =>
  found === undefined
    ? Effect.fail("there is no such job; call status without a job to see all")
    : Effect.succeed(found)

const noWaiting = "a job in the background ends with its run, and cannot wait for what comes after that"

/** The jobs of the run that calls a tool. */
const inJobs = <A, E, R>(
  f: (jobs: Jobs, path: ReadonlyArray<string>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | string, R> =>
  Effect.withFiber((fiber): Effect.Effect<A, E | string, R> => {
    const state = fiber.getRef(CurrentState)
    return state === undefined
      ? Effect.fail("only an agent can have work in the background")
      : f(state.beginJobs(), state.info.path)
  })

/** The runner's name with the characters that providers reject replaced; fails if no letter or digit is left. */
const nameOf = (runner: string): string => {
  const name = runner.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64)
  if (/[a-zA-Z0-9]/.test(name)) return name
  throw invalid(
    `runner "${runner}" as a tool`,
    `its name has no character that a tool's name can have, so it would be "${name}"`,
    'Give it one: AgentTool.fromRunner(runner, { name: "..." })'
  )
}

const TextInput = Schema.Struct({
  input: Schema.String.annotate({ description: "The task, with everything needed to do it" })
})

/** @internal How calls of a tool are made. */
export interface Calling {
  readonly timeout?: Duration.Input | undefined
  readonly retry?: AgentTool<string, unknown>["retry"]
  readonly turns?: AgentTool<string, unknown>["turns"]
}

interface MakeOptions extends Calling {
  readonly runner?: Drawable
}

/** @internal How calls of a tool with these options are made. */
export const callingOf = (
  subject: string,
  {
    concurrency,
    retry,
    timeout
  }: Pick<FromFunctionOptions<Schema.Top, Schema.Top, unknown>, "concurrency" | "retry" | "timeout">
): Calling => ({
  timeout,
  retry,
  turns: concurrency === undefined ? undefined : Semaphore.makeUnsafe(countOf(subject, "concurrency", concurrency))
})

/** @internal */
export const make = <const Name extends string, R>(
  name: Name,
  kind: Kind,
  tool: Tool.Any,
  execute: AgentTool<Name, R>["execute"],
  { retry, runner, timeout, turns }: MakeOptions = {}
): AgentTool<Name, R> => ({
  [TypeId]: TypeId,
  name,
  kind,
  tool,
  timeout: timeout === undefined ? undefined : durationOf(`tool "${name}"`, "timeout", timeout),
  turns,
  retry,
  execute,
  serve,
  runner
})

/** One function for all tools, so that a tool carries no closure for it. */
function serve(this: Any, params: unknown, context: ServedTool.ServedContext): Promise<ServedTool.Served> {
  const progress = (result: unknown) => Effect.sync(() => context.progress(toJson(result)))
  const execute = (decoded: unknown, info: ServedTool.CallInfo) =>
    this.execute(decoded, { ...info, progress }, () => {})
  return ServedTool.serve(this.tool, params, context, execute)
}
