/**
 * Agents: a model, instructions and tools, run in a loop until there is an answer. This module defines agents: options,
 * types and checks.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as AgentTool from "../AgentTool.ts"
import * as Feature from "../Feature.ts"
import type { AgentError } from "../internal/agentError.ts"
import { captured, withCaptured } from "../internal/captured.ts"
import {
  assertFunction,
  assertList,
  assertName,
  assertOneOf,
  assertOptions,
  assertText,
  durationOf,
  invalid,
  inWords,
  namesOf
} from "../internal/definition.ts"
import { encodeBy, toJson } from "../internal/json.ts"
import { messageOf } from "../internal/message.ts"
import { readingOf } from "../internal/reading.ts"
import type { RunState } from "../internal/runState.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import type { Structure } from "../internal/structure.ts"
import { HandsOff, markOf } from "../internal/toolMarks.ts"
import {
  type ErrorIn,
  type FeatureSlots,
  type MiddlewareSlots,
  type OutputSlot,
  type Misspelt,
  type Option,
  type ServicesIn,
  toEffect,
  type ToolkitSlot,
  type ToolSlots
} from "../internal/wiring.ts"
import * as Middleware from "../Middleware.ts"
import {
  type BudgetExceeded,
  type ConfigInvalid,
  InvalidDefinition,
  type RunTimedOut,
  type ToolFailure
} from "../RunError.ts"
import * as Runner from "../Runner.ts"
import * as ModelInfo from "../services/ModelInfo.ts"
import * as ToolSource from "../ToolSource.ts"
import * as Loop from "./internal/agentLoop.ts"
import { own as ownMiddleware } from "./internal/middlewareStages.ts"
import { makeSpec } from "./internal/structuredOutput.ts"
import { read, type ReadConfig } from "./internal/agentConfig.ts"
import type * as Spec from "./internal/agentSpec.ts"
import { settingsOf } from "./internal/callSettings.ts"
import * as ToolSet from "./internal/toolSet.ts"

export type { AgentError } from "../internal/agentError.ts"

/**
 * An agent: a runner whose input is a text, messages with images and files, or the transcript of an earlier result.
 */
export interface Agent<out A, out E, out R> extends Runner.Runner<Prompt.RawInput, A, E, R> {
  /** The schema of its answers: the option `output`, otherwise that of a text. */
  readonly output: Schema.Schema<A>
  /** @internal The same agent with other options; see {@link with_}. */
  readonly vary: (options: Options) => Agent<A, unknown, unknown>
  /** @internal What it was made of; `undefined` where `vary` does not need it. */
  readonly options: Options | undefined
}

/** The argument of `stopWhen` and of a `toolChoice` function. */
export type StepInfo = Spec.StepInfo

/** The tools that the model may or must call. */
export type ToolChoice<Name extends string = string> = LanguageModel.ToolChoice<Name>

/** The same as {@link AgentError}. */
export type Error = AgentError

/** The options of an agent that do not change its type. */
export interface Settings {
  /** The purpose of the agent. Guides routers, and models that have the agent as a tool. */
  readonly description?: string | undefined
  /** How often the model may correct an answer that does not fit `output`, before `InvalidOutput`. Default 1. */
  readonly outputRepairs?: number | undefined
  /** How many steps (one model call and its tool calls) a run may take, those before it was suspended included. Default 16. */
  readonly maxSteps?: number | undefined
  /** At `maxSteps`: fail with `MaxStepsExceeded` (default), or ask once more for an answer without tools. */
  readonly onMaxSteps?: "fail" | "answer" | undefined
  /** How many tool calls a run may make. Default 500. Calls of nested runs count there. */
  readonly maxToolCalls?: number | undefined
  /** How many tool calls one step may make. Default 64. */
  readonly maxToolCallsPerStep?: number | undefined
  /**
   * What happens to calls beyond `maxToolCalls` or `maxToolCallsPerStep`. `"return"` (default): the calls within the limit
   * are made, and the model sees that the others were not. `"fail"`: none of the step's calls is made, and the run fails
   * with `MaxToolCallsExceeded`.
   */
  readonly onMaxToolCalls?: "return" | "fail" | undefined
  /** An answer cut off at the model's token limit: fail with `OutputTruncated` (default), or accept what came. */
  readonly onLength?: "fail" | "accept" | undefined
  /**
   * How large one answer of the model may be: characters of text, reasoning and arguments, and bytes of files. A larger one
   * is given up, and the run fails with `ModelError`. What a streamed one has used is not known then, and not counted. Default
   * 16,777,216 (16 Mi).
   */
  readonly maxAnswerSize?: number | undefined
  /** Default `"auto"`. A choice that forces a tool applies to the first step only; a function is called at each step. */
  readonly toolChoice?: ToolChoice | ((info: StepInfo) => ToolChoice) | undefined
  /** How many tool calls of one step run at once. Default 8. */
  readonly toolConcurrency?: number | "unbounded" | undefined
  /** How long one tool call may take. Default: no limit. */
  readonly toolTimeout?: Duration.Input | undefined
  /**
   * Retry policy for tool calls that fail, for tools without one of their own. Tools whose hints say `readOnly` or `idempotent` are
   * retried; others only where their failure says that nothing was done: an error with `executed: "no"`. Arguments that do not fit,
   * denied calls and runs that wait are not. Each attempt has the tool's timeout. Default: no retries.
   */
  readonly toolRetry?: Schedule.Schedule<unknown, ToolFailure> | undefined
  /**
   * Retry policy for transient failures of model calls (rate limit, server error, lost connection). A completed tool call
   * never runs again. Default: the model Layer's own policy, otherwise two more attempts with backoff.
   */
  readonly retry?: Schedule.Schedule<unknown, AiError.AiError> | "none" | undefined
  /**
   * How much the model thinks before it answers: a level, or a number of tokens where the model takes one. `"none"` asks for no
   * thinking. The run fails with `ModelError` before a request where its model has no way to be asked for it. Default: that of
   * `ModelInfo.CurrentSettings` around the run, otherwise as the model's Layer has it.
   */
  readonly reasoning?: ModelInfo.Reasoning | undefined
  /**
   * Keeps the beginning of the conversation in the provider's cache, which makes later steps cheaper: `"auto"` for as long as the
   * provider has it, or `{ ttl }` for at least so long. The run fails with `ModelError` before a request where the provider cannot
   * be asked for such a time. Default: as the model's Layer has it.
   */
  readonly cache?: ModelInfo.Cache | undefined
}

/** The options of an agent that are part of its type. */
export interface Wiring {
  /** Tools of `effect/ai`, whose handlers arrive by Layer. */
  readonly toolkit?: unknown
  /**
   * Tools that carry their handlers: `AgentTool.fromFunction`, `AgentTool.fromRunner`. Among them may be sources of tools,
   * which are asked before every step: `Mcp.tools`, `ToolSource.make`.
   */
  readonly tools?: unknown
  /** Features: tools and instructions that belong together, such as `Skills.feature()`. See `Feature.make`. */
  readonly use?: unknown
  /** Around the agent's runs, model calls and tool calls, the first outermost. See `Middleware.make`. */
  readonly middleware?: unknown
  /**
   * The shape of the answer; text if unset. The model is asked for it natively where its Layer can, otherwise in words.
   * A `<think>` prefix, a code fence or text around the JSON is accepted.
   */
  readonly output?: unknown
  /** See {@link Functions}. */
  readonly instructions?: unknown
  /** See {@link Functions}. */
  readonly stopWhen?: unknown
}

/** The functions of an agent. `Instructions` and `Stops` are their results: values, or Effects of them. */
export interface Functions<out Instructions, out Stops> {
  /** The system message: a text, or a function of the input that returns a text or an Effect. Transcripts leave it out. */
  readonly instructions?: string | ((input: Prompt.RawInput) => Instructions) | undefined
  /**
   * Called after each step with tool calls; `true` ends the run. A text agent then returns the text of that step; the
   * model of a typed agent is asked for an answer without tools.
   */
  readonly stopWhen?: ((info: StepInfo) => Stops) | undefined
}

/** The result of `instructions`. */
export type AnyInstructions = string | Effect.Effect<string, unknown, unknown>
/** The result of `stopWhen`. */
export type AnyStops = boolean | Effect.Effect<boolean, unknown, unknown>

/** The options of an agent. */
export interface Options extends Settings, Functions<AnyInstructions, AnyStops> {
  readonly toolkit?: AnyToolkit | undefined
  readonly tools?: ReadonlyArray<AnyDirect> | undefined
  readonly use?: ReadonlyArray<Feature.Any> | undefined
  readonly middleware?: ReadonlyArray<Middleware.Any> | undefined
  readonly output?: Schema.Top | undefined
}

type AnyTools = Record<string, Tool.Any>
type AnyToolkit = Toolkit.Toolkit<AnyTools> | Toolkit.WithHandler<AnyTools>
type AnyDirect = AgentTool.Any | ToolSource.Any

/** The options `O`, checked. An option that does not fit is a compile error that says what to write. */
export type Checked<O, Instructions, Stops, Known extends PropertyKey = never> = O &
  Functions<Instructions, Stops> & {
    readonly toolkit?: ToolkitSlot<Option<O, "toolkit">> | undefined
    readonly tools?: ToolSlots<Option<O, "tools">> | undefined
    readonly use?: FeatureSlots<Option<O, "use">> | undefined
    readonly middleware?: MiddlewareSlots<Option<O, "middleware">> | undefined
    readonly output?: Schema.Top | OutputSlot<Option<O, "output">> | undefined
  } & Misspelt<O, keyof Options | Known, typeof elsewhere>

/** Options before they are checked. */
export type Given = Settings & Wiring

type ElementOf<List> = List extends ReadonlyArray<infer Element> ? Element : never
type KitTools<Kit> = Kit extends { readonly tools: infer Tools } ? Tools[keyof Tools] : never
type KitToolsOf<O> = KitTools<Option<O, "toolkit">>
type DirectOf<O> = ElementOf<Option<O, "tools">>
type DirectServices<T> =
  T extends AgentTool.AgentTool<infer _Name, infer R> ? R : T extends ToolSource.ToolSource<infer R> ? R : never
type UsedBy<O> = ElementOf<Option<O, "use">>
type AroundOf<O> = ElementOf<Option<O, "middleware">>

/** Like `Tool.HandlersFor` and `Tool.HandlerServices`, at a fifth of their cost to the compiler. */
type ToolServices<T> =
  T extends Tool.Tool<infer Name, infer Config, infer Requirements>
    ?
        | (T extends { readonly requiresHandler: false } ? never : Tool.Handler<Name>)
        | Config["parameters"]["DecodingServices"]
        | Config["success"]["EncodingServices"]
        | Config["failure"]["EncodingServices"]
        | Requirements
    : never

/** The output of an agent with the options `O`. */
export type Output<O> = [Option<O, "output">] extends [never]
  ? string
  : Option<O, "output"> extends Schema.Top
    ? Option<O, "output">["Type"]
    : string

/** The errors of an agent with the options `O`, whose functions return `Returned`. */
export type Failure<O, Returned> = O extends unknown
  ? AgentError | ErrorIn<Returned> | Feature.Error<UsedBy<O>> | Middleware.Error<AroundOf<O>>
  : never

/** The services that an agent with the options `O`, whose functions return `Returned`, needs. */
export type Services<O, Returned> =
  // Conditional, so that an editor shows the services in place of this type's name.
  O extends unknown
    ?
        | LanguageModel.LanguageModel
        | ToolServices<KitToolsOf<O>>
        | DirectServices<DirectOf<O>>
        | Feature.Services<UsedBy<O>>
        | Middleware.Services<AroundOf<O>>
        | ServicesIn<Returned>
        | (Option<O, "output"> extends Schema.Top ? Option<O, "output">["DecodingServices"] : never)
    : never

/**
 * Makes an agent. Throws `InvalidDefinition` for tools that share a name, a name that providers refuse, a schema without
 * a JSON form, or a limit below 1.
 *
 * Interrupting a run interrupts its model request on the wire and every tool under way, and waits for their finalizers.
 *
 * The loop is that of ReAct (Yao et al., 2022, "ReAct: Synergizing Reasoning and Acting in Language Models").
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Agent, AgentTool, DemoModel } from "troupe"
 *
 * const add = AgentTool.fromFunction("add", {
 *   description: "Add two numbers",
 *   parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
 *   execute: ({ a, b }) => a + b
 * })
 * const calculator = Agent.make("calculator", { instructions: "You do arithmetic.", tools: [add] })
 * const answer = calculator.run("Add 2 and 40.").pipe(Effect.provide(DemoModel.layer))
 */
export const make = <
  const O extends Given,
  Instructions extends AnyInstructions = string,
  Stops extends AnyStops = boolean
>(
  name: string,
  options: Checked<O, Instructions, Stops>
): Agent<Output<O>, Failure<O, Instructions | Stops>, Services<O, Instructions | Stops>> =>
  // `Checked` has checked the options, and the type of the agent is made of them.
  erased(name, options as Options) as Agent<
    Output<O>,
    Failure<O, Instructions | Stops>,
    Services<O, Instructions | Stops>
  >

/** @internal An agent whose type leaves out its options. */
export const erased = (name: string, options: Options): Agent<unknown, unknown, unknown> => {
  const plan = makePlan(name, options)
  const output = options.output === undefined ? Schema.String : readingOf(options.output)
  return fromDefinition(
    name,
    options.description,
    {
      body: (input: Prompt.RawInput, state: RunState) => Loop.run(plan, input, state),
      input: conversation,
      output: output === Schema.String ? text : Schemas.always(output),
      observers: nothing,
      structure: () => structureOf(plan, options)
    },
    { output, vary: varied, options }
  )
}

/** Shared by all agents that are made of options. */
function varied(this: Agent<unknown, unknown, unknown>, others: Options): Agent<unknown, unknown, unknown> {
  return erased(this.name, { ...this.options, ...others })
}

/** Shared by all agents. */
const conversation = Schemas.always(Schemas.conversation)
const text = Schemas.always(Schema.String)

type Own<A, E, R> = Pick<Agent<A, E, R>, "output" | "vary"> & Partial<Pick<Agent<A, E, R>, "options">>

/** @internal An agent with a definition of its own. */
export const fromDefinition = <A, E, R>(
  name: string,
  description: string | undefined,
  definition: Runner.Definition<Prompt.RawInput, A, E, R>,
  { options, output, vary }: Own<A, E, R>
): Agent<A, E, R> => Object.assign(Runner.fromDefinition(name, description, definition), { output, vary, options })

/** The services that a copy needs in addition: it has a model already, its own or that of its caller. */
type AddedServices<O, Returned> = Exclude<Services<O, Returned>, LanguageModel.LanguageModel>

/** Options without `output`, which is the type of the agent. */
type NoOutput = { readonly output?: "The output is the type of the agent. Make another one with Agent.make" }

/**
 * Copies an agent with other tools, instructions, limits or any other options than `output`: for one run, or as an agent of
 * its own. Options that are not given, or `undefined`, are those of the agent. The copy has the same name. Errors and
 * services that its new options add join its type; those of replaced options stay in it.
 *
 * A copy of an orchestrator keeps its workers, and that of a service its own model. Throws `InvalidDefinition` as
 * {@link make} does, also where the new options do not fit the others, such as a `toolChoice` of a tool that is replaced.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer questions." })
 * const answer = Agent.with(clerk, { instructions: "Answer in one sentence.", maxSteps: 2 })
 *   .run("What is 2 + 40?")
 *   .pipe(Effect.provide(DemoModel.layer))
 */
const with_: {
  <const O extends Given, Instructions extends AnyInstructions = string, Stops extends AnyStops = boolean>(
    options: Checked<O, Instructions, Stops> & NoOutput
  ): <A, E, R>(
    self: Agent<A, E, R>
  ) => Agent<A, E | Failure<O, Instructions | Stops>, R | AddedServices<O, Instructions | Stops>>
  <A, E, R, const O extends Given, Instructions extends AnyInstructions = string, Stops extends AnyStops = boolean>(
    self: Agent<A, E, R>,
    options: Checked<O, Instructions, Stops> & NoOutput
  ): Agent<A, E | Failure<O, Instructions | Stops>, R | AddedServices<O, Instructions | Stops>>
} = dual(2, (self: Agent<unknown, unknown, unknown>, options: Options): Agent<unknown, unknown, unknown> => {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options
  if (given.output === undefined) return self.vary(given)
  throw invalid(
    subjectOf(self.name),
    "a copy of it is given another output, which is the type of an agent",
    "Make another agent with Agent.make"
  )
})
export { with_ as with }

const structureOf = (plan: Spec.AgentSpec, options: Options): Structure => ({
  kind: "agent",
  traits: () => traitsOf(plan, options),
  members: [
    ...[...plan.tools.byName].map(([name, entry]) => ({
      name,
      role: "tool",
      tools: () => [AgentTool.isAgentTool(entry) ? entry.tool : entry],
      parameters: () => parametersOf(AgentTool.isAgentTool(entry) ? entry.tool : entry),
      ...(AgentTool.isAgentTool(entry) ? { runner: entry.runner, handsOffTo: markOf(entry.tool, HandsOff)?.to } : {})
    })),
    ...plan.sources.map(({ holds, name }) => ({ name, role: "tool", runner: undefined, tools: holds }))
  ]
})

/** What two versions of an agent differ by. A function is known by its text. */
const traitsOf = (plan: Spec.AgentSpec, options: Options): Schema.Json => {
  const { limits, output, tools } = plan
  const described = [...tools.byName].map(([name, entry]) => {
    const tool = AgentTool.isAgentTool(entry) ? entry.tool : entry
    return [name, Tool.isProviderDefined(tool) ? null : (tool.description ?? null)]
  })
  return toJson({
    instructions: textOf(options.instructions),
    output: output?.format ?? null,
    tools: described,
    toolChoice: textOf(plan.toolChoice),
    stopWhen: textOf(plan.stopWhen),
    limits: [plan.maxSteps, limits.onMaxSteps, limits.maxToolCalls, limits.maxToolCallsPerStep, limits.outputRepairs],
    around: [...middlewareOf(options), ...(options.use ?? nothing)].map(({ name }) => name)
  })
}

const textOf = (option: unknown): unknown => (typeof option === "function" ? String(option) : option)

const parametersOf = (tool: Tool.Any): Schema.Json =>
  Tool.isProviderDefined(tool) ? null : toJson(Tool.getJsonSchema(tool))

const nothing: ReadonlyArray<never> = []

/** The tools of the options and of the features, in that order. */
const directOf = ({ tools = nothing, use = nothing }: Options): ReadonlyArray<AnyDirect> =>
  use.length === 0 ? tools : [...tools, ...use.flatMap((feature) => feature.tools)]

/** The middleware of the options and of the features, in that order: the first is outermost. */
const middlewareOf = ({ middleware = nothing, use = nothing }: Options): ReadonlyArray<Middleware.Any> =>
  use.length === 0 ? middleware : [...middleware, ...use.flatMap((feature) => feature.middleware)]

const makePlan = (name: string, options: Options): Spec.AgentSpec => {
  const subject = subjectOf(name)
  assertShape(subject, name, options)
  const tools = toolsOf(options, name)
  assertFree(name, options, tools)
  const sources = sourcesOf(directOf(options))
  return {
    name,
    description: options.description,
    instructions: instructionsOf(options.instructions, options.use ?? nothing),
    toolkit: options.toolkit,
    tools,
    sources,
    // What a source will give is not known yet.
    toolChoice:
      sources.length > 0 ? (options.toolChoice ?? "auto") : checkedChoice(subject, options.toolChoice ?? "auto", tools),
    maxSteps: countOf(subject, "maxSteps", options.maxSteps, 16),
    limits: hasLimits(options) ? ownLimits(subject, options) : noLimits,
    stopWhen: options.stopWhen,
    output:
      options.output === undefined || options.output === Schema.String
        ? undefined
        : makeSpec(subjectOf(name), name, options.output),
    encode: encoderOf(options.output),
    middleware: ownMiddleware(middlewareOf(options))
  }
}

const sourcesOf = (direct: ReadonlyArray<AnyDirect>): ReadonlyArray<ToolSource.Any> =>
  direct.length === 0 ? nothing : direct.filter(ToolSource.isToolSource)

/**
 * Whether an agent has limits of its own. Those of the others are shared: programs make thousands of agents. Each by its name: a loop
 * over names would take a tenth of the time in which an agent is made.
 */
const hasLimits = (options: Options): boolean =>
  options.toolConcurrency !== undefined ||
  options.toolTimeout !== undefined ||
  options.toolRetry !== undefined ||
  options.onMaxSteps !== undefined ||
  options.maxToolCalls !== undefined ||
  options.maxToolCallsPerStep !== undefined ||
  options.onMaxToolCalls !== undefined ||
  options.onLength !== undefined ||
  options.maxAnswerSize !== undefined ||
  options.outputRepairs !== undefined ||
  options.retry !== undefined ||
  options.reasoning !== undefined ||
  options.cache !== undefined

const ownLimits = (subject: string, options: Options): Spec.Limits => {
  const concurrency = options.toolConcurrency ?? 8
  if (concurrency !== "unbounded" && !isCount(concurrency)) {
    throw invalid(subject, `toolConcurrency is ${inWords(concurrency)}`, 'Use a whole number from 1, or "unbounded"')
  }
  const outputRepairs = options.outputRepairs ?? 1
  if (outputRepairs !== 0 && !isCount(outputRepairs))
    throw invalid(subject, `outputRepairs is ${inWords(outputRepairs)}`, "Use a whole number from 0")
  return {
    toolConcurrency: concurrency === "unbounded" ? Number.POSITIVE_INFINITY : concurrency,
    toolTimeout:
      options.toolTimeout === undefined ? undefined : durationOf(subject, "toolTimeout", options.toolTimeout),
    toolRetry: options.toolRetry,
    onMaxSteps: options.onMaxSteps ?? "fail",
    maxToolCalls: countOf(subject, "maxToolCalls", options.maxToolCalls, 500),
    maxToolCallsPerStep: countOf(subject, "maxToolCallsPerStep", options.maxToolCallsPerStep, 64),
    onMaxToolCalls: options.onMaxToolCalls ?? "return",
    onLength: options.onLength ?? "fail",
    maxAnswerSize: countOf(subject, "maxAnswerSize", options.maxAnswerSize, 16 * 1024 * 1024),
    outputRepairs,
    retry: options.retry,
    settings: settingsOf(subject, options)
  }
}

/** A function of its own only for an agent that needs one: programs make thousands of agents. */
const encoderOf = (output: Schema.Top | undefined): ((value: unknown) => Schema.Json) => {
  if (output === undefined) return toJson
  const reading = readingOf(output)
  return (value) => encodeBy(reading, value)
}

/** The options of an agent, by name. */
const known = namesOf<Options>({
  description: true,
  instructions: true,
  toolkit: true,
  tools: true,
  use: true,
  middleware: true,
  output: true,
  outputRepairs: true,
  maxSteps: true,
  onMaxSteps: true,
  maxToolCalls: true,
  maxToolCallsPerStep: true,
  onMaxToolCalls: true,
  onLength: true,
  maxAnswerSize: true,
  stopWhen: true,
  toolChoice: true,
  toolConcurrency: true,
  toolTimeout: true,
  toolRetry: true,
  retry: true,
  reasoning: true,
  cache: true
})

/** Options of other libraries' agents, with ours in their place. */
const elsewhere = {
  model: "Provide a Layer of the model around the run, such as OpenAi.layer({ model })",
  llm: "Provide a Layer of the model around the run, such as OpenAi.layer({ model })",
  name: 'The name stands before the options: Agent.make("name", { ... })',
  system: "Give the system message as instructions",
  systemPrompt: "Give the system message as instructions",
  prompt: "Give the system message as instructions, and the user's prompt to run",
  handoffs: "Use Handoffs.make, and Handoffs.to among the tools",
  outputType: "Give the schema of the answer as output",
  outputSchema: "Give the schema of the answer as output",
  maxTurns: "Use maxSteps"
} as const

/** Throws for options of another shape than their types, which a program without types can pass. */
const assertShape = (subject: string, name: string, options: Options): void => {
  assertName("an agent", name, 'Give it one: Agent.make("name", { ... }); it shows in events, spans and errors')
  assertOptions(subject, options, known, elsewhere)
  assertText(subject, "description", options.description)
  if (typeof options.instructions !== "function") assertText(subject, "instructions", options.instructions)
  if (options.stopWhen !== undefined) assertFunction(subject, "stopWhen", options.stopWhen)
  assertOneOf(subject, "onMaxSteps", options.onMaxSteps, ["fail", "answer"])
  assertOneOf(subject, "onMaxToolCalls", options.onMaxToolCalls, ["return", "fail"])
  assertOneOf(subject, "onLength", options.onLength, ["fail", "accept"])
  if (typeof options.toolChoice === "string") {
    assertOneOf(subject, "toolChoice", options.toolChoice, ["auto", "none", "required"])
  }
  ToolSet.assertTools(subject, options.tools, options.toolkit)
  assertList(subject, "use", options.use, Feature.isFeature, {
    what: "a feature",
    remedy: "Give it a list of what Feature.make returns: use: [Skills.feature()]"
  })
  Middleware.assertMiddleware(subject, options.middleware)
}

const countOf = (subject: string, option: string, given: number | undefined, otherwise: number): number => {
  const count = given ?? otherwise
  if (!isCount(count)) throw invalid(subject, `${option} is ${inWords(count)}`, "Use a whole number from 1")
  return count
}

const isCount = (n: number): boolean => n >= 1 && (Number.isInteger(n) || n === Number.POSITIVE_INFINITY)

const noLimits = ownLimits("limits", {})

const subjectOf = (name: string): string => `agent "${name}"`

const instructionsOf = (
  instructions: Options["instructions"],
  use: ReadonlyArray<Feature.Any>
): Spec.AgentSpec["instructions"] => {
  if (use.length === 0 && typeof instructions !== "function") return instructions ?? ""
  const own = (input: Prompt.RawInput) =>
    Effect.suspend(() => {
      return toEffect(typeof instructions === "function" ? instructions(input) : (instructions ?? ""))
    })
  if (use.length === 0) return own
  return (input) =>
    Effect.map(
      Effect.forEach([own, ...use.map((feature) => feature.instructions)], (part) => part(input)),
      (parts) => parts.filter((text) => text !== "").join("\n\n")
    )
}

/** Throws for a tool whose name a source of a feature reserves. */
const assertFree = (name: string, { use = nothing }: Options, { byName }: ToolSet.ToolSet): void => {
  for (const feature of use) {
    const taken = feature.reserves.find((tool) => byName.has(tool))
    if (taken === undefined) continue
    throw invalid(
      subjectOf(name),
      `it has a tool named "${taken}", as a tool of its feature "${feature.name}" is`,
      "Rename it"
    )
  }
}

const toolSets = new WeakMap<object, ToolSet.ToolSet>()

/** The tools of a definition. Agents that share a toolkit share its tools. */
const toolsOf = (options: Options, name: string): ToolSet.ToolSet => {
  const { toolkit } = options
  const tools = directOf(options)
  const set = toolkit === undefined ? ToolSet.none : toolsOfToolkit(toolkit, name)
  return tools.length === 0 ? set : ToolSet.add(subjectOf(name), set, tools.filter(AgentTool.isAgentTool))
}

const toolsOfToolkit = (toolkit: NonNullable<Options["toolkit"]>, name: string): ToolSet.ToolSet => {
  const known = toolSets.get(toolkit)
  if (known !== undefined) return known
  const set = ToolSet.add(subjectOf(name), ToolSet.none, Object.values(toolkit.tools))
  toolSets.set(toolkit, set)
  return set
}

const checkedChoice = (
  subject: string,
  choice: ToolChoice | ((info: StepInfo) => ToolChoice),
  { byName }: ToolSet.ToolSet
): ToolChoice | ((info: StepInfo) => ToolChoice) => {
  if (typeof choice === "function") return choice
  const named = typeof choice === "string" ? [] : "tool" in choice ? [choice.tool] : choice.oneOf
  const missing = named.find((tool) => !byName.has(tool))
  if (missing !== undefined) {
    throw invalid(subject, `toolChoice names "${missing}", which it does not have`, "Add the tool")
  }
  if (choice === "required" && byName.size === 0) {
    throw invalid(subject, "toolChoice is required and it has no tools", "Add one")
  }
  return choice
}

/** The services that an agent takes from its own Layer and not from its caller: its model, and those of its tools. */
const declaredBy = (options: Options): ReadonlySet<string> =>
  new Set([
    LanguageModel.LanguageModel.key,
    Model.ProviderName.key,
    Model.ModelName.key,
    ModelInfo.CurrentModel.key,
    ...Object.values(options.toolkit?.tools ?? {}).map(({ id }) => id),
    ...directOf(options)
      .filter(ToolSource.isToolSource)
      .flatMap(({ from }) => from)
  ])

/** The class that {@link Service} makes: a Context key, a Layer, and a runner in one. */
export interface ServiceClass<in out Self, Id extends string, A, E, R>
  extends Context.ServiceClass<Self, Id, Agent<A, E, never>>, Omit<Agent<A, E, Self>, "pipe" | "name"> {
  readonly layer: Layer.Layer<Self, never, R>
}

/**
 * Makes an agent a service, so that each has its own model and tools. The class is itself a runner, and running it needs
 * only the agent.
 *
 * Its `layer` keeps the model, the handlers of the toolkit and what the sources among its tools come from: a run uses
 * these also where the caller provides others. Everything else that tools, instructions and `stopWhen` read (references
 * such as a tenant's id, other services) is what the caller provides around the run; the services that the layer was
 * built with supply what the caller does not provide.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Agent, OpenAi } from "troupe"
 *
 * class Researcher extends Agent.Service<Researcher>()("app/Researcher", { instructions: "You research." }) {}
 *
 * const program = Researcher.run("What is an effect?").pipe(
 *   Effect.provide(Researcher.layer.pipe(Layer.provide(OpenAi.layer({ model: "gpt-4.1-mini" }))))
 * )
 */
export const Service =
  <Self>() =>
  <
    const Id extends string,
    const O extends Given,
    Instructions extends AnyInstructions = string,
    Stops extends AnyStops = boolean
  >(
    id: Id,
    options: Checked<O, Instructions, Stops>
  ): ServiceClass<Self, Id, Output<O>, Failure<O, Instructions | Stops>, Services<O, Instructions | Stops>> => {
    type A = Output<O>
    type E = Failure<O, Instructions | Stops>
    type R = Services<O, Instructions | Stops>
    const name = id.slice(id.lastIndexOf("/") + 1)
    const agent: Agent<A, E, R> = make<O, Instructions, Stops>(name, options)
    const given = options as Options
    const declared = declaredBy(given)
    const Key = Context.Service<Self, Agent<A, E, never>>()(id)
    const layer: Layer.Layer<Self, never, R> = Layer.effect(
      Key,
      Effect.map(captured<R>(), (own) => keeping(agent, own, declared))
    )
    const { pipe: _pipe, name: _name, ...members } = ofService(agent, Key)
    return Object.assign(Key, members, { layer }) as ServiceClass<Self, Id, A, E, R>
  }

/** The agent with the services `own`, of which those that it declares are used in place of its caller's. */
const keeping = <A, E, R>(
  agent: Agent<A, E, R>,
  own: Context.Context<R>,
  declared: ReadonlySet<string>
): Agent<A, E, never> =>
  fromDefinition(
    agent.name,
    agent.description,
    {
      ...agent.definition,
      body: (input, state) => withCaptured(agent.definition.body(input, state), own, declared)
    },
    {
      output: agent.output,
      // What its new options need is provided around the run.
      vary: (options) => keeping(agent.vary(options) as Agent<A, E, R>, own, declared)
    }
  )

/** The agent that a service holds, as an agent that needs the service. `agent` is what the service is made of. */
const ofService = <Self, A, E>(
  agent: Agent<A, unknown, unknown>,
  held: Effect.Effect<Agent<A, E, never>, never, Self>
): Agent<A, E, Self> =>
  fromDefinition(
    agent.name,
    agent.description,
    {
      ...agent.definition,
      body: (input, state) => Effect.flatMap(held, (service) => service.definition.body(input, state))
    },
    {
      output: agent.output,
      vary: (options) =>
        ofService(
          agent.vary(options),
          Effect.map(held, (service) => service.vary(options) as Agent<A, unknown, never>)
        )
    }
  )

export { AgentConfig } from "./internal/agentConfig.ts"

/** What the names in a config stand for. */
export interface Registry {
  /** Tools, and sources of tools. */
  readonly tools?: Readonly<Record<string, AnyDirect>> | undefined
  /** Features, for `use`. */
  readonly use?: Readonly<Record<string, Feature.Any>> | undefined
  readonly middleware?: Readonly<Record<string, Middleware.Any>> | undefined
  /**
   * The Layer of a model by its name, such as `Models.layer`. With it a config has to name its model, which is built for each run.
   * Without it the model is that of the caller, and a config must not name one.
   */
  readonly models?: ((name: string) => Layer.Layer<LanguageModel.LanguageModel, unknown, unknown>) | undefined
  /** The name of the file, for errors. Default `"agent"`. */
  readonly file?: string | undefined
}

type Held<G, K extends string> = Option<G, K>[keyof Option<G, K>]
type ModelOf<G> = [Option<G, "models">] extends [never]
  ? never
  : Option<G, "models"> extends (name: string) => Layer.Layer<infer _A, infer E, infer R>
    ? [E, R]
    : never

/** The errors of an agent whose config names what a registry holds. */
export type ConfiguredError<G> =
  | AgentError
  | BudgetExceeded
  | RunTimedOut
  | Feature.Error<Held<G, "use">>
  | Middleware.Error<Held<G, "middleware">>
  | ModelOf<G>[0]

/** The services that an agent needs whose config names what a registry holds. */
export type ConfiguredServices<G> =
  | DirectServices<Held<G, "tools">>
  | Feature.Services<Held<G, "use">>
  | Middleware.Services<Held<G, "middleware">>
  | ([Option<G, "models">] extends [never] ? LanguageModel.LanguageModel : ModelOf<G>[1])

/**
 * Makes an agent of a text of JSON or YAML, such as a file that someone edits who does not write programs: its name, model,
 * instructions, limits and output as data, and tools, features and middleware by their names in `registry`. See
 * {@link AgentConfig} for the fields. Its output is a text, or JSON that fits the JSON Schema `output`.
 *
 * The type has the errors and services of everything that the registry holds, whichever of it the text names. Fails with
 * `ConfigInvalid`, which says the line, the column and the next step. YAML is loaded when a text is not JSON.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Agent, AgentTool, Models } from "troupe"
 *
 * const add = AgentTool.fromFunction("add", {
 *   description: "Add two numbers",
 *   parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
 *   execute: ({ a, b }) => a + b
 * })
 * const text = `
 * name: clerk
 * model: openai:gpt-4.1-mini
 * instructions: Do sums.
 * tools: [add]
 * maxSteps: 4
 * `
 * const answer = Effect.flatMap(Agent.fromConfig(text, { tools: { add }, models: Models.layer }), (clerk) => clerk.run("2 + 40?"))
 */
export const fromConfig = <const G extends Registry = {}>(
  text: string,
  registry?: G
): Effect.Effect<Agent<Schema.Json, ConfiguredError<G>, ConfiguredServices<G>>, ConfigInvalid> =>
  // The registry has the types of all that the text can name.
  configured(text, registry ?? {}) as Effect.Effect<
    Agent<Schema.Json, ConfiguredError<G>, ConfiguredServices<G>>,
    ConfigInvalid
  >

const configured = Effect.fnUntraced(function* (
  text: string,
  registry: Registry
): Effect.fn.Return<Agent<unknown, unknown, unknown>, ConfigInvalid> {
  const known = yield* read(registry.file ?? "agent", text)
  const { budget, cache, middleware, model, name, output, timeout, toolTimeout, tools, use, ...settings } = known.config
  const options: Options = {
    ...settings,
    // Texts that are not durations are refused below, at their fields.
    toolTimeout: toolTimeout as Duration.Input | undefined,
    cache: cache as Options["cache"],
    tools: yield* named(known, "tools", tools, registry.tools),
    use: yield* named(known, "use", use, registry.use),
    middleware: yield* named(known, "middleware", middleware, registry.middleware),
    ...(output === undefined ? {} : { output: yield* outputOf(known, output) })
  }
  const made = yield* defined(known, () => {
    const agent = erased(name, options)
    const limited = budget === undefined ? agent : Runner.withBudget(agent, budget as Runner.Budget)
    return {
      agent,
      runner: timeout === undefined ? limited : Runner.withTimeout(limited, timeout as Duration.Input)
    }
  })
  const layer = yield* modelOf(known, model, registry.models)
  const runner = layer === undefined ? made.runner : Runner.provide(made.runner, layer)
  return fromDefinition(name, options.description, runner.definition, made.agent)
})

/** What names stand for. */
const named = <T>(
  { fail }: ReadConfig,
  field: "tools" | "use" | "middleware",
  names: ReadonlyArray<string> = nothing,
  held: Readonly<Record<string, T>> = {}
): Effect.Effect<ReadonlyArray<T>, ConfigInvalid> =>
  Effect.forEach(names, (name, index) => {
    if (Object.hasOwn(held, name)) return Effect.succeed(held[name]!)
    const all = Object.keys(held)
    const remedy =
      all.length === 0 ? `Give the registry one: { ${field}: { ${name} } }` : `The registry has: ${all.join(", ")}`
    return fail(
      [field, index],
      `there is no ${field === "use" ? "feature" : field.replace(/s$/, "")} "${name}"`,
      remedy
    )
  })

const outputOf = ({ fail }: ReadConfig, output: Schema.JsonObject): Effect.Effect<Schema.Top, ConfigInvalid> => {
  const wrong = unknownType(output, ["output"])
  if (wrong !== undefined) {
    const problem = `${wrong.path.join(".")} is ${JSON.stringify(wrong.type)}`
    return fail(wrong.path, problem, `Use one of ${jsonTypes.join(", ")}`)
  }
  return Effect.flatMap(
    Effect.promise(() => Promise.all([import("effect/SchemaRepresentation"), import("effect/JsonSchema")])),
    ([SchemaRepresentation, JsonSchema]) => {
      try {
        const document = JsonSchema.fromSchemaDraft2020_12(
          output as Parameters<typeof JsonSchema.fromSchemaDraft2020_12>[0]
        )
        return Effect.succeed(SchemaRepresentation.fromJsonSchemaDocument(document, { patterns: "apply" }))
      } catch (cause) {
        return fail(
          ["output"],
          `output is not a JSON Schema that is known here: ${messageOf(cause)}`,
          "Write types, properties, required, items and enum"
        )
      }
    }
  )
}

const jsonTypes = ["object", "array", "string", "number", "integer", "boolean", "null"]

/** The first type in a JSON Schema that there is not; anything would fit it. */
const unknownType = (
  schema: Schema.Json,
  path: ReadonlyArray<string>
): { readonly path: ReadonlyArray<string>; readonly type: Schema.Json } | undefined => {
  if (typeof schema !== "object" || schema === null || path.length > 64) return undefined
  for (const [key, inner] of Object.entries(schema)) {
    const isName = key === "type" && path.at(-1) !== "properties" && path.at(-1) !== "$defs"
    if (isName && ![inner].flat().every((type) => jsonTypes.includes(String(type)))) {
      return { path: [...path, key], type: inner }
    }
    const found = ["enum", "const", "default", "examples"].includes(key)
      ? undefined
      : unknownType(inner, [...path, key])
    if (found !== undefined) return found
  }
  return undefined
}

/** What `Agent.make` refuses, at the field that it is about. */
const defined = <A>({ config, fail }: ReadConfig, make: () => A): Effect.Effect<A, ConfigInvalid> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(make())
    } catch (cause) {
      if (!(cause instanceof InvalidDefinition)) return Effect.die(cause)
      const field = Object.keys(config).find((key) => cause.problem.includes(key))
      return fail(field === undefined ? [] : [field], cause.problem, cause.remedy)
    }
  })

const modelOf = (
  { fail }: ReadConfig,
  model: string | undefined,
  models: Registry["models"]
): Effect.Effect<ReturnType<NonNullable<Registry["models"]>> | undefined, ConfigInvalid> => {
  if (models === undefined) {
    return model === undefined
      ? Effect.succeed(undefined)
      : fail(
          ["model"],
          "it names a model, and the registry has none",
          "Give it models: Models.layer, or remove the field"
        )
  }
  return model === undefined
    ? fail([], "model is missing", "Write a name that Models.layer takes, such as model: openai:gpt-4.1-mini")
    : Effect.succeed(models(model))
}
