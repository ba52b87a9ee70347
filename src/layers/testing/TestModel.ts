/**
 * A scripted, recording model for tests of agents. It fails loudly both ways: on a call that the script does not
 * expect, and on turns that were never used.
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
import { assertOneOf, assertOptions, namesOf } from "../../internal/definition.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"
import { answer, type Answer, Ids, streamed } from "./internal/answer.ts"

/** One model call as it was made, as far as it has gone when it is read. */
export interface Call {
  /** Counted from 0, over all calls of the Layer, in the order they began. */
  readonly index: number
  readonly prompt: Prompt.Prompt
  /** The names of the tools offered. */
  readonly tools: ReadonlyArray<string>
  readonly toolChoice: LanguageModel.ToolChoice<string>
  /** The shape asked for, by the agent loop or by `generateObject`. */
  readonly output: ModelInfo.OutputFormat | undefined
  /** How the model was asked to answer: reasoning, temperature and the like. */
  readonly settings: ModelInfo.CallSettings
  readonly streamed: boolean
  /** True once the call was interrupted, or its stream dropped, before it had answered or failed. */
  readonly interrupted: boolean
}

/** A tool call of a turn. Its id is `call_1`, `call_2`, ... over the whole script when none is given. */
export interface ToolCall {
  readonly name: string
  readonly params: unknown
  readonly id?: string | undefined
}

/** A part of an answer as providers emit it, whole. A tool call may leave its id out, as in {@link ToolCall}. */
export type Part =
  | Response.TextPartEncoded
  | Response.ReasoningPartEncoded
  | (Omit<Response.ToolCallPartEncoded, "id"> & { readonly id?: string | undefined })
  | Response.ToolResultPartEncoded
  | Response.FilePartEncoded
  | Response.DocumentSourcePartEncoded
  | Response.UrlSourcePartEncoded
  | Response.ResponseMetadataPartEncoded

/**
 * What the model does in one call. A bare string is a text answer.
 *
 * The parts come in the order `reasoning`, `text`, `parts`, `toolCalls`, then the finish; where another order matters, or
 * a second text, write them all as `parts`.
 *
 * @example
 * import { TestModel } from "troupe"
 *
 * const script: TestModel.Script = [
 *   { reasoning: "I should look.", ...TestModel.toolCall("look", { at: "the map" }) },
 *   { text: ["Turn ", "left", "."], chunkDelay: "50 millis", usage: { outputTokens: { total: 3 } } },
 *   {
 *     parts: [
 *       { type: "text", text: "Before" },
 *       { type: "tool-call", name: "look", params: {} },
 *       { type: "text", text: "after" }
 *     ]
 *   },
 *   { text: "never streamed to the end", chunk: 1, after: 3, hang: true }
 * ]
 */
export interface Turn {
  /** A list is streamed as these deltas; unstreamed it is one text. */
  readonly text?: string | ReadonlyArray<string> | undefined
  /** As `text`. */
  readonly reasoning?: string | ReadonlyArray<string> | undefined
  readonly toolCalls?: ReadonlyArray<ToolCall> | undefined
  /** Any parts, in their order. */
  readonly parts?: ReadonlyArray<Part> | undefined
  /** Default: `tool-calls` with tool calls, else `stop`. */
  readonly finishReason?: Response.FinishReason | undefined
  /** Default: 10 tokens in, 5 out. */
  readonly usage?: Partial<typeof Response.Usage.Encoded> | undefined
  /** How long the answer takes to begin, by Effect's clock. */
  readonly delay?: Duration.Input | undefined
  /** The size of text and reasoning deltas in characters when streamed, at least 1; default: the whole at once. */
  readonly chunk?: number | undefined
  /** How long each delta takes, by Effect's clock. */
  readonly chunkDelay?: Duration.Input | undefined
  /** Fails with this error: at once, or after `after` deltas of a stream. */
  readonly fail?: AiError.AiErrorReason | AiError.AiError | undefined
  /** Never answers, or stops after `after` deltas of a stream and never goes on. For tests of interruption. */
  readonly hang?: boolean | undefined
  /**
   * How many deltas of a stream come before `fail` or `hang`. Default 0: nothing comes. With as many as there are or more,
   * everything but the finish comes. A call that is not streamed gives nothing in either case.
   */
  readonly after?: number | undefined
}

/**
 * Turns in the order of the calls, or a function of the call. The function form suits agents that share a model and call
 * it in an order of their own: it can distinguish them by the prompt or the tools.
 */
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
    const turns = this.turns.map((turn) => JSON.stringify(turn).slice(0, 200)).join(", ")
    return `TestModel: ${this.turns.length} turn(s) of the script were never used: ${turns}. Remove them, or find out why the agent stopped early.`
  }
}

/** The script does not expect a call. The Layer's release dies with it, even if the agent recovered from the error. */
export class UnexpectedCall extends Schema.TaggedError<UnexpectedCall>()("UnexpectedCall", {
  call: Schema.Int,
  turns: Schema.Int,
  last: Schema.String
}) {
  override get message(): string {
    return `TestModel: unexpected call ${this.call + 1}; the script has ${this.turns} turn(s). The prompt ended with: ${this.last}. Add a turn, or find out why the agent went on.`
  }
}

/** How a script and the calls can disagree. */
export type TestModelError = UnexpectedCall | UnusedTurns

/** The model's recording. */
export class TestModel extends Context.Service<
  TestModel,
  {
    /** Every call so far, in order. */
    readonly calls: Effect.Effect<ReadonlyArray<Call>>
    /** Turns not used yet; 0 for a function. */
    readonly remaining: Effect.Effect<number>
    /** Fails when there was a call too many, or turns are left: what the Layer's release dies with, to be asked sooner. */
    readonly verify: Effect.Effect<void, TestModelError>
  }
>()("troupe/TestModel") {}

/**
 * A model that follows a script.
 *
 * A call beyond the script fails with an `AiError` (`InvalidRequestError`, which is not retried). Even if the agent
 * recovers, the Layer's release dies with `UnexpectedCall`. It dies with `UnusedTurns` if turns of a list are left,
 * unless the effect that it was provided to failed or was interrupted, which would explain them. So a test needs no
 * assertion for either.
 *
 * Turns and ids of tool calls are given out in the order in which calls begin. Delays use Effect's clock, so `TestClock`
 * drives them. Interrupting a call, or dropping its stream, ends it at once.
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
export const layer = (script: Script, options: Options = {}): Layer.Layer<LanguageModel.LanguageModel | TestModel> => {
  assertOptions("TestModel.layer", options, known)
  assertOneOf("TestModel.layer", "unused", options.unused, ["die", "ignore"])
  return Layer.effectContext(
    Effect.gen(function* () {
      const state = new State(script)
      yield* Effect.addFinalizer((exit) => state.verify(exit, options.unused ?? "die"))
      const model = yield* LanguageModel.make({
        generateText: (request) => state.generate(request),
        streamText: (request) => state.stream(request)
      })
      const info = {
        provider: "troupe-test",
        model: "test",
        structuredOutput: options.structuredOutput ?? true,
        readsSettings: true
      }
      return ModelInfo.context(model, info).pipe(
        Context.add(TestModel, {
          calls: Effect.sync(() => state.calls.map((call) => ({ ...call }))),
          remaining: Effect.sync(() => state.remaining),
          verify: Effect.suspend(() => {
            const problem = state.unexpected ?? state.unused
            return problem === undefined ? Effect.void : Effect.fail(problem)
          })
        })
      )
    })
  )
}

const known = namesOf<Options>({ structuredOutput: true, unused: true })

/** A turn that answers with a text, as a bare string does; a list is streamed as these deltas. */
export const text = (text: string | ReadonlyArray<string>): Turn => ({ text })

/** A turn that answers with a value as JSON. */
export const json = (value: unknown): Turn => ({ text: JSON.stringify(value) })

/** A turn that calls one tool. */
export const toolCall = (name: string, params: unknown, id?: string): Turn => ({ toolCalls: [{ name, params, id }] })

/** A turn that calls several tools at once. */
export const toolCalls = (...calls: ReadonlyArray<ToolCall>): Turn => ({ toolCalls: calls })

/** A turn that fails. */
export const fail = (error: AiError.AiErrorReason | AiError.AiError): Turn => ({ fail: error })

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

class State {
  readonly #script: Script
  readonly calls: Array<Mutable<Call>> = []
  unexpected: UnexpectedCall | undefined
  readonly #ids = new Ids()

  constructor(script: Script) {
    this.#script = script
  }

  get remaining(): number {
    return typeof this.#script === "function" ? 0 : Math.max(0, this.#script.length - this.calls.length)
  }

  get unused(): UnusedTurns | undefined {
    if (typeof this.#script === "function" || this.remaining === 0) return undefined
    return new UnusedTurns({ turns: this.#script.slice(this.calls.length).map(toJson) })
  }

  generate(request: LanguageModel.ProviderOptions): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> {
    return Effect.flatMap(this.#begin(request, false), (call) =>
      Effect.gen({ self: this }, function* () {
        const { finish, pieces, turn } = yield* this.#next(call)
        if (turn.delay !== undefined) yield* Effect.sleep(turn.delay)
        if (turn.fail !== undefined) return yield* failWith(turn.fail, "generateText")
        if (turn.hang === true) return yield* Effect.never
        return [...pieces.map((piece) => piece.part), finish]
      }).pipe(
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            call.interrupted = true
          })
        )
      )
    )
  }

  stream(request: LanguageModel.ProviderOptions): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> {
    return Stream.unwrap(
      Effect.map(this.#begin(request, true), (call) => {
        let answered = false
        return Stream.unwrap(Effect.map(this.#next(call), stream)).pipe(
          Stream.map((part) => {
            if (part.type === "finish") answered = true
            return part
          }),
          // A consumer that stops early ends the stream with success.
          Stream.onExit((exit) =>
            Effect.sync(() => {
              if (Exit.isSuccess(exit) ? !answered : Exit.hasInterrupts(exit)) call.interrupted = true
            })
          )
        )
      })
    )
  }

  verify(exit: Exit.Exit<unknown, unknown>, unused: "die" | "ignore"): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.unexpected !== undefined) return Effect.die(this.unexpected)
      // A test that failed already says why; its unused turns would only hide that.
      if (Exit.isFailure(exit) || unused === "ignore") return Effect.void
      const left = this.unused
      return left === undefined ? Effect.void : Effect.die(left)
    })
  }

  #begin(request: LanguageModel.ProviderOptions, streamed: boolean): Effect.Effect<Mutable<Call>, AiError.AiError> {
    return Effect.flatMap(Effect.all([ModelInfo.OutputFormat, ModelInfo.CurrentSettings]), ([format, settings]) =>
      Effect.map(outputOf(request, format), (output) => {
        const call: Mutable<Call> = {
          index: this.calls.length,
          prompt: request.prompt,
          tools: request.tools.map((tool) => tool.name as string),
          toolChoice: request.toolChoice as LanguageModel.ToolChoice<string>,
          output,
          settings,
          streamed,
          interrupted: false
        }
        this.calls.push(call)
        return call
      })
    )
  }

  #next(call: Call): Effect.Effect<Answer, AiError.AiError> {
    if (typeof this.#script === "function") {
      const turn = this.#script(call)
      return Effect.isEffect(turn)
        ? Effect.map(turn, (turn) => answer(turn, this.#ids))
        : Effect.succeed(answer(turn, this.#ids))
    }
    const turn = this.#script[call.index]
    if (turn !== undefined) return Effect.succeed(answer(turn, this.#ids))
    const last = call.prompt.content.at(-1)
    const unexpected = new UnexpectedCall({
      call: call.index,
      turns: this.#script.length,
      last:
        last === undefined
          ? "nothing"
          : JSON.stringify(toJson({ role: last.role, content: last.content })).slice(0, 500)
    })
    this.unexpected ??= unexpected
    return failWith(
      new AiError.InvalidRequestError({ description: unexpected.message }),
      call.streamed ? "streamText" : "generateText"
    )
  }
}

const outputOf = (
  { responseFormat }: LanguageModel.ProviderOptions,
  format: ModelInfo.OutputFormat | undefined
): Effect.Effect<ModelInfo.OutputFormat | undefined, AiError.AiError> => {
  if (responseFormat.type !== "json") return Effect.succeed(format)
  const { objectName: name, schema } = responseFormat
  return Effect.try({
    // The request's schema is typed as `Top`, which the transformer narrows to a codec without services.
    try: () => ({
      name,
      description: undefined,
      jsonSchema: LanguageModel.defaultCodecTransformer(schema as Schema.Codec<unknown>).jsonSchema
    }),
    catch: (error) => makeError(new AiError.UnsupportedSchemaError({ description: String(error) }), "generateObject")
  })
}

const makeError = (reason: AiError.AiErrorReason, method: string): AiError.AiError =>
  AiError.make({ module: "TestModel", method, reason })

const failWith = (
  error: AiError.AiErrorReason | AiError.AiError,
  method: string
): Effect.Effect<never, AiError.AiError> => Effect.fail(AiError.isAiError(error) ? error : makeError(error, method))

const stream = (answer: Answer): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> => {
  const { chunkDelay, delay, fail, hang } = answer.turn
  const stops = fail !== undefined ? failWith(fail, "streamText") : hang === true ? Effect.never : undefined
  const parts = Stream.fromIterable(streamed(answer, stops !== undefined)).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((part) =>
      chunkDelay === undefined || !part.type.endsWith("-delta")
        ? Effect.succeed(part)
        : Effect.as(Effect.sleep(chunkDelay), part)
    ),
    Stream.concat(stops === undefined ? Stream.empty : Stream.fromEffect(stops))
  )
  return delay === undefined ? parts : Stream.unwrap(Effect.as(Effect.sleep(delay), parts))
}

/** A value as JSON, for messages. */
const toJson = (value: unknown): Schema.Json => {
  try {
    const text = JSON.stringify(value, (key, inner: unknown) =>
      // Leave out Effect's type marks, which a reader does not need.
      key.startsWith("~") ? undefined : typeof inner === "bigint" ? `${inner}n` : inner
    )
    return JSON.parse(text) as Schema.Json
  } catch (error) {
    return `(not JSON: ${error instanceof Error ? error.message.split("\n")[0]! : "unknown"})`
  }
}
