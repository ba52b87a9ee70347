/**
 * A scripted, recording model for tests of agents. It fails loudly both ways: on a call that the script does not
 * expect, and on turns that were never used. It touches `effect/ai` and the model's port only.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ModelInfo from "../services/ModelInfo.ts"

/** One model call as it was made. */
export interface Call {
  /** Counted from 0, over all calls of the Layer. */
  readonly index: number
  readonly prompt: Prompt.Prompt
  /** The names of the tools offered. */
  readonly tools: ReadonlyArray<string>
  readonly toolChoice: LanguageModel.ToolChoice<string>
  /** The shape asked for, by the agent loop or by `generateObject`. */
  readonly output: { readonly name: string } | undefined
  readonly streamed: boolean
  /** True once the call was interrupted before it had answered. */
  readonly interrupted: boolean
}

/** A tool call of a turn. Its id is `call_1`, `call_2`, ... over the whole script when none is given. */
export interface ToolCall {
  readonly name: string
  readonly params: unknown
  readonly id?: string | undefined
}

/** What the model does in one call. A bare string is a text answer. */
export interface Turn {
  readonly text?: string | undefined
  readonly reasoning?: string | undefined
  readonly toolCalls?: ReadonlyArray<ToolCall> | undefined
  /** Further parts, such as files and sources, as providers emit them. */
  readonly parts?:
    | ReadonlyArray<Response.FilePartEncoded | Response.UrlSourcePartEncoded | Response.ToolResultPartEncoded>
    | undefined
  /** Default: `tool-calls` with tool calls, else `stop`. */
  readonly finishReason?: Response.FinishReason | undefined
  /** Default: 10 tokens in, 5 out. */
  readonly usage?: Partial<typeof Response.Usage.Encoded> | undefined
  /** How long the answer takes to begin, by Effect's clock. */
  readonly delay?: Duration.Input | undefined
  /** The size of text and reasoning deltas in characters when streamed; default: the whole at once. */
  readonly chunk?: number | undefined
  /** How long each delta takes, by Effect's clock. */
  readonly chunkDelay?: Duration.Input | undefined
  /** Fails with this error: at once, or after `after` deltas of a stream. */
  readonly fail?: AiError.AiErrorReason | undefined
  /** Never answers, or stops after `after` deltas of a stream and never goes on. */
  readonly hang?: boolean | undefined
  /** How many deltas of a stream come before `fail` or `hang`. Default 0. */
  readonly after?: number | undefined
}

/** Turns in the order of the calls, or a function of the call. */
export type Script =
  | ReadonlyArray<string | Turn>
  | ((call: Call) => string | Turn | Effect.Effect<string | Turn, AiError.AiError>)

/** How the model behaves apart from its script. */
export interface Options {
  /** Whether it takes output schemas natively, as `OpenAi` does. Default true. */
  readonly structuredOutput?: boolean | undefined
  /** Unused turns at the end: die with {@link UnusedTurns} (default), or let them be. */
  readonly unused?: "die" | "ignore" | undefined
}

/** The script of a test has turns that no call has used. A defect of the Layer's release, so the test fails. */
export class UnusedTurns extends Schema.TaggedError<UnusedTurns>()("UnusedTurns", {
  turns: Schema.Array(Schema.Json)
}) {
  override get message(): string {
    return `TestModel: ${this.turns.length} turn(s) of the script were never used: ${JSON.stringify(this.turns)}. Remove them, or find out why the agent stopped early.`
  }
}

/** A call came that the script does not expect. A defect of the Layer's release, whatever the agent made of the error. */
export class UnexpectedCall extends Schema.TaggedError<UnexpectedCall>()("UnexpectedCall", {
  call: Schema.Int,
  turns: Schema.Int,
  last: Schema.String
}) {
  override get message(): string {
    return `TestModel: unexpected call ${this.call + 1}; the script has ${this.turns} turn(s). The prompt ended with: ${this.last}. Add a turn, or find out why the agent went on.`
  }
}

/** What the model has recorded. */
export class TestModel extends Context.Service<
  TestModel,
  {
    /** Every call so far, in order. */
    readonly calls: Effect.Effect<ReadonlyArray<Call>>
    /** Turns not used yet; 0 for a function. */
    readonly remaining: Effect.Effect<number>
  }
>()("troupe/TestModel") {}

/**
 * A model that follows a script.
 *
 * When the Layer is released it dies with `UnexpectedCall` if there was a call too many, and with `UnusedTurns` if turns
 * are left and the test succeeded otherwise. Delays use Effect's clock, so `TestClock` drives them.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, TestModel } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const test = Effect.gen(function* () {
 *   const answer = yield* agent.run("Hello")
 *   const { calls } = yield* TestModel.TestModel
 *   return [answer, (yield* calls).length]
 * }).pipe(Effect.provide(TestModel.layer(["Hi!"])))
 */
export const layer = (script: Script, options: Options = {}): Layer.Layer<LanguageModel.LanguageModel | TestModel> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const state = new State(script)
      yield* Effect.addFinalizer((exit) => state.verify(exit, options.unused ?? "die"))
      const model = yield* LanguageModel.make({
        generateText: (request) => state.generate(request),
        streamText: (request) => state.stream(request)
      })
      const info = { provider: "troupe-test", model: "test", structuredOutput: options.structuredOutput ?? true }
      return Context.make(LanguageModel.LanguageModel, ModelInfo.attach(model, info)).pipe(
        Context.add(TestModel, {
          calls: Effect.sync(() => [...state.calls]),
          remaining: Effect.sync(() => state.remaining)
        })
      )
    })
  )

/** A turn that answers with a value as JSON. */
export const json = (value: unknown): Turn => ({ text: JSON.stringify(value) })

/** A turn that calls one tool. */
export const toolCall = (name: string, params: unknown, id?: string): Turn => ({ toolCalls: [{ name, params, id }] })

/** A turn that calls several tools at once. */
export const toolCalls = (...calls: ReadonlyArray<ToolCall>): Turn => ({ toolCalls: calls })

/** A turn that fails. */
export const fail = (reason: AiError.AiErrorReason): Turn => ({ fail: reason })

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

class State {
  readonly #script: Script
  readonly calls: Array<Mutable<Call>> = []
  #unexpected: UnexpectedCall | undefined
  #ids = 0

  constructor(script: Script) {
    this.#script = script
  }

  get remaining(): number {
    return typeof this.#script === "function" ? 0 : Math.max(0, this.#script.length - this.calls.length)
  }

  generate(request: LanguageModel.ProviderOptions): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> {
    return this.#answer(request, false, (turn) =>
      Effect.gen({ self: this }, function* () {
        if (turn.delay !== undefined) yield* Effect.sleep(turn.delay)
        if (turn.fail !== undefined) return yield* failWith(turn.fail)
        if (turn.hang === true) return yield* Effect.never
        return [
          ...(turn.reasoning === undefined ? [] : [{ type: "reasoning" as const, text: turn.reasoning }]),
          ...(turn.text === undefined ? [] : [{ type: "text" as const, text: turn.text }]),
          ...this.#rest(turn)
        ]
      })
    )
  }

  stream(request: LanguageModel.ProviderOptions): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> {
    return Stream.unwrap(
      this.#answer(request, true, (turn) => Effect.succeed(this.#deltas(turn, () => this.#interrupted(request))))
    )
  }

  #deltas(turn: Turn, interrupted: () => void): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> {
    const stops = turn.fail !== undefined ? failWith(turn.fail) : turn.hang === true ? Effect.never : undefined
    const all: Array<Response.StreamPartEncoded> = [
      ...block("reasoning", turn.reasoning, turn.chunk),
      ...block("text", turn.text, turn.chunk)
    ]
    const isDelta = (part: Response.StreamPartEncoded) => part.type.endsWith("-delta")
    let deltas = 0
    const cut = all.findIndex((part) => isDelta(part) && deltas++ >= (turn.after ?? 0))
    const shown = stops === undefined ? [...all, ...this.#rest(turn)] : cut < 0 ? all : all.slice(0, cut)
    return Stream.fromIterable(shown).pipe(
      Stream.rechunk(1),
      Stream.mapEffect((part) =>
        turn.chunkDelay === undefined || !isDelta(part)
          ? Effect.succeed(part)
          : Effect.as(Effect.sleep(turn.chunkDelay), part)
      ),
      Stream.concat(stops === undefined ? Stream.empty : Stream.fromEffect(stops)),
      (stream) => (turn.delay === undefined ? stream : Stream.unwrap(Effect.as(Effect.sleep(turn.delay), stream))),
      Stream.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.hasInterrupts(exit)) interrupted()
        })
      )
    )
  }

  #rest(turn: Turn): Array<Response.PartEncoded & Response.StreamPartEncoded> {
    const calls = (turn.toolCalls ?? []).map((call) => ({
      type: "tool-call" as const,
      id: call.id ?? `call_${++this.#ids}`,
      name: call.name,
      params: call.params
    }))
    const reason = turn.finishReason ?? (calls.length > 0 ? "tool-calls" : "stop")
    const usage = {
      inputTokens: { total: 10, ...turn.usage?.inputTokens },
      outputTokens: { total: 5, ...turn.usage?.outputTokens }
    }
    return [...(turn.parts ?? []), ...calls, { type: "finish", reason, usage }]
  }

  #interrupted(request: LanguageModel.ProviderOptions): void {
    const call = this.calls.findLast((one) => one.prompt === request.prompt)
    if (call !== undefined) call.interrupted = true
  }

  #answer<A>(
    request: LanguageModel.ProviderOptions,
    streamed: boolean,
    use: (turn: Turn) => Effect.Effect<A, AiError.AiError>
  ): Effect.Effect<A, AiError.AiError> {
    return Effect.flatMap(ModelInfo.OutputFormat, (format) => {
      const output = request.responseFormat.type === "json" ? { name: request.responseFormat.objectName } : format
      const call: Mutable<Call> = {
        index: this.calls.length,
        prompt: request.prompt,
        tools: request.tools.map((tool) => tool.name as string),
        toolChoice: request.toolChoice as LanguageModel.ToolChoice<string>,
        output: output === undefined ? undefined : { name: output.name },
        streamed,
        interrupted: false
      }
      this.calls.push(call)
      return Effect.flatMap(this.#next(call), (turn) => use(typeof turn === "string" ? { text: turn } : turn)).pipe(
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            call.interrupted = true
          })
        )
      )
    })
  }

  #next(call: Call): Effect.Effect<string | Turn, AiError.AiError> {
    if (typeof this.#script === "function") {
      const turn = this.#script(call)
      return Effect.isEffect(turn) ? turn : Effect.succeed(turn)
    }
    const turn = this.#script[call.index]
    if (turn !== undefined) return Effect.succeed(turn)
    const last = call.prompt.content.at(-1)
    this.#unexpected ??= new UnexpectedCall({
      call: call.index,
      turns: this.#script.length,
      last: last === undefined ? "nothing" : JSON.stringify({ role: last.role, content: last.content }).slice(0, 500)
    })
    return failWith(new AiError.InvalidRequestError({ description: this.#unexpected.message }))
  }

  verify(exit: Exit.Exit<unknown, unknown>, unused: "die" | "ignore"): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#unexpected !== undefined) return Effect.die(this.#unexpected)
      // A test that failed already says why; its unused turns would only hide that.
      if (Exit.isFailure(exit) || unused === "ignore" || typeof this.#script === "function") return Effect.void
      const left = this.#script.slice(this.calls.length)
      if (left.length === 0) return Effect.void
      return Effect.die(new UnusedTurns({ turns: left.map((turn) => JSON.parse(JSON.stringify(turn)) as Schema.Json) }))
    })
  }
}

const failWith = (reason: AiError.AiErrorReason): Effect.Effect<never, AiError.AiError> =>
  Effect.fail(AiError.make({ module: "TestModel", method: "call", reason }))

const block = (
  type: "text" | "reasoning",
  text: string | undefined,
  size: number | undefined
): Array<Response.StreamPartEncoded> => {
  if (text === undefined) return []
  const id = type
  const deltas: Array<Response.StreamPartEncoded> = []
  const step = size ?? Math.max(1, text.length)
  for (let at = 0; at < text.length; at += step)
    deltas.push({ type: `${type}-delta`, id, delta: text.slice(at, at + step) })
  return [{ type: `${type}-start`, id }, ...deltas, { type: `${type}-end`, id }]
}
