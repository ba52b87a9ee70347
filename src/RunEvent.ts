/**
 * The events of a run. Every event is plain JSON with a schema, so it can be logged, stored and sent between the parts of
 * your own system as it is. This module defines the events and reads them; it emits none (see `Runner` and the agent loop).
 *
 * **Do not send all events to end users.** {@link toClient} makes of an event what may leave a server. `TextDelta` of the
 * root run is meant for end users, see {@link text}; so is the `output` of its `RunCompleted`. Other events hold what they may not be meant to see: the arguments and results of tools
 * (`ToolParamsDelta`, `ToolCalled`, `ToolProgress`, `ToolCompleted`, `ToolFailed`, `ApprovalRequested`, `ApprovalAnswered`), the model's
 * reasoning (`ReasoningDelta`), what workflows decided and why (`RouteTaken`, `RoundCompleted`, `PlanMade`, `PlanRevised`, `Compacted`,
 * `HandedOff`, `OutputRejected`, `StepRetried`), messages (`InputReceived`, `TaskChanged`, `MessageSent`), the names of your agents and tools (`path`, `tool`), and in terminal events the whole
 * conversation (`transcript`) and errors with hints for operators (`error`, `message`). No event holds the agent's
 * instructions.
 *
 * The order of the events of one run (those with one `runId`) is a grammar, checked in our tests:
 *
 * ```text
 * run      := RunStarted attempt ( RunRetried attempt )* terminal
 * terminal := RunCompleted | RunFailed | RunInterrupted | RunSuspended
 * attempt  := ( step | decision | ItemCompleted | TaskChanged | MessageSent | FilesRestored )*
 * decision := RouteTaken | RoundCompleted | PlanMade | HandedOff | StoppedEarly
 * step     := StepStarted ToolNotice* InputReceived* revised* model ( ( StepRetried | TurnReplaced | revised ) model )* ToolCalled* tools*
 *             OutputRejected? StepCompleted
 * revised  := PlanRevised | Compacted
 * model    := ( ReasoningDelta | TextDelta | ToolParamsDelta | ran )*
 * ran      := ToolCalled ( ToolCompleted | ToolFailed )                       a call that the provider made itself, with providerExecuted
 * tools    := ( approval? ( ToolProgress | FilesRestored | inner )* )+ ( ToolCompleted | ToolFailed )   one for each ToolCalled, in the order they end
 * inner    := ToolCalled tools                                                      a call inside of a tool, with its parentToolCallId
 * approval := ApprovalRequested ApprovalAnswered
 * ```
 *
 * One call has a second approval only where a middleware makes the call again. A call inside of a program that ends before it was
 * answered has an `ApprovalRequested` without an answer, and then `ToolFailed`. A run that fails, is interrupted or is suspended stops
 * anywhere in that order and goes to its terminal event at once. Events of nested runs (with a longer `path`) stand between `RunStarted` and the terminal event of the run that started them.
 * `seq` grows by one from event to event over the whole tree of one root run.
 */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { assertOptions } from "./internal/definition.ts"
import { clientError, tagOf } from "./internal/clientError.ts"
import { elementsReader, partialReader } from "./internal/partialOutput.ts"
import { rendering } from "./internal/render.ts"
import { Isolation } from "./services/Sandbox.ts"
import { WaitingFor } from "./services/Waiting.ts"

export { WaitingFor } from "./services/Waiting.ts"

/** The version of the event format. It changes when a reader of the old format would misread the new. */
export const version = 2

const base = {
  /** Format version. */
  v: Schema.Literal(version),
  /** Counts the events of the root run from 0, nested runs included. */
  seq: Schema.Int,
  /** The run that emitted the event. */
  runId: Schema.String,
  /** The names of the runners from the root to the one that emitted the event. */
  path: Schema.Array(Schema.String),
  /** When, in milliseconds since the epoch, by Effect's `Clock`. */
  at: Schema.Finite
}
const inStep = {
  ...base,
  /** The step the event belongs to, counted from 1. */
  step: Schema.Int
}
const ofTool = {
  ...inStep,
  toolCallId: Schema.String,
  tool: Schema.String,
  /** The call of a tool that this call is made inside of; absent for one that the model has asked for. */
  parentToolCallId: Schema.optionalKey(Schema.String)
}
/** True for a call of a tool that the model's provider ran itself, which is emitted once its result is known; absent for others. */
const byProvider = { providerExecuted: Schema.optionalKey(Schema.Literal(true)) }

/**
 * The outcome of one tool call. `waiting`: it needs approval. `unknown`: it had begun and could not be waited for, so
 * its effects may have happened.
 */
export const ToolCallStatus = Schema.Literals([
  "completed",
  "failed",
  "denied",
  "waiting",
  "interrupted",
  "not-started",
  "unknown"
])
/** The outcome of one tool call. */
export type ToolCallStatus = typeof ToolCallStatus.Type

/** One tool call of a run, and its outcome. */
export const ToolCallReport = Schema.Struct({
  step: Schema.Int,
  toolCallId: Schema.String,
  tool: Schema.String,
  status: ToolCallStatus
})
/** One tool call of a run, and its outcome. */
export interface ToolCallReport extends Schema.Schema.Type<typeof ToolCallReport> {}

/** What a run had spent and done when it ended: usage over its whole tree, steps, partial text, tool calls. */
export const Spent = Schema.Struct({
  /** Summed over the run and every run nested in it. Calls that ended before they said what they used are not in it. */
  usage: Response.Usage,
  /**
   * What that cost in US dollars, the step under way included. Absent where the price of a part of it is not known (see `Prices`), and in
   * a run whose events nothing reads.
   */
  cost: Schema.optionalKey(Schema.Finite),
  /** Steps that have started, nested runs included. */
  steps: Schema.Int,
  /** Text of the step that was under way or last done. */
  text: Schema.String,
  /** Every tool call of this run (not of nested runs), in the order asked. */
  toolCalls: Schema.Array(ToolCallReport)
})
/** What a run had spent and done when it ended. */
export interface Spent extends Schema.Schema.Type<typeof Spent> {}

/**
 * The transcript of a run, encoded as JSON: what `Schema.decode(Prompt.Prompt)` reads. Its `content` is an input for the
 * next run as it stands.
 */
export const Transcript = Schema.toEncoded(Prompt.Prompt)

/** The fields of every terminal event. */
const terminal = {
  ...base,
  spent: Spent,
  durationMs: Schema.Finite,
  /** The conversation of a root run, to go on from; see `Result.transcript`. Absent for nested runs. */
  transcript: Schema.optionalKey(Transcript)
}

/** A run began. */
export const RunStarted = Schema.TaggedStruct("RunStarted", {
  ...base,
  /** The run that started this one; absent for a root run. */
  parentId: Schema.optionalKey(Schema.String)
})
/** A run began. */
export interface RunStarted extends Schema.Schema.Type<typeof RunStarted> {}
/**
 * The run starts again (`Runner.withRetry`). Its events from `discardFrom` on, and those of its nested runs, are void.
 */
export const RunRetried = Schema.TaggedStruct("RunRetried", {
  ...base,
  attempt: Schema.Int,
  discardFrom: Schema.Int,
  reason: Schema.String
})
/**
 * The run starts again (`Runner.withRetry`). Its events from `discardFrom` on, and those of its nested runs, are void.
 */
export interface RunRetried extends Schema.Schema.Type<typeof RunRetried> {}
/** A step began: one model call and the tool calls it asks for. */
export const StepStarted = Schema.TaggedStruct("StepStarted", inStep)
/** A step began: one model call and the tool calls it asks for. */
export interface StepStarted extends Schema.Schema.Type<typeof StepStarted> {}
/**
 * A tool is not offered to the model, or is not what it was: an MCP server changed its definition after it was called, or
 * gave more tools than one server may put into a request.
 */
export const ToolNotice = Schema.TaggedStruct("ToolNotice", {
  ...base,
  /** The MCP server that the tool belongs to. */
  server: Schema.String,
  /** The tool, by the name that the agent has for it; absent for a notice about several tools. */
  tool: Schema.optionalKey(Schema.String),
  problem: Schema.String
})
/**
 * A tool is not offered to the model, or is not what it was: an MCP server changed its definition after it was called, or
 * gave more tools than one server may put into a request.
 */
export interface ToolNotice extends Schema.Schema.Type<typeof ToolNotice> {}
/**
 * A message that came to the run while it was under way, see `Inbox` and `AgentTool.background`. It stands before the step's model call, which sees
 * it.
 */
export const InputReceived = Schema.TaggedStruct("InputReceived", {
  ...inStep,
  /** How it was sent: to be taken before the next model call, or when the run would end; or by work in the background. */
  when: Schema.Literals(["steer", "queue", "background"]),
  /** The message, encoded as JSON. */
  prompt: Transcript
})
/** A message that came to the run while it was under way. */
export interface InputReceived extends Schema.Schema.Type<typeof InputReceived> {}
/** The step's model call failed and is retried; drop every delta of this run since event `discardFrom`. */
export const StepRetried = Schema.TaggedStruct("StepRetried", {
  ...inStep,
  /** The attempt that now begins; the first was 1. */
  attempt: Schema.Int,
  discardFrom: Schema.Int,
  reason: Schema.String
})
/** The step's model call failed and is retried; drop every delta of this run since event `discardFrom`. */
export interface StepRetried extends Schema.Schema.Type<typeof StepRetried> {}
/**
 * A middleware replaced the model's answer, refused it, or calls the model again; drop every delta of this run since event
 * `discardFrom`. The deltas of the new answer follow, or the run fails.
 */
export const TurnReplaced = Schema.TaggedStruct("TurnReplaced", {
  ...inStep,
  discardFrom: Schema.Int,
  /** The name of the middleware. */
  by: Schema.String
})
/**
 * A middleware replaced the model's answer, refused it, or calls the model again; drop every delta of this run since event
 * `discardFrom`. The deltas of the new answer follow, or the run fails.
 */
export interface TurnReplaced extends Schema.Schema.Type<typeof TurnReplaced> {}
/** A piece of the answer. */
export const TextDelta = Schema.TaggedStruct("TextDelta", { ...inStep, delta: Schema.String })
/** A piece of the answer. */
export interface TextDelta extends Schema.Schema.Type<typeof TextDelta> {}
/** A piece of the model's reasoning, which is never part of the answer. */
export const ReasoningDelta = Schema.TaggedStruct("ReasoningDelta", { ...inStep, delta: Schema.String })
/** A piece of the model's reasoning, which is never part of the answer. */
export interface ReasoningDelta extends Schema.Schema.Type<typeof ReasoningDelta> {}
/**
 * A piece of the arguments of a tool call, as JSON text, while the model writes them. The pieces of one call come in order;
 * `ToolCalled` then has the whole arguments. Only `stream` emits them, and only where the model's answer streams.
 */
export const ToolParamsDelta = Schema.TaggedStruct("ToolParamsDelta", { ...ofTool, delta: Schema.String })
/** A piece of the arguments of a tool call, as JSON text, while the model writes them. */
export interface ToolParamsDelta extends Schema.Schema.Type<typeof ToolParamsDelta> {}
/** The model asked for a tool. */
export const ToolCalled = Schema.TaggedStruct("ToolCalled", {
  ...ofTool,
  params: Schema.Json,
  /** Where a tool of `FileTools.feature` or `ShellTools.feature` works, and what that keeps apart. */
  sandbox: Schema.optionalKey(Schema.Struct({ name: Schema.String, isolates: Isolation })),
  ...byProvider
})
/** The model asked for a tool. */
export interface ToolCalled extends Schema.Schema.Type<typeof ToolCalled> {}
/** An approver is asked whether the tool may be called. `approvalId` is what a decision made elsewhere is given for. */
export const ApprovalRequested = Schema.TaggedStruct("ApprovalRequested", {
  ...ofTool,
  approvalId: Schema.String,
  params: Schema.Json
})
/** An approver is asked whether the tool may be called. `approvalId` is what a decision made elsewhere is given for. */
export interface ApprovalRequested extends Schema.Schema.Type<typeof ApprovalRequested> {}
/** The approver's answer. `params` are the arguments that replace the model's, if the approver changed them. */
export const ApprovalAnswered = Schema.TaggedStruct("ApprovalAnswered", {
  ...ofTool,
  approved: Schema.Boolean,
  reason: Schema.optionalKey(Schema.String),
  params: Schema.optionalKey(Schema.Json)
})
/** The approver's answer. `params` are the arguments that replace the model's, if the approver changed them. */
export interface ApprovalAnswered extends Schema.Schema.Type<typeof ApprovalAnswered> {}
/** A preliminary result of a running tool. */
export const ToolProgress = Schema.TaggedStruct("ToolProgress", { ...ofTool, result: Schema.Json })
/** A preliminary result of a running tool. */
export interface ToolProgress extends Schema.Schema.Type<typeof ToolProgress> {}
const ofAttempts = {
  /** How often the call was made, where that was more than once, by `retry` of the tool or `toolRetry` of the agent. */
  attempts: Schema.optionalKey(Schema.Int)
}

/** A tool call ended well. */
export const ToolCompleted = Schema.TaggedStruct("ToolCompleted", {
  ...ofTool,
  result: Schema.Json,
  durationMs: Schema.Finite,
  ...ofAttempts,
  ...byProvider
})
/** A tool call ended well. */
export interface ToolCompleted extends Schema.Schema.Type<typeof ToolCompleted> {}
/** A tool call failed; `result` is what the model sees. */
export const ToolFailed = Schema.TaggedStruct("ToolFailed", {
  ...ofTool,
  result: Schema.Json,
  durationMs: Schema.Finite,
  ...ofAttempts,
  ...byProvider
})
/** A tool call failed; `result` is what the model sees. */
export interface ToolFailed extends Schema.Schema.Type<typeof ToolFailed> {}
/** The answer did not fit the output schema; the model is asked to correct it. */
export const OutputRejected = Schema.TaggedStruct("OutputRejected", { ...inStep, issue: Schema.String })
/** The answer did not fit the output schema; the model is asked to correct it. */
export interface OutputRejected extends Schema.Schema.Type<typeof OutputRejected> {}
/**
 * A step ended. `usage` is this step's own, and `cost` what it cost in US dollars where the price of its model is known (see
 * `Prices`); `answeredBy` is set where one of several models answered, as `Fallback` has them.
 */
export const StepCompleted = Schema.TaggedStruct("StepCompleted", {
  ...inStep,
  finishReason: Response.FinishReason,
  usage: Response.Usage,
  cost: Schema.optionalKey(Schema.Finite),
  answeredBy: Schema.optionalKey(Schema.Struct({ provider: Schema.String, model: Schema.String }))
})
/** A step ended. `usage` is this step's own. */
export interface StepCompleted extends Schema.Schema.Type<typeof StepCompleted> {}
/** A router chose. Each of `routes` is taken; more than one only where the router may take several. */
export const RouteTaken = Schema.TaggedStruct("RouteTaken", {
  ...base,
  routes: Schema.Array(Schema.String),
  /** How sure the choice was, from 0 to 1; 0 where the model gave no number in that range, 1 for a function's. */
  confidence: Schema.Finite,
  /** True when nothing was chosen with enough confidence, and the fallback is taken instead. */
  fallback: Schema.Boolean
})
/** A router chose. Each of `routes` is taken; more than one only where the router may take several. */
export interface RouteTaken extends Schema.Schema.Type<typeof RouteTaken> {}
/** A draft, or what a plan gave, was judged. Rounds count from 1. */
export const RoundCompleted = Schema.TaggedStruct("RoundCompleted", {
  ...base,
  round: Schema.Int,
  accepted: Schema.Boolean,
  verdict: Schema.Json
})
/** A draft, or what a plan gave, was judged. Rounds count from 1. */
export interface RoundCompleted extends Schema.Schema.Type<typeof RoundCompleted> {}
/** A planner made a plan. Rounds count from 1. */
export const PlanMade = Schema.TaggedStruct("PlanMade", { ...base, round: Schema.Int, plan: Schema.Json })
/** A planner made a plan. Rounds count from 1. */
export interface PlanMade extends Schema.Schema.Type<typeof PlanMade> {}
/** An agent reviewed what it does (`Replan`), and goes on from this plan. */
export const PlanRevised = Schema.TaggedStruct("PlanRevised", { ...inStep, plan: Schema.Json })
/** An agent reviewed what it does (`Replan`), and goes on from this plan. */
export interface PlanRevised extends Schema.Schema.Type<typeof PlanRevised> {}
/**
 * What is sent of the conversation was made shorter (`Compaction`), before the model call of the step, or between two where a
 * server has said that it was too long. The transcript keeps everything. One for each policy that changed something.
 */
export const Compacted = Schema.TaggedStruct("Compacted", {
  ...inStep,
  /** How many tokens the request had, about. */
  before: Schema.Int,
  /** How many it has now, about. */
  after: Schema.Int,
  /** The name of the policy, such as "summarise". */
  policy: Schema.String
})
/** What is sent of the conversation was made shorter (`Compaction`). */
export interface Compacted extends Schema.Schema.Type<typeof Compacted> {}
/** An agent handed the conversation over to another. */
export const HandedOff = Schema.TaggedStruct("HandedOff", {
  ...base,
  from: Schema.String,
  to: Schema.String,
  reason: Schema.String
})
/** An agent handed the conversation over to another. */
export interface HandedOff extends Schema.Schema.Type<typeof HandedOff> {}
/** A chain ended before its last step, with the answer of gate `gate`. */
export const StoppedEarly = Schema.TaggedStruct("StoppedEarly", { ...base, gate: Schema.String })
/** A chain ended before its last step, with the answer of gate `gate`. */
export interface StoppedEarly extends Schema.Schema.Type<typeof StoppedEarly> {}
/** One of several pieces of work ended: a branch, an item of a map, a step of a plan. */
export const ItemCompleted = Schema.TaggedStruct("ItemCompleted", {
  ...base,
  /** The branch's name, the item's index, the plan step's id. */
  item: Schema.String,
  status: Schema.Literals(["completed", "failed", "interrupted"]),
  /** How many have ended, this one included. */
  done: Schema.Int,
  /** How many there are; absent while that is unknown, as for a stream of inputs. */
  total: Schema.optionalKey(Schema.Int)
})
/** One of several pieces of work ended: a branch, an item of a map, a step of a plan. */
export interface ItemCompleted extends Schema.Schema.Type<typeof ItemCompleted> {}
/** A task of a team. */
export const TeamTask = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  description: Schema.String,
  status: Schema.Literals(["open", "working", "done", "failed", "cancelled"]),
  /** The member that has it; absent while no member has. */
  assignee: Schema.optionalKey(Schema.String),
  /** The tasks that have to be done before. */
  blockedBy: Schema.Array(Schema.String),
  /** Of tasks that can begin, those with more begin first. Absent: 0. */
  priority: Schema.optionalKey(Schema.Finite),
  /** The result, or what a failed task failed with. */
  result: Schema.optionalKey(Schema.Json)
})
/** A task of a team. */
export interface TeamTask extends Schema.Schema.Type<typeof TeamTask> {}
/** A task of a team was created, assigned, begun or ended. */
export const TaskChanged = Schema.TaggedStruct("TaskChanged", { ...base, task: TeamTask })
/** A task of a team was created, assigned, begun or ended. */
export interface TaskChanged extends Schema.Schema.Type<typeof TaskChanged> {}
/** One of a team sent a message to another one, or to all. */
export const MessageSent = Schema.TaggedStruct("MessageSent", {
  ...base,
  from: Schema.String,
  to: Schema.String,
  text: Schema.String
})
/** One of a team sent a message to another one, or to all. */
export interface MessageSent extends Schema.Schema.Type<typeof MessageSent> {}
/** Files of the workspace were put back as they were at a snapshot. `changes` has at most 50 of them. */
export const FilesRestored = Schema.TaggedStruct("FilesRestored", {
  ...base,
  snapshot: Schema.String,
  changes: Schema.Array(
    Schema.Struct({ path: Schema.String, change: Schema.Literals(["added", "modified", "removed"]) })
  ),
  total: Schema.Int
})
/** Files of the workspace were put back as they were at a snapshot. `changes` has at most 50 of them. */
export interface FilesRestored extends Schema.Schema.Type<typeof FilesRestored> {}
/** The run succeeded. `output` is the result, encoded as JSON; absent for a run that handed the conversation over. */
export const RunCompleted = Schema.TaggedStruct("RunCompleted", {
  ...terminal,
  output: Schema.optionalKey(Schema.Json)
})
/** The run succeeded. `output` is the result, encoded as JSON; absent for a run that handed the conversation over. */
export interface RunCompleted extends Schema.Schema.Type<typeof RunCompleted> {}
/** The run failed. `error` is its error, encoded as JSON: at least `_tag` and `message`. */
export const RunFailed = Schema.TaggedStruct("RunFailed", {
  ...terminal,
  error: Schema.Json,
  message: Schema.String
})
/** The run failed. `error` is its error, encoded as JSON: at least `_tag` and `message`. */
export interface RunFailed extends Schema.Schema.Type<typeof RunFailed> {}
/**
 * The run was interrupted. `spent.toolCalls` says what had happened, what never started, and what is unknown;
 * `transcript` has the results of the tools that had ended.
 */
export const RunInterrupted = Schema.TaggedStruct("RunInterrupted", terminal)
/**
 * The run was interrupted. `spent.toolCalls` says what had happened, what never started, and what is unknown;
 * `transcript` has the results of the tools that had ended.
 */
export interface RunInterrupted extends Schema.Schema.Type<typeof RunInterrupted> {}

/**
 * The run is suspended: it waits for approvals, results of tools that the caller runs, or outside events. With the answers
 * and the `transcript` of a root run, `Runner.answer` makes the input of the run that goes on.
 */
export const RunSuspended = Schema.TaggedStruct("RunSuspended", { ...terminal, waitingFor: Schema.Array(WaitingFor) })
/** The run is suspended: it waits for approvals, results of tools that the caller runs, or outside events. */
export interface RunSuspended extends Schema.Schema.Type<typeof RunSuspended> {}

/** The schema of every event. Encode with it before a wire or a store; decode what comes back. */
export const RunEvent = Schema.Union([
  RunStarted,
  RunRetried,
  StepStarted,
  ToolNotice,
  InputReceived,
  StepRetried,
  TurnReplaced,
  TextDelta,
  ReasoningDelta,
  ToolParamsDelta,
  ToolCalled,
  ApprovalRequested,
  ApprovalAnswered,
  ToolProgress,
  ToolCompleted,
  ToolFailed,
  OutputRejected,
  StepCompleted,
  RouteTaken,
  RoundCompleted,
  PlanMade,
  PlanRevised,
  Compacted,
  HandedOff,
  StoppedEarly,
  ItemCompleted,
  TaskChanged,
  MessageSent,
  FilesRestored,
  RunCompleted,
  RunFailed,
  RunInterrupted,
  RunSuspended
]).annotate({ identifier: "RunEvent" })
/** Any event of a run. */
export type RunEvent =
  | RunStarted
  | RunRetried
  | StepStarted
  | ToolNotice
  | InputReceived
  | StepRetried
  | TurnReplaced
  | TextDelta
  | ReasoningDelta
  | ToolParamsDelta
  | ToolCalled
  | ApprovalRequested
  | ApprovalAnswered
  | ToolProgress
  | ToolCompleted
  | ToolFailed
  | OutputRejected
  | StepCompleted
  | RouteTaken
  | RoundCompleted
  | PlanMade
  | PlanRevised
  | Compacted
  | HandedOff
  | StoppedEarly
  | ItemCompleted
  | TaskChanged
  | MessageSent
  | FilesRestored
  | RunCompleted
  | RunFailed
  | RunInterrupted
  | RunSuspended
/** An event as JSON. */
export type Encoded = typeof RunEvent.Encoded

type DecisionEvent = RouteTaken | RoundCompleted | PlanMade | PlanRevised | HandedOff | StoppedEarly
type WithPath<E> = E extends unknown ? Omit<E, "v" | "seq" | "runId" | "at"> : never
/** A decision of a workflow: its event, without the fields that only a stream needs. */
export type Decision = WithPath<DecisionEvent>

/** True for the one event that ends a run. */
export const isTerminal = (event: RunEvent): event is Extract<RunEvent, { readonly spent: Spent }> =>
  event._tag === "RunCompleted" ||
  event._tag === "RunFailed" ||
  event._tag === "RunInterrupted" ||
  event._tag === "RunSuspended"

const encodeEvent = Schema.encodeEffect(RunEvent)
/** Encodes an event as one line of JSON (NDJSON, without the newline). It cannot fail for an event we emitted. */
export const toJsonLine = (event: RunEvent): Effect.Effect<string> =>
  Effect.map(Effect.orDie(encodeEvent(event)), (encoded) => JSON.stringify(encoded))

/** Decodes one line of NDJSON. Fails with `SchemaError` for anything but an event of this {@link version}. */
export const fromJsonLine: (line: string) => Effect.Effect<RunEvent, Schema.SchemaError> = Schema.decodeEffect(
  Schema.fromJsonString(RunEvent)
)

/**
 * The text of the root runner as it comes: the deltas of runs whose path has one name. A workflow has none of its own: `of` names
 * the member whose text is wanted, or gives its whole path. It goes on with the new text when a model call is made again or its answer
 * is replaced: who shows it must look at the events, as `StepRetried` and `TurnReplaced` say what to take back.
 *
 * @example
 * import { Stream } from "effect"
 * import type { Agent } from "troupe"
 * import { RunEvent } from "troupe"
 *
 * declare const events: Stream.Stream<RunEvent.RunEvent, Agent.Error>
 * const text: Stream.Stream<string, Agent.Error> = RunEvent.text(events)
 * const written: Stream.Stream<string, Agent.Error> = RunEvent.text(events, { of: "writer" })
 */
export const text = <E, R>(
  events: Stream.Stream<RunEvent, E, R>,
  options: { readonly of?: string | ReadonlyArray<string> | undefined } = {}
): Stream.Stream<string, E, R> => {
  assertOptions("RunEvent.text", options, knownOfText)
  const isWanted = isOf(options.of)
  return events.pipe(
    Stream.filter((event) => event._tag === "TextDelta" && isWanted(event.path)),
    Stream.map((event) => (event._tag === "TextDelta" ? event.delta : ""))
  )
}

const knownOfText: ReadonlySet<string> = new Set(["of"])

/** Whether a path is that of the root, of a member by its name, or the one given. */
const isOf = (of: string | ReadonlyArray<string> | undefined): ((path: ReadonlyArray<string>) => boolean) => {
  if (of === undefined) return (path) => path.length === 1
  if (typeof of === "string") return (path) => path.at(-1) === of
  return (path) => path.length === of.length && path.every((name, at) => name === of[at])
}

/**
 * What has come of a value while it streams: fields and items that have not come are absent, and the text that comes last
 * may not be finished. Values are as in JSON: a date is its text.
 */
export type Streamed<T> = T extends string | number | boolean | null
  ? T
  : T extends ReadonlyArray<infer Item>
    ? ReadonlyArray<Streamed<Item>>
    : T extends Date | bigint | symbol | Uint8Array | URL | ((...args: never) => unknown)
      ? Schema.Json
      : T extends object
        ? { readonly [K in keyof T]?: Streamed<T[K]> }
        : Schema.Json

/**
 * The typed output of a run as it streams: each value has all that has come so far, in the shape of `schema` encoded as
 * JSON. Everything in it fits the schema, except that fields are absent, lists are short, and the last text may not be
 * finished; checks such as a length are made on the whole output only. The last value is the whole output.
 *
 * It reads the text of the root run, so a workflow gives its output at the end. When a model call is made again, values
 * begin again. A long output comes in steps of about a sixteenth of its length, so that reading it takes time in proportion
 * to its length. Fails as the run does.
 *
 * @example
 * import { Effect, Schema, Stream } from "effect"
 * import { Agent, DemoModel, RunEvent } from "troupe"
 *
 * const Report = Schema.Struct({ title: Schema.String, sections: Schema.Array(Schema.String) })
 * const reporter = Agent.make("reporter", { output: Report })
 * const shown = RunEvent.partial(reporter.stream("title: Rome"), Report).pipe(
 *   Stream.runForEach(({ title, sections }) => Effect.log(title ?? "...", sections?.length ?? 0)),
 *   Effect.provide(DemoModel.layer)
 * )
 */
export const partial = <E, R, S extends Schema.Top>(
  events: Stream.Stream<RunEvent, E, R>,
  schema: S
): Stream.Stream<Streamed<S["Encoded"]>, E, R> =>
  Stream.suspend(() => {
    const read = partialReader(schema)
    return Stream.filter(Stream.map(events, read), (value) => value !== undefined) as Stream.Stream<
      // What the reader returns fits the schema.
      Streamed<S["Encoded"]>,
      E,
      R
    >
  })

/**
 * The items of a list in a run's typed output, each as soon as it is whole, decoded by `item`. The list is the output itself
 * or the first one in the object that it is. An item that does not fit is left out: the whole output does not fit then, and
 * the model is asked to correct it.
 *
 * It reads the text of the root run, so a workflow gives its items at the end. When a model call is made again, items begin
 * again with the first one. Takes time in proportion to the text, and keeps no item. Fails as the run does.
 *
 * @example
 * import { Effect, Schema, Stream } from "effect"
 * import { Agent, DemoModel, RunEvent } from "troupe"
 *
 * const Idea = Schema.Struct({ title: Schema.String })
 * const thinker = Agent.make("thinker", { output: Schema.Array(Idea) })
 * const shown = RunEvent.elements(thinker.stream("Three ideas"), Idea).pipe(
 *   Stream.runForEach(({ title }) => Effect.log(title)),
 *   Effect.provide(DemoModel.layer)
 * )
 */
export const elements = <E, R, A>(
  events: Stream.Stream<RunEvent, E, R>,
  item: Schema.Codec<A, unknown>
): Stream.Stream<A, E, R> => Stream.suspend(() => Stream.flattenIterable(Stream.map(events, elementsReader(item))))

/**
 * A run's events as text for people: a line for each thing that happens, and between the lines the answer of the root
 * runner as it comes. Each piece ends where the next one begins, so write them one after the other. Control characters are
 * taken out, and arguments and results of tools are left out. A new attempt begins on a line of its own.
 *
 * @example
 * import { Effect, Stream } from "effect"
 * import { Agent, DemoModel, RunEvent } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer questions." })
 * const shown = RunEvent.render(clerk.stream("What is 2 + 40?")).pipe(
 *   Stream.runForEach((text) => Effect.sync(() => process.stdout.write(text))),
 *   Effect.provide(DemoModel.layer)
 * )
 */
export const render = <E, R>(events: Stream.Stream<RunEvent, E, R>): Stream.Stream<string, E, R> =>
  Stream.suspend(() => {
    const added = rendering()
    return Stream.filter(Stream.map(events, added), (text) => text !== "")
  })

const ofClient = {
  v: Schema.Literal(version),
  /** As in the event that it was made of: it grows from event to event, with gaps. */
  seq: Schema.Int,
  at: Schema.Finite,
  /** Of a nested run, where those are exposed: its path. Absent for the root run, whose end is the end of all. */
  path: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Of a nested run: its id, which distinguishes runs with one path that are under way at once. */
  runId: Schema.optionalKey(Schema.String)
}
const ofClientTool = { ...ofClient, toolCallId: Schema.String, tool: Schema.String }
const ofClientEnd = {
  ...ofClient,
  /** Summed over the run and every run nested in it. */
  usage: Response.Usage,
  /** What that cost in US dollars; absent where the price of a part of it is not known. */
  cost: Schema.optionalKey(Schema.Finite),
  steps: Schema.Int,
  durationMs: Schema.Finite
}

/** What a suspended run waits for, as a client may see it. */
const ClientWaiting = Schema.Union([
  Schema.Struct({
    kind: Schema.Literal("approval"),
    id: Schema.String,
    toolCallId: Schema.String,
    tool: Schema.String,
    params: Schema.optionalKey(Schema.Json)
  }),
  Schema.Struct({
    kind: Schema.Literal("client-tool"),
    id: Schema.String,
    toolCallId: Schema.String,
    tool: Schema.String,
    params: Schema.Json
  }),
  Schema.Struct({ kind: Schema.Literal("event"), id: Schema.String, name: Schema.String })
])

/**
 * What may leave a server: the root run's text, the names and states of its tool calls, what it decided, what it used, and
 * how it ended. No arguments and results, reasoning, nested runs, transcripts, or messages for operators. See
 * {@link toClient}.
 */
export const Client = Schema.Union([
  /** `runId`: under which a server knows the run. `parentId`: the run that a nested one belongs to. */
  Schema.TaggedStruct("Started", { ...ofClient, runId: Schema.String, parentId: Schema.optionalKey(Schema.String) }),
  /** A piece of the answer. */
  Schema.TaggedStruct("Text", { ...ofClient, delta: Schema.String }),
  /** A piece of the model's reasoning, where that is exposed. */
  Schema.TaggedStruct("Reasoning", { ...ofClient, delta: Schema.String }),
  /** The text since the event with `seq` `discardFrom` is void. */
  Schema.TaggedStruct("Discarded", { ...ofClient, discardFrom: Schema.Int }),
  /**
   * A tool call changed its state. `waiting`: a person is asked whether it may run. `params` and `result` are there where
   * arguments and results are exposed.
   */
  Schema.TaggedStruct("Tool", {
    ...ofClientTool,
    state: Schema.Literals(["called", "waiting", "approved", "denied", "completed", "failed"]),
    params: Schema.optionalKey(Schema.Json),
    result: Schema.optionalKey(Schema.Json)
  }),
  /** A piece of a call's arguments, as JSON text, where arguments are exposed. */
  Schema.TaggedStruct("ToolParams", { ...ofClientTool, delta: Schema.String }),
  Schema.TaggedStruct("Routed", { ...ofClient, routes: Schema.Array(Schema.String) }),
  Schema.TaggedStruct("Judged", { ...ofClient, round: Schema.Int, accepted: Schema.Boolean }),
  Schema.TaggedStruct("Planned", { ...ofClient, round: Schema.Int }),
  /** What is sent of the conversation was made shorter: how many tokens it had and has, about. */
  Schema.TaggedStruct("Compacted", { ...ofClient, before: Schema.Int, after: Schema.Int, policy: Schema.String }),
  Schema.TaggedStruct("HandedOff", { ...ofClient, from: Schema.String, to: Schema.String }),
  Schema.TaggedStruct("Stopped", { ...ofClient, gate: Schema.String }),
  Schema.TaggedStruct("Item", {
    ...ofClient,
    item: Schema.String,
    status: Schema.Literals(["completed", "failed", "interrupted"]),
    done: Schema.Int,
    total: Schema.optionalKey(Schema.Int)
  }),
  /** The usage of one step, and its cost in US dollars where the price of the model is known. */
  Schema.TaggedStruct("Used", {
    ...ofClient,
    step: Schema.Int,
    usage: Response.Usage,
    cost: Schema.optionalKey(Schema.Finite)
  }),
  /** The run succeeded. `output` is the result, encoded as JSON. */
  Schema.TaggedStruct("Completed", { ...ofClientEnd, output: Schema.optionalKey(Schema.Json) }),
  /**
   * The run failed. `error` is the tag of its error, such as "ModelError"; "Error" for an error without one. `message` is
   * its message, where errors are exposed.
   */
  Schema.TaggedStruct("Failed", {
    ...ofClientEnd,
    error: Schema.String,
    /** The error without the inside of the server, where there is something to say; all of it where errors are exposed. */
    failure: Schema.optionalKey(Schema.Json),
    message: Schema.optionalKey(Schema.String)
  }),
  Schema.TaggedStruct("Interrupted", ofClientEnd),
  /** The run waits for answers. Arguments are there for a tool that the client runs, and where they are exposed. */
  Schema.TaggedStruct("Suspended", { ...ofClientEnd, waitingFor: Schema.Array(ClientWaiting) })
]).annotate({ identifier: "ClientEvent" })
/** An event that may leave a server. */
export type Client = typeof Client.Type

/** What clients may see beyond what is meant for them. `errors`: messages, which hold hints for operators. */
export const Exposed = Schema.Literals(["arguments", "results", "reasoning", "nested", "errors"])
/** What clients may see beyond what is meant for them. */
export type Exposed = typeof Exposed.Type

/**
 * What of an event may leave a server; `undefined` for an event that may not, those of nested runs among them. The names of
 * tools, routes and agents are part of it. See {@link toClientWith} to let clients see more.
 *
 * @example
 * import { Schema, Stream } from "effect"
 * import { Agent, RunEvent } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer questions." })
 * const encode = Schema.encodeSync(Schema.fromJsonString(RunEvent.Client))
 * const lines = clerk.stream("What is 2 + 40?").pipe(
 *   Stream.map(RunEvent.toClient),
 *   Stream.filter((event) => event !== undefined),
 *   Stream.map((event) => `data: ${encode(event)}\n\n`)
 * )
 */
export const toClient = (event: RunEvent): Client | undefined => clientOf(event, nothing)

const nothing: ReadonlySet<Exposed> = new Set()

/**
 * As {@link toClient}, with more for clients that may see it: arguments and results of tools, reasoning, nested runs with
 * their `path`, messages of errors.
 *
 * @example
 * import { Stream } from "effect"
 * import { Agent, RunEvent } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "Answer questions." })
 * const events = clerk.stream("What is 2 + 40?").pipe(
 *   Stream.map(RunEvent.toClientWith({ expose: ["arguments", "results"] })),
 *   Stream.filter((event) => event !== undefined)
 * )
 */
export const toClientWith = (options: {
  readonly expose?: ReadonlyArray<Exposed> | undefined
}): ((event: RunEvent) => Client | undefined) => {
  assertOptions("RunEvent.toClientWith", options, knownOfClient)
  const exposed = new Set(options.expose)
  return (event) => clientOf(event, exposed)
}

const knownOfClient: ReadonlySet<string> = new Set(["expose"])

const clientOf = (event: RunEvent, exposed: ReadonlySet<Exposed>): Client | undefined => {
  const isNested = event.path.length > 1
  if (isNested && !exposed.has("nested")) return undefined
  const { at, seq, v } = event
  const own = isNested ? { v, seq, at, path: event.path, runId: event.runId } : { v, seq, at }
  if (isTerminal(event)) return endOf(event, own, exposed)
  switch (event._tag) {
    case "RunStarted":
      return startOf(event, own)
    case "TextDelta":
      return { _tag: "Text", ...own, delta: event.delta }
    case "ReasoningDelta":
      return exposed.has("reasoning") ? { _tag: "Reasoning", ...own, delta: event.delta } : undefined
    case "ToolParamsDelta": {
      const { delta, tool, toolCallId } = event
      return exposed.has("arguments") ? { _tag: "ToolParams", ...own, toolCallId, tool, delta } : undefined
    }
    case "RunRetried":
    case "StepRetried":
    case "TurnReplaced":
      return { _tag: "Discarded", ...own, discardFrom: event.discardFrom }
    case "ToolCalled":
    case "ApprovalRequested":
    case "ApprovalAnswered":
    case "ToolCompleted":
    case "ToolFailed":
      return { _tag: "Tool", ...own, ...toolOf(event, exposed) }
    case "RouteTaken":
      return { _tag: "Routed", ...own, routes: event.routes }
    case "RoundCompleted":
      return { _tag: "Judged", ...own, round: event.round, accepted: event.accepted }
    case "PlanMade":
      return { _tag: "Planned", ...own, round: event.round }
    case "Compacted":
      return { _tag: "Compacted", ...own, before: event.before, after: event.after, policy: event.policy }
    case "HandedOff":
      return { _tag: "HandedOff", ...own, from: event.from, to: event.to }
    case "StoppedEarly":
      return { _tag: "Stopped", ...own, gate: event.gate }
    case "ItemCompleted": {
      const { done, item, status, total } = event
      return { _tag: "Item", ...own, item, status, done, ...(total === undefined ? {} : { total }) }
    }
    case "StepCompleted": {
      const { cost, step, usage } = event
      return { _tag: "Used", ...own, step, usage, ...(cost === undefined ? {} : { cost }) }
    }
    // Not for clients. A new event is not either, until it is listed above.
    default:
      return undefined
  }
}

type ClientBase = Pick<Client, "v" | "seq" | "at" | "path" | "runId">

const startOf = ({ parentId, path, runId }: RunStarted, own: ClientBase): Client => {
  const isNested = path.length > 1 && parentId !== undefined
  return { _tag: "Started", ...own, runId, ...(isNested ? { parentId } : {}) }
}

type ToolEvent = ToolCalled | ApprovalRequested | ApprovalAnswered | ToolCompleted | ToolFailed

const toolOf = (event: ToolEvent, exposed: ReadonlySet<Exposed>) => ({
  toolCallId: event.toolCallId,
  tool: event.tool,
  state: stateOf(event),
  ...("params" in event && exposed.has("arguments") ? { params: event.params } : {}),
  ...("result" in event && exposed.has("results") ? { result: event.result } : {})
})

const stateOf = (event: ToolEvent): Extract<Client, { readonly _tag: "Tool" }>["state"] => {
  switch (event._tag) {
    case "ToolCalled":
      return "called"
    case "ApprovalRequested":
      return "waiting"
    case "ApprovalAnswered":
      return event.approved ? "approved" : "denied"
    case "ToolCompleted":
      return "completed"
    case "ToolFailed":
      return "failed"
  }
}

const endOf = (
  event: Extract<RunEvent, { readonly spent: Spent }>,
  own: ClientBase,
  exposed: ReadonlySet<Exposed>
): Client => {
  const { durationMs, spent } = event
  const { cost, steps, usage } = spent
  const bill = { ...own, usage, ...(cost === undefined ? {} : { cost }), steps, durationMs }
  switch (event._tag) {
    case "RunCompleted":
      return { _tag: "Completed", ...bill, ...(event.output === undefined ? {} : { output: event.output }) }
    case "RunFailed": {
      const isExposed = exposed.has("errors")
      const failure = clientError(event.error, isExposed)
      return {
        _tag: "Failed",
        ...bill,
        error: tagOf(event.error) ?? "Error",
        ...(failure === undefined ? {} : { failure }),
        ...(isExposed ? { message: event.message } : {})
      }
    }
    case "RunInterrupted":
      return { _tag: "Interrupted", ...bill }
    case "RunSuspended":
      return {
        _tag: "Suspended",
        ...bill,
        waitingFor: event.waitingFor.map((waiting) => waitingForClient(waiting, exposed))
      }
  }
}

/** @internal What is waited for, as clients see it. */
export const waitingForClient = (
  waiting: WaitingFor,
  exposed: { readonly has: (name: Exposed) => boolean }
): typeof ClientWaiting.Type => {
  const { id, kind } = waiting
  if (kind === "event") return { kind, id, name: waiting.name }
  const { params, tool, toolCallId } = waiting
  if (kind === "client-tool") return { kind, id, toolCallId, tool, params }
  return { kind, id, toolCallId, tool, ...(exposed.has("arguments") ? { params } : {}) }
}
