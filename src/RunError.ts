/**
 * The errors of runs. Each error is tagged and schema-backed. Its message names the problem and the next step, and it
 * carries the bill of the run. Those that an agent raises while it works have the conversation up to the failure as `transcript`,
 * from which a next run goes on; those of a program that is wired wrongly, and of an input that does not fit, have none.
 */
import * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import { messageOf } from "./internal/message.ts"
import { limitText } from "./internal/limitText.ts"
import { asClause, stripControls } from "./internal/text.ts"
import { noteOf, shouldRetry } from "./internal/modelRetry.ts"
import { Spent } from "./RunEvent.ts"
import { describe as describeWaiting, WaitingFor } from "./services/Waiting.ts"

export { InvalidDefinition } from "./internal/invalidDefinition.ts"

const Path = Schema.Array(Schema.String)
const at = (path: ReadonlyArray<string>): string => `"${path.join(" > ")}"`

/** What an agent had come to when it failed. */
const soFar = {
  spent: Spent,
  /** The conversation up to the failure: give it to the next run to go on from there. */
  transcript: Prompt.Prompt
}

/** The input is not a conversation that a model accepts: an unknown part, a result without its call. */
export class InvalidTranscript extends Schema.TaggedError<InvalidTranscript>()("InvalidTranscript", {
  path: Path,
  problem: Schema.String
}) {
  override get message(): string {
    return `${at(this.path)} was given an invalid transcript: ${asClause(this.problem)}. Give it a text, a Prompt, or the transcript of an earlier result as it was.`
  }
}

/** A model call failed, and retries did not help. `reason` is the provider's error. */
export class ModelError extends Schema.TaggedError<ModelError>()("ModelError", {
  path: Path,
  step: Schema.Int,
  /** How often the call was made. */
  attempts: Schema.Int,
  reason: AiError.AiError,
  ...soFar
}) {
  override get message(): string {
    const tries = this.attempts > 1 ? ` (tried ${this.attempts} times)` : ""
    const advice = remedy(this.reason)
    return `${at(this.path)} step ${this.step}: the model call failed${tries}: ${oneLine(this.reason)}.${advice === "" ? "" : ` ${advice}.`}`
  }
  /** True when the same request may succeed later. */
  get isRetryable(): boolean {
    return shouldRetry(this.reason) ?? this.reason.isRetryable
  }
}

/** @internal The problem in one line, in the provider's words; advice follows in further paragraphs. */
export const oneLine = ({ reason }: AiError.AiError): string => {
  const lines = stripControls(detailOf(reason)).split("\n")
  const first = (lines.find((line) => line.trim() !== "") ?? "").trim().replace(/\.+$/, "")
  return first === "" ? reason._tag : `${first} (${reason._tag})`
}

/** Two errors of effect/ai have no field for the provider's words, which `OpenAi` notes in their metadata. */
const detailOf = (reason: AiError.AiErrorReason): string => {
  if ("description" in reason && typeof reason.description === "string") return reason.description
  const words = noteOf(reason, "description")
  if (typeof words !== "string") return reason.message
  const [what, ...more] = reason.message.split(". ")
  const when = more.filter((part) => /^(Retry after (?!0$)|Resets at )/.test(part))
  return [`${what}: ${words.trim().replace(/\.+$/, "")}`, ...when].join(". ")
}

/**
 * The next step. A Layer writes its own advice as the last paragraph of a description, which comes first. Empty for an
 * unknown cause.
 */
const remedy = ({ reason }: AiError.AiError): string => {
  const own = "description" in reason && typeof reason.description === "string" ? reason.description.split("\n\n") : []
  if (own.length > 1)
    return stripControls(own.at(-1) ?? "")
      .replace(/\s+/g, " ")
      .trim()
      .replace(/\.+$/, "")
      .slice(0, 600)
  switch (reason._tag) {
    case "AuthenticationError":
      return "Check the API key and that it may use this model"
    case "QuotaExhaustedError":
      return "Raise the account's quota or use another key"
    case "RateLimitError":
      return "Lower the concurrency or wait before the next run"
    case "NetworkError":
      return "Check that the server is up and its address is right"
    case "InternalProviderError":
      return "The fault is the provider's: try again later"
    default:
      return ""
  }
}

/** The run took `maxSteps` steps, or was to end, and the model still asked for tools. */
export class MaxStepsExceeded extends Schema.TaggedError<MaxStepsExceeded>()("MaxStepsExceeded", {
  path: Path,
  maxSteps: Schema.Int,
  /** True where the model was asked for an answer without tools, by `onMaxSteps` or after `stopWhen`, and went on calling them. */
  wasAsked: Schema.optionalKey(Schema.Boolean),
  ...soFar
}) {
  override get message(): string {
    if (this.wasAsked === true) {
      return `${at(this.path)} was asked for its answer after ${this.spent.steps} steps, and its model went on calling tools. Have the instructions say when to answer, or use another model.`
    }
    return `${at(this.path)} did not finish in ${this.maxSteps} steps. Raise maxSteps, or set onMaxSteps: "answer" to have it answer with what it has.`
  }
}

/** The model asked for more tool calls than `maxToolCalls` allows, and `onMaxToolCalls` is `"fail"`. None of the step's calls was made. */
export class MaxToolCallsExceeded extends Schema.TaggedError<MaxToolCallsExceeded>()("MaxToolCallsExceeded", {
  path: Path,
  step: Schema.Int,
  /** Which limit: that of one step, or that of the whole run. */
  per: Schema.Literals(["step", "run"]),
  limit: Schema.Int,
  /** How many calls there would have been, by the count of that limit. */
  asked: Schema.Int,
  ...soFar
}) {
  override get message(): string {
    const option = this.per === "step" ? "maxToolCallsPerStep" : "maxToolCalls"
    return `${at(this.path)} step ${this.step}: the model asked for ${this.asked} tool calls in one ${this.per}, and ${this.limit} are allowed. Raise ${option}, or set onMaxToolCalls: "return" to have the model see that the calls beyond the limit were not made.`
  }
}

/** The answer did not fit the output schema, also after the repair rounds. */
export class InvalidOutput extends Schema.TaggedError<InvalidOutput>()("InvalidOutput", {
  path: Path,
  /** The last answer as the model gave it. */
  text: Schema.String,
  finishReason: Response.FinishReason,
  /** Why it does not fit. */
  issue: Schema.String,
  /** How many answers the model gave. */
  attempts: Schema.Int,
  ...soFar
}) {
  override get message(): string {
    const cut = this.finishReason === "length" ? " The answer was cut off at the token limit: raise it." : ""
    return `${at(this.path)} gave an answer that does not fit its output schema (${this.attempts} tried): ${asClause(this.issue)}.${cut} See \`text\` for the answer; simplify the schema or raise outputRepairs.`
  }
}

/** The answer was cut off at the model's token limit. `spent.text` and `text` hold what came. */
export class OutputTruncated extends Schema.TaggedError<OutputTruncated>()("OutputTruncated", {
  path: Path,
  text: Schema.String,
  ...soFar
}) {
  override get message(): string {
    return `${at(this.path)} was cut off at the model's token limit after ${this.text.length} characters. Raise the limit, or set onLength: "accept" to take the partial answer.`
  }
}

/** The model refused, or a content filter stopped it. `text` is its answer. */
export class ModelRefused extends Schema.TaggedError<ModelRefused>()("ModelRefused", {
  path: Path,
  text: Schema.String,
  ...soFar
}) {
  override get message(): string {
    return `${at(this.path)}: the model refused to answer${this.text === "" ? "" : `: ${asClause(this.text)}`}. Change the input or the instructions.`
  }
}

/** The model returned neither text nor a tool call, twice. */
export class EmptyTurn extends Schema.TaggedError<EmptyTurn>()("EmptyTurn", {
  path: Path,
  step: Schema.Int,
  finishReason: Response.FinishReason,
  ...soFar
}) {
  override get message(): string {
    return `${at(this.path)} step ${this.step}: the model gave neither text nor a tool call, twice (finish reason "${this.finishReason}"). Check the instructions and the model.`
  }
}

/** One failed tool call of a {@link ToolError}. */
export const ToolFailure = Schema.Struct({
  tool: Schema.String,
  toolCallId: Schema.String,
  /** The tool's failure, encoded by its failure schema. */
  failure: Schema.Json,
  /** The error of the tool. */
  cause: Schema.Defect()
})
/** One failed tool call of a {@link ToolError}. */
export type ToolFailure = typeof ToolFailure.Type

/** A tool with `failureMode: "error"` failed. Its siblings were interrupted; every failure is listed. */
export class ToolError extends Schema.TaggedError<ToolError>()("ToolError", {
  path: Path,
  step: Schema.Int,
  /** Every failure of the step, the first one first, those of interrupted siblings included. */
  failures: Schema.NonEmptyArray(ToolFailure),
  /** The ids of the calls of the same step that were interrupted or never started. */
  interrupted: Schema.Array(Schema.String),
  ...soFar
}) {
  override get message(): string {
    const failed = this.failures.map((f) => `"${f.tool}" (${f.toolCallId}): ${asClause(describe(f))}`).join("; ")
    const others = this.interrupted.length === 0 ? "" : ` Interrupted: ${this.interrupted.join(", ")}.`
    return `${at(this.path)} step ${this.step}: a tool failed: ${failed}.${others} Give the tool failureMode: "return" if the model should see the failure and go on.`
  }
}

const describe = (failure: ToolFailure): string =>
  failure.cause instanceof Error
    ? failure.cause.message
    : typeof failure.failure === "string"
      ? failure.failure
      : JSON.stringify(failure.failure)

/** Why a suspended run cannot go on: the runner around what waits whose state would be lost. */
export const Blocked = Schema.Struct({ path: Path, reason: Schema.String })
/** Why a suspended run cannot go on: the runner around what waits whose state would be lost. */
export interface Blocked extends Schema.Schema.Type<typeof Blocked> {}

/**
 * The run is suspended: it waits for approvals, for results of tools that the caller runs, or for outside events. It has
 * not failed. The `transcript` is plain JSON and holds all that was done. With the answers, `Runner.answer` makes of it the
 * input that goes on, also in another process, at the members that wait; what was done is not done again.
 */
export class RunSuspended extends Schema.TaggedError<RunSuspended>()("RunSuspended", {
  /** The runner that waits: an agent, or a workflow with members that wait. */
  path: Path,
  /** All that it waits for, also in the runs nested in it. */
  waitingFor: Schema.NonEmptyArray(WaitingFor),
  /** Set where the run cannot go on. */
  blockedBy: Schema.optionalKey(Blocked),
  spent: Spent,
  /** The conversation so far, with notes on what waits. */
  transcript: Prompt.Prompt
}) {
  override get message(): string {
    const what = `${at(this.path)} waits for ${this.waitingFor.map(describeWaiting).join(", ")}.`
    if (this.blockedBy !== undefined) {
      const { path, reason } = this.blockedBy
      return `${what} ${at(path)} cannot be resumed in its middle: ${asClause(reason)}. Answer approvals while it runs with Approvals.layer, or resume the member that waits by itself.`
    }
    return `${what} Go on with run(Runner.answer(transcript, { [id]: answer })), where transcript is that of this RunSuspended. Approvals.layer answers approvals while the run goes on.`
  }
}

/**
 * An answer in the input does not count: it is not signed, nothing waits for it, it does not fit what was waited for, or the
 * call or its tool is not what was approved. No call of the step was made.
 */
export class InvalidApproval extends Schema.TaggedError<InvalidApproval>()("InvalidApproval", {
  path: Path,
  /** The id of what was waited for. */
  approvalId: Schema.String,
  /** The tool that was waited for; absent for an event, and for an answer to nothing that waits. */
  tool: Schema.optionalKey(Schema.String),
  /**
   * - `unsigned`: `Approvals.signing` is provided, and the request or its answer has no signature;
   * - `tampered`: a signature does not fit what it stands for;
   * - `changed`: the tool or the arguments are not those that were approved;
   * - `missing`: the tool that was approved is not there;
   * - `ambiguous`: two requests have one id or one call, or one request has two answers;
   * - `unknown`: nothing in the transcript, or in the session, waits for an answer with this id;
   * - `invalid`: the answer is not a decision, or not what the tool or the event gives.
   */
  reason: Schema.Literals(["unsigned", "tampered", "changed", "missing", "ambiguous", "unknown", "invalid"]),
  problem: Schema.String
}) {
  override get message(): string {
    const where = this.tool === undefined ? "" : `${at(this.path)} did not go on with "${this.tool}": `
    const what = `${where}the answer to ${this.approvalId} does not count, because ${asClause(this.problem)}.`
    if (this.reason === "unknown") return `${what} Runner.pending lists what a transcript waits for.`
    if (this.reason === "invalid") return `${what} Answer it again, in the transcript without this answer.`
    return `${what} Ask for it again: run the transcript of the suspended run without its answer, or start the task again.`
  }
}

/** `Step.signal` waits for what is sent to a durable run, and this run is not one. */
export class NotDurable extends Schema.TaggedError<NotDurable>()("NotDurable", {
  /** The name of the signal. */
  signal: Schema.String
}) {
  override get message(): string {
    return `nothing can send the signal "${this.signal}" to this run, which is not durable. Run it as Durable.make(runner, { name, key }), and outside of tools and of other steps.`
  }
}

/** The transcript cannot be resumed by this runner: another one waits in it. No call was made. */
export class CannotResume extends Schema.TaggedError<CannotResume>()("CannotResume", {
  /** The runner that was given the transcript. */
  path: Path,
  /** The agent that waits in it. */
  waiting: Path,
  problem: Schema.String
}) {
  override get message(): string {
    const isOther = this.waiting[0] !== this.path[0]
    const whose = isOther ? `"${this.waiting[0] ?? ""}", whose run it is` : `"${this.waiting.at(-1) ?? ""}" itself`
    return `${at(this.path)} cannot go on with this transcript, in which ${at(this.waiting)} waits: ${asClause(this.problem)}. Give it to ${whose}, or provide Approvals.layer, which answers while it runs.`
  }
}

/** What a run had come to when it was interrupted. */
const interrupted = {
  spent: Spent,
  /**
   * Of an agent the conversation up to the interruption, with the results of the tools that had ended: give it to the next run to
   * go on from there. Of another runner what its members had said, as `Result` has it.
   */
  transcript: Prompt.Prompt,
  /** The failures during the interruption. */
  failures: Schema.optionalKey(Schema.Array(Schema.String))
}

const meanwhile = (failures: ReadonlyArray<string> | undefined): string =>
  failures === undefined ? "" : ` Meanwhile: ${failures.map(asClause).join("; ")}.`

/** The run took longer than `Runner.withTimeout` allows. Everything it had started was interrupted. */
export class RunTimedOut extends Schema.TaggedError<RunTimedOut>()("RunTimedOut", {
  path: Path,
  durationMs: Schema.Finite,
  ...interrupted
}) {
  override get message(): string {
    const late = meanwhile(this.failures)
    return `${at(this.path)} did not end within ${this.durationMs} ms and was interrupted.${late} Raise the timeout or give it less to do.`
  }
}

/**
 * The run used more than `Runner.withBudget` allows, itself or in a run nested in it. Everything it had started was
 * interrupted.
 */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  /** The runner that has the budget. */
  path: Path,
  limit: Schema.Literals(["tokens", "cost", "steps", "toolCalls", "time"]),
  /** What the budget allows of it: US dollars for `cost`, milliseconds for `time`. */
  allowed: Schema.Finite,
  /** What had been used of it, in the same unit. */
  used: Schema.Finite,
  /** The run that went beyond it, or would have. */
  by: Path,
  ...interrupted,
  /** What it had cost in US dollars, where the budget limits that. */
  cost: Schema.optionalKey(Schema.Finite),
  /** True where its model was asked for an answer without tools, by `onExceeded: "answer"`, and went on calling them. */
  wasAsked: Schema.optionalKey(Schema.Boolean),
  /** The model whose price is not known, where that is why. */
  unpriced: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const late = meanwhile(this.failures)
    const limit = limitText(this.limit, this.allowed)
    if (this.unpriced !== undefined) {
      return `${at(this.path)} has a budget of ${limit}, and the price of the model "${this.unpriced}" is not known, so ${at(this.by)} did not call it.${late} Give its price: Prices.layer({ "${this.unpriced}": { input, output } }), in US dollars for a million tokens, or limit tokens in place of cost.`
    }
    const isPartLeft = this.limit === "toolCalls" && this.used < this.allowed
    const who = isPartLeft
      ? `a step of ${at(this.by)} asked for more than is left, so none of its calls was made`
      : this.by.length > this.path.length
        ? `${at(this.by)} used it up`
        : "it is used up"
    const used = this.limit === "time" ? "" : ` (used: ${limitText(this.limit, this.used)})`
    if (this.wasAsked === true) {
      return `${at(this.path)} has a budget of ${limit}, and ${who}${used}. It was asked for its answer, and its model went on calling tools.${late} Have the instructions say when to answer, or use another model.`
    }
    return `${at(this.path)} has a budget of ${limit}, and ${who}${used}. What was under way was interrupted.${late} Raise the budget, give it less to do, or set onExceeded: "answer" to have an agent answer with what it has.`
  }
}

/** A tool that needs the event loop was called under `Effect.runSync`, where a promise cannot be waited for. */
export class AsyncToolError extends Schema.TaggedError<AsyncToolError>()("AsyncToolError", {
  path: Path,
  step: Schema.Int,
  tool: Schema.String,
  toolCallId: Schema.String,
  ...soFar
}) {
  override get message(): string {
    return `${at(this.path)} step ${this.step}: tool "${this.tool}" (${this.toolCallId}) waits for a promise, which Effect.runSync cannot do. Run the program with Effect.runPromise, or provide SyncEdge.layer and put the function in a module of its own with WorkerTool.fromModule, or make the tool an Effect that does its I/O through SyncEdge.layerHttpClient and SyncEdge.layerFileSystem.`
  }
}

/**
 * A middleware threw or died, returned what its place does not take, or failed although it is given by `Middleware.layer`,
 * whose failures no agent's type knows.
 */
export class MiddlewareError extends Schema.TaggedError<MiddlewareError>()("MiddlewareError", {
  /** The agent that it is around. */
  path: Path,
  /** The name of the middleware. */
  middleware: Schema.String,
  /** What it threw or failed with. */
  cause: Schema.Defect(),
  /** The conversation up to the failure: give it to the next run to go on from there. */
  transcript: Prompt.Prompt
}) {
  override get message(): string {
    return `${at(this.path)}: middleware "${this.middleware}" failed: ${asClause(messageOf(this.cause))}.`
  }
}

/** A guardrail refused what the model was asked, what it answered, a tool call, or a tool's result. */
export class GuardrailTripped extends Schema.TaggedError<GuardrailTripped>()("GuardrailTripped", {
  /** The agent that it guards. */
  path: Path,
  /** The name of the guardrail. */
  guardrail: Schema.String,
  /** What it checked. */
  checked: Schema.Literals(["input", "output", "toolInput", "toolOutput"]),
  /** Why, as the check said. */
  reason: Schema.String,
  /**
   * The conversation up to the failure: give it to the next run to go on from there. An answer that was refused is not part of it,
   * and of a result that was refused it says only that.
   */
  transcript: Prompt.Prompt
}) {
  override get message(): string {
    return `${at(this.path)}: guardrail "${this.guardrail}" refused ${whatOf[this.checked]}: ${asClause(this.reason)}. Change the input, or have the check return Guardrail.replace("...") to go on with another text.`
  }
}

const whatOf = {
  input: "the input",
  output: "the model's answer",
  toolInput: "a tool call",
  toolOutput: "a tool's result"
} as const

/** A store of sessions, memory or traces could not be used, or holds what this version cannot read. Nothing was changed. */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  store: Schema.Literals(["sessions", "memory", "traces"]),
  /**
   * - `unreachable`: the database failed, is locked or is gone;
   * - `unreadable`: a record is torn or was written by another program;
   * - `newer`: a newer version of Troupe wrote it;
   * - `invalid`: an id, a key or a namespace is one that databases do not keep.
   */
  reason: Schema.Literals(["unreachable", "unreadable", "newer", "invalid"]),
  /** The session, namespace or run that it is about. */
  subject: Schema.optionalKey(Schema.String),
  problem: Schema.String
}) {
  override get message(): string {
    const about = this.subject === undefined ? "" : ` (${stripControls(JSON.stringify(this.subject))})`
    return `the store of ${this.store}${about}: ${asClause(this.problem)}. ${storeRemedies[this.reason]}.`
  }
}

const storeRemedies = {
  unreachable:
    "Check that the database is up, that its address is right, that it may be written and that its disk is not full",
  unreadable: "Restore it from a backup, or remove it from the store",
  newer: "Update troupe, or use another database",
  invalid: "Use a shorter text of whole characters, without NUL"
}

/** A turn of a session, or a change to it, did not happen because of what another one does or has done. */
export class SessionConflict extends Schema.TaggedError<SessionConflict>()("SessionConflict", {
  session: Schema.String,
  /**
   * - `busy`: another turn of the session is under way, and `whenBusy` is `"reject"`, or it is about to be renamed;
   * - `interrupted`: another turn took its place, by `whenBusy: "interrupt"`;
   * - `lost`: the session was removed during the turn, or given to another process, because its lease was not renewed in time;
   * - `changed`: the session has other records than expected;
   * - `nested`: the turn was started inside of a turn of the same session, which would wait for itself;
   * - `exists`, `missing`: the session is there already, or is not there.
   */
  reason: Schema.Literals(["busy", "interrupted", "lost", "changed", "nested", "exists", "missing"]),
  /** The number of the last record that the session was expected to have. */
  expectedSeq: Schema.Int
}) {
  override get message(): string {
    return `session ${stripControls(JSON.stringify(this.session))} ${conflicts[this.reason]}.`
  }
}

/** A session waits for answers to its last turn, which is suspended: a new turn cannot begin before it has ended. */
export class SessionWaiting extends Schema.TaggedError<SessionWaiting>()("SessionWaiting", {
  session: Schema.String,
  /** What its last turn waits for. */
  waitingFor: Schema.Array(WaitingFor)
}) {
  override get message(): string {
    const what = this.waitingFor.map(describeWaiting).join(", ")
    return `session ${stripControls(JSON.stringify(this.session))} waits for ${what}. Answer with Session.resume(chat, { [id]: answer }), or give the turn up with SessionStore.giveUp.`
  }
}

const conflicts = {
  busy: 'has a turn under way. Wait for it, or leave out whenBusy: "reject" to be queued',
  interrupted: 'has a new turn, which took the place of this one by whenBusy: "interrupt"',
  lost: "was removed meanwhile, or given to another process because its lease was not renewed in time, so this turn was not kept. Where it was not removed, do not block the event loop during a turn, or raise SessionStore.Lease",
  changed: "was changed by another turn, so this one was not kept. Read the session again, and take the turn again",
  nested:
    "was run inside of its own turn, which would wait for itself. Use another session, or the runner without a session",
  exists: "exists already. Use another id, or remove it first",
  missing: "does not exist"
}

/** An agent made one tool call over and over, with the same result each time, and did not stop when it was said so. */
export class LoopDetected extends Schema.TaggedError<LoopDetected>()("LoopDetected", {
  path: Path,
  step: Schema.Int,
  tool: Schema.String,
  /** How often it was asked for with these arguments. */
  count: Schema.Int,
  /** The conversation up to the failure: give it to the next run to go on from there. */
  transcript: Prompt.Prompt
}) {
  override get message(): string {
    return `${at(this.path)} step ${this.step}: the model called "${this.tool}" ${this.count} times with the same arguments and the same result. Change the instructions or the tool, or name the tool in \`except\` of LoopGuard.make if its calls are meant to repeat.`
  }
}

/** The judge of a goal was not content with any round. */
export class GoalNotReached extends Schema.TaggedError<GoalNotReached>()("GoalNotReached", {
  path: Path,
  /** How many rounds there were. */
  rounds: Schema.Int,
  /** What the judge missed in the last one; empty where it said only that the goal is not reached. */
  missing: Schema.String,
  /** The output of the last round, as JSON. */
  output: Schema.Json,
  /** The conversation of all rounds: give it to the next run to go on from there. */
  transcript: Prompt.Prompt
}) {
  override get message(): string {
    // A judge that only says whether it is reached says nothing of what is missing.
    const missing = this.missing.trim() === "" ? "" : `; at last was missing: ${asClause(this.missing)}`
    const rounds = this.rounds === 1 ? "1 round" : `${this.rounds} rounds`
    return `${at(this.path)} did not reach its goal in ${rounds}${missing}. Raise maxRounds, or set onMaxRounds: "answer" to take the last answer.`
  }
}

/** No model was provided. In a type-checked program this is a compile error. */
export class MissingModel extends Schema.TaggedError<MissingModel>()("MissingModel", { path: Path }) {
  override get message(): string {
    return `${at(this.path)} has no model: the context has no LanguageModel. Provide one around the run with Effect.provide: OpenAi.layer({ model }) for OpenAI and compatible servers, TestModel.layer([...]) in tests, or any LanguageModel Layer of effect/ai.`
  }
}

/** A model cannot be had: its name is not known, its package is not installed, or its file cannot be read. */
export class ModelUnavailable extends Schema.TaggedError<ModelUnavailable>()("ModelUnavailable", {
  /** The name that was asked for, such as `anthropic:claude-sonnet-4-5`. */
  model: Schema.String,
  problem: Schema.String,
  /** The line to type where a package is missing, such as `npm install @ai-sdk/anthropic`. */
  install: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const install = this.install === undefined ? "" : `. Install it: ${this.install}`
    return `the model ${JSON.stringify(this.model)} cannot be had: ${asClause(this.problem)}${install}`
  }
}

/** A file that describes an agent is not valid. */
export class ConfigInvalid extends Schema.TaggedError<ConfigInvalid>()("ConfigInvalid", {
  /** The file, or what else the text comes from. */
  file: Schema.String,
  /** Counted from 1. */
  line: Schema.optionalKey(Schema.Int),
  column: Schema.optionalKey(Schema.Int),
  problem: Schema.String,
  /** The next step. */
  remedy: Schema.String
}) {
  override get message(): string {
    const place = this.line === undefined ? this.file : `${this.file}:${this.line}:${this.column ?? 1}`
    return `${place}: ${asClause(this.problem)}. ${asClause(this.remedy)}.`
  }
}

/** An agent that needs the network was run by `Effect.runSync` without `SyncEdge.layer`. */
export class MissingSyncEdge extends Schema.TaggedError<MissingSyncEdge>()("MissingSyncEdge", {
  path: Path,
  model: Schema.String
}) {
  override get message(): string {
    return `${at(this.path)} was run by Effect.runSync, and its model "${this.model}" needs the network. Provide SyncEdge.layer, or run the program with Effect.runPromise.`
  }
}

/** `Effect.runSync` was about to block a thread that others need. */
export class NestedSyncEdge extends Schema.TaggedError<NestedSyncEdge>()("NestedSyncEdge", {
  /**
   * `fiber`: it was called inside of a running fiber. `server`: the process is serving connections. `depth`: too many
   * runs were nested in each other.
   */
  situation: Schema.Literals(["fiber", "server", "depth"])
}) {
  override get message(): string {
    if (this.situation === "depth") {
      return "Effect.runSync was called inside of a hundred others, each of which blocks the one around it. Use yield* instead."
    }
    const where = this.situation === "fiber" ? "inside of a running fiber" : "in a process that is serving connections"
    const instead = this.situation === "fiber" ? "Use yield* instead" : "Use Effect.runPromise instead"
    return `Effect.runSync was called ${where}, and would block everything else in this thread. ${instead}, or insist with SyncEdge.layerNested.`
  }
}

/** Node's permission model forbids the worker threads that I/O under `Effect.runSync` and worker tools need. */
export class ThreadsForbidden extends Schema.TaggedError<ThreadsForbidden>()("ThreadsForbidden", {}) {
  override get message(): string {
    return "Node was started with --permission, which forbids the worker thread that this needs. Add --allow-worker. A model that is run with Effect.runPromise needs no thread."
  }
}

/** Nothing can make progress under `Effect.runSync`: fibers wait for something outside of Effect. */
export class StuckSyncEdge extends Schema.TaggedError<StuckSyncEdge>()("StuckSyncEdge", {
  /** The fibers that wait, by run, tool call and span. */
  awaited: Schema.Array(Schema.String),
  /** `SyncEdge.layer` was provided next to Layers that wait, and not around them. */
  late: Schema.optionalKey(Schema.Boolean)
}) {
  override get message(): string {
    if (this.late === true) {
      return "Effect.runSync cannot go on: SyncEdge.layer was provided alongside other Layers, and one of them waits outside of it. Provide SyncEdge.layer around everything else: Effect.provide(program, Layer.provideMerge(layers, SyncEdge.layer))."
    }
    return `Effect.runSync cannot go on: ${this.awaited.join(", ") || "a fiber"} waits for a promise, a callback or an event that only Node's event loop can bring, or for a signal that never comes. Run the program with Effect.runPromise, or do its I/O through SyncEdge.layerHttpClient and SyncEdge.layerFileSystem.`
  }
}

/**
 * The durable engine refuses a call, or a durable run ended without an outcome. Its `reason`:
 *
 * - `definition-changed`: the run was started with another definition of this name, and has not ended.
 * - `key-conflict`: the key was used with another input.
 * - `unknown-run`: the key has no run, or its run does not wait for what was given.
 * - `given-up`: the outcome of a step is not known, and it was given up.
 * - `engine`: the engine cannot do its part: its database is out of reach, a package is missing, a value cannot be kept.
 */
export class DurableError extends Schema.TaggedError<DurableError>()("DurableError", {
  reason: Schema.Literals(["definition-changed", "key-conflict", "unknown-run", "given-up", "engine"]),
  /** The key of the run; empty where the call was for no run. */
  key: Schema.String,
  problem: Schema.String,
  /** The next step. */
  remedy: Schema.String
}) {
  override get message(): string {
    const which = this.key === "" ? "durable runs" : `the durable run "${this.key}"`
    return `${which}: ${asClause(this.problem)}. ${this.remedy}.`
  }
}

/**
 * A step of a durable run was begun, and its outcome is not known: the process that made it is gone. The step may have
 * happened. The run waits for an answer, see `Durable.answer`.
 */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>()("OutcomeUnknown", {
  /** The name of the durable definition. */
  run: Schema.String,
  /** The key of the run. */
  key: Schema.String,
  /** The key of the step, for the answer. */
  step: Schema.String,
  /** The name of the tool or effect. */
  name: Schema.String
}) {
  override get message(): string {
    return `the durable run "${this.key}" of "${this.run}": "${this.name}" was begun, and its outcome is not known. Find out whether it happened, and answer with Durable.answer.`
  }
}
