/**
 * Guardrails: checks of what a model is asked, what it answers, and what tools are called with and return. A check passes, trips
 * (the run fails with `GuardrailTripped`), or gives a text in the place of what it has checked.
 *
 * They are middleware: give them to an agent with `middleware`, or to every agent of a program with `Middleware.layer`.
 */
import { assertOptions, invalid, kindOf, namesOf } from "../internal/definition.ts"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as Middleware from "../Middleware.ts"
import { GuardrailTripped } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import * as RunScoped from "./internal/runScoped.ts"
import { isOfLoop, userText } from "../internal/input.ts"
import * as Notes from "../internal/notes.ts"
import { CurrentState } from "../internal/runState.ts"

/** What a check says. As a schema it is the `output` of an agent that checks. */
export const Verdict = Schema.Union([
  Schema.TaggedStruct("Pass", {}),
  Schema.TaggedStruct("Trip", { reason: Schema.String }),
  Schema.TaggedStruct("Replace", { with: Schema.String })
])
/** What a check says. */
export type Verdict = typeof Verdict.Type

/** A check: a function, or a runner whose run is nested in the run that is guarded. */
export type Check<A, E, R> = ((value: A) => Effect.Effect<Verdict, E, R>) | Runner.Runner<A, Verdict, E, R>

/** A guardrail. `E` and `R` are those of its check. */
export type Guard<E, R> = Middleware.Middleware<E | GuardrailTripped, R>

/** Lets what was checked through. */
export const pass: Verdict = { _tag: "Pass" }

/** Fails the run with `GuardrailTripped`. */
export const trip = (reason: string): Verdict => ({ _tag: "Trip", reason })

/** Puts a text in the place of what was checked. */
export const replace = (text: string): Verdict => ({ _tag: "Replace", with: text })

const run = <A, E, R>(check: Check<A, E, R>, value: A): Effect.Effect<Verdict, E, R> =>
  Effect.suspend(() => (Runner.isRunner(check) ? check.run(value) : check(value)))

/** Throws unless `check` is a function or a runner, and `options` has no other fields than `known`. */
const assertCheck = (
  name: string,
  check: unknown,
  options: object = {},
  known: ReadonlySet<string> = new Set()
): void => {
  const subject = `guardrail "${name}"`
  assertOptions(subject, options, known)
  if (typeof check === "function" || Runner.isRunner(check)) return
  throw invalid(
    subject,
    `its check is ${kindOf(check)}, not a function or a runner`,
    "Give it a function that returns an Effect of a verdict, or a runner whose output is a verdict"
  )
}

const holding = namesOf<InputOptions & OutputOptions>({ hold: true })

type Checked = GuardrailTripped["checked"]

/** What comes of a verdict: a text in the place of what was checked, `undefined` to go on with it, or the failure. */
const settle = (
  guardrail: string,
  checked: Checked,
  { path }: Pick<Middleware.ModelRequest, "path">,
  verdict: Verdict
): Effect.Effect<string | undefined, GuardrailTripped> => {
  switch (verdict._tag) {
    case "Pass":
      return Effect.succeed(undefined)
    case "Replace":
      return Effect.succeed(verdict.with)
    case "Trip":
      // The agent adds the conversation on the way out.
      return Effect.fail(
        new GuardrailTripped({ path, guardrail, checked, reason: verdict.reason, transcript: Prompt.empty })
      )
  }
}

/** What the users' messages of a run have come to, in all attempts at it. */
interface Inputs {
  isBegun: boolean
  /** The conversation that the run began with, until it is checked. */
  given: Prompt.Prompt | undefined
  readonly seen: WeakSet<Prompt.Message>
  /** The texts in the place of messages. */
  readonly replaced: Map<Prompt.Message, Prompt.UserMessage>
}

/** Options of {@link input}. */
export interface InputOptions {
  /** True: the model is called when the check has passed. Default false: the check runs alongside the model call. */
  readonly hold?: boolean | undefined
}

/**
 * Checks the conversation that a run begins with, and again when the user says more while it goes on. The agent's own
 * instructions are not part of what is checked.
 *
 * The check runs alongside the model call, so it takes no time of its own; no tool is called before it has passed. A trip interrupts
 * the model call, on the wire too. A text in place of the input is sent as the user's last message, in this step and those that
 * follow. What was streamed before a trip or such a text is void (`TurnReplaced`). The transcript keeps what the user said, and notes on the
 * answer what was sent in its place, so that a run that goes on from it sends and checks the same.
 *
 * A check that fails fails the run. Throws `InvalidDefinition` for a check that is neither a function nor a runner.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Guardrail } from "troupe"
 *
 * const noSecrets = Guardrail.input("no secrets", (prompt) =>
 *   Effect.succeed(JSON.stringify(prompt.content).includes("SECRET") ? Guardrail.trip("a secret") : Guardrail.pass)
 * )
 * const judge = Agent.make("judge", { instructions: "Trip on insults.", output: Guardrail.Verdict })
 * const agent = Agent.make("agent", { middleware: [noSecrets, Guardrail.input("manners", judge)] })
 */
export const input = <E, R>(
  name: string,
  check: Check<Prompt.Prompt, E, R>,
  options: InputOptions = {}
): Guard<E, R> => {
  assertCheck(name, check, options, holding)
  const inputs = RunScoped.perRun((): Inputs => ({
    isBegun: false,
    given: undefined,
    seen: new WeakSet(),
    replaced: new Map()
  }))
  const noteName = `guardrail ${name}`
  const judge = (prompt: Prompt.Prompt, request: Middleware.ModelRequest) =>
    Effect.flatMap(run(check, prompt), (verdict) => settle(name, "input", request, verdict))
  return Middleware.make(name, {
    run: (run, next) =>
      Effect.flatMap(inputs, (state) => {
        // Further attempts go on from this one: what was checked in it is not checked again.
        if (state !== undefined && !state.isBegun) {
          state.isBegun = true
          state.given = run.prompt
        }
        return next(run)
      }),
    model: (request, next) =>
      Effect.flatMap(Effect.all([inputs, CurrentState]), ([state, run]) => {
        if (state === undefined) return next(request)
        readNoted(state, request.prompt, noteName)
        const unchecked = uncheckedOf(state, request.prompt, run?.instructions)
        const changed = withReplaced(request, state)
        if (unchecked === undefined) return next(changed)
        const note = (text: string) => {
          const last = request.prompt.content.findLast(isOfUser)
          if (last !== undefined) state.replaced.set(last, userText(text))
          return Effect.map(next(withReplaced(request, state)), (turn) => ({
            ...turn,
            notes: { ...turn.notes, [noteName]: text }
          }))
        }
        // Once there is a verdict: an attempt that fails before has checked nothing.
        const judged = Effect.tap(judge(unchecked, request), () =>
          Effect.sync(() => noteChecked(state, request.prompt))
        )
        if (options.hold === true) {
          return Effect.flatMap(judged, (text) => (text === undefined ? next(changed) : note(text)))
        }
        // A sibling that fails interrupts the other one, to the wire.
        const both = Effect.all([next(changed), Effect.flatMap(judged, replacing)], { concurrency: 2 })
        return Effect.catchIf(
          Effect.map(both, ([turn]) => turn),
          isReplaced,
          ({ text }) => note(text)
        )
      })
  })
}

/** Ends the model call that goes on alongside a check. */
class Replaced {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

const isReplaced = (error: unknown): error is Replaced => error instanceof Replaced

const replacing = (text: string | undefined): Effect.Effect<void, Replaced> =>
  text === undefined ? Effect.void : Effect.fail(new Replaced(text))

const isOfUser = (message: Prompt.Message): boolean => message.role === "user" && !isOfLoop(message)

/** Takes from a conversation what earlier runs have noted on its answers: with which text the user's message before was sent. */
const readNoted = ({ replaced }: Inputs, { content }: Prompt.Prompt, noteName: string): void => {
  let last: Prompt.Message | undefined
  for (const message of content) {
    if (isOfUser(message)) last = message
    const text = message.role === "assistant" ? Notes.noteOf(message, noteName) : undefined
    if (typeof text === "string" && last !== undefined && !replaced.has(last)) replaced.set(last, userText(text))
  }
}

/** The conversation that is to be checked; `undefined` where the user has said nothing since. */
const uncheckedOf = (
  { given, replaced, seen }: Inputs,
  prompt: Prompt.Prompt,
  own: Prompt.SystemMessage | undefined
): Prompt.Prompt | undefined => {
  const asSent = ({ content }: Prompt.Prompt) => content.map((message) => replaced.get(message) ?? message)
  if (given !== undefined) {
    // What middleware further out has changed, such as a redaction, is checked as it was changed.
    return Prompt.fromMessages(
      isWithin(prompt, given) ? asSent(given) : asSent(prompt).slice(own === undefined ? 0 : 1)
    )
  }
  const added = prompt.content.filter((message) => message.role === "user" && !seen.has(message))
  if (added.every(isOfLoop)) return undefined
  return Prompt.fromMessages(asSent(prompt).filter(({ role }) => role !== "system"))
}

/** True where a conversation has the messages of another one, in their order. */
const isWithin = (prompt: Prompt.Prompt, { content }: Prompt.Prompt): boolean => {
  let at = 0
  for (const message of prompt.content) if (Equal.equals(message, content[at])) at++
  return at === content.length
}

const noteChecked = (state: Inputs, { content }: Prompt.Prompt): void => {
  state.given = undefined
  for (const message of content) state.seen.add(message)
}

const withReplaced = (request: Middleware.ModelRequest, { replaced }: Inputs): Middleware.ModelRequest =>
  replaced.size === 0
    ? request
    : {
        ...request,
        prompt: Prompt.fromMessages(request.prompt.content.map((message) => replaced.get(message) ?? message))
      }

/** Options of {@link output}. */
export interface OutputOptions {
  /**
   * True: nothing of an answer is emitted before its check has passed, so a stream gets it at once and late. Default false: it is
   * streamed, and taken back with `TurnReplaced` where the check trips or gives another text.
   */
  readonly hold?: boolean | undefined
}

/**
 * Checks the text of each answer of the model, also of one that calls tools, before the tools are called. Of a typed agent the
 * text is JSON.
 *
 * A trip fails the run. A text in place of the answer's is emitted, and kept in the transcript; tool calls stay. A check that
 * fails fails the run. Throws `InvalidDefinition` for a check that is neither a function nor a runner.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Guardrail } from "troupe"
 *
 * const polite = Guardrail.output(
 *   "polite",
 *   (text) => Effect.succeed(/damn/i.test(text) ? Guardrail.replace("I would rather not say.") : Guardrail.pass),
 *   { hold: true }
 * )
 * const agent = Agent.make("agent", { middleware: [polite] })
 */
export const output = <E, R>(name: string, check: Check<string, E, R>, options: OutputOptions = {}): Guard<E, R> => {
  assertCheck(name, check, options, holding)
  return Middleware.make(name, {
    model: (request, next) =>
      Effect.flatMap(next(request), (turn) => {
        if (turn.text === "") return Effect.succeed(turn)
        return Effect.flatMap(run(check, turn.text), (verdict) =>
          Effect.map(settle(name, "output", request, verdict), (text) =>
            text === undefined ? turn : { ...turn, text }
          )
        )
      }),
    part: options.hold === true ? () => Middleware.hold : undefined
  })
}

/**
 * Checks each tool call before it is made, and before an approver sees it. A trip fails the run and interrupts the other calls of
 * the step. With a text in place of the call the tool is not called, and the model sees the text as the failure of its call.
 *
 * A check that fails fails the run. Throws `InvalidDefinition` for a check that is neither a function nor a runner.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Guardrail } from "troupe"
 *
 * const noDeletes = Guardrail.toolInput("no deletes", (call) =>
 *   Effect.succeed(call.hints.destructive ? Guardrail.replace("Nothing is deleted here.") : Guardrail.pass)
 * )
 * const agent = Agent.make("agent", { middleware: [noDeletes] })
 */
export const toolInput = <E, R>(name: string, check: Check<Middleware.ToolCall, E, R>): Guard<E, R> => {
  assertCheck(name, check)
  return Middleware.make(name, {
    tool: (call, next) =>
      Effect.flatMap(run(check, call), (verdict) =>
        Effect.flatMap(settle(name, "toolInput", call, verdict), (text) =>
          text === undefined ? next(call) : Effect.succeed(Middleware.outcome(text, { isFailure: true }))
        )
      )
  })
}

/**
 * Checks what each tool call gives, a failure too, before the model sees it. A function is given the call as well. A trip fails
 * the run; what the tool has done is done, and neither events nor the transcript have its result. A text in place of the result is what the model sees.
 *
 * A check that fails fails the run. Throws `InvalidDefinition` for a check that is neither a function nor a runner.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Guardrail } from "troupe"
 *
 * const noKeys = Guardrail.toolOutput("no keys", ({ result }) =>
 *   Effect.succeed(JSON.stringify(result).includes("sk-") ? Guardrail.trip("a key") : Guardrail.pass)
 * )
 * const agent = Agent.make("agent", { middleware: [noKeys] })
 */
export const toolOutput = <E, R>(
  name: string,
  check:
    | ((outcome: Middleware.Outcome, call: Middleware.ToolCall) => Effect.Effect<Verdict, E, R>)
    | Runner.Runner<Middleware.Outcome, Verdict, E, R>
): Guard<E, R> => {
  assertCheck(name, check)
  return Middleware.make(name, {
    tool: (call, next) =>
      Effect.flatMap(next(call), (outcome) => {
        const judged = Effect.suspend(() => (Runner.isRunner(check) ? check.run(outcome) : check(outcome, call)))
        return Effect.flatMap(judged, (verdict) =>
          Effect.map(settle(name, "toolOutput", call, verdict), (text) =>
            text === undefined ? outcome : Middleware.outcome(text, outcome)
          )
        )
      })
  })
}
