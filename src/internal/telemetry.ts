/**
 * Spans and metrics after the OpenTelemetry semantic conventions for generative AI, v0.1.0, through Effect's own tracer and
 * metrics, so that any exporter takes them as they are. Every name of the conventions that is emitted stands in this file.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { CurrentJournal, none } from "../services/Journal.ts"
import { CaptureContent } from "../services/Telemetry.ts"
import type { AnsweredBy } from "./answeredBy.ts"
import { toJson } from "./json.ts"
import { isAsleep } from "./sleep.ts"

/** Attributes by their conventional names; `undefined` ones are left out. */
type Attributes = Readonly<Record<string, unknown>>

/** A span, where one can be seen: see {@link withSpan}. */
export type MaybeSpan = Tracer.Span | undefined

// -- spans -------------------------------------------------------------------------------------------------------------

/**
 * Runs `use` in a span. A failure ends the span with its tag alone (`error.type`): messages of errors can hold content
 * of the conversation, which spans carry only when asked. Where the program has set no tracer and no span is open, the span
 * could not be seen: then none is made, and `use` gets `undefined`.
 */
const withSpan = <A, E, R>(
  name: string,
  kind: Tracer.SpanKind,
  attributes: () => Attributes,
  use: (span: MaybeSpan) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const { span, tracer } = fiber.cache
    if (tracer === undefined && span === undefined) return use(undefined)
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.makeSpan(name, { kind }), (self) =>
        Effect.onExit(
          restore(
            Effect.suspend(() => {
              annotate(self, attributes())
              return Effect.provideService(use(self), Tracer.ParentSpan, self)
            })
          ),
          (exit) => Effect.map(Clock.currentTimeNanos, (now) => end(self, now, exit))
        )
      )
    )
    // The parent span is provided, and nothing else.
  }) as Effect.Effect<A, E, R>

const end = (self: Tracer.Span, now: bigint, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isSuccess(exit)) return self.end(now, Exit.void)
  if (Cause.hasInterruptsOnly(exit.cause)) return self.end(now, Exit.interrupt())
  const error = Cause.squash(exit.cause)
  if (isSuspended(error)) self.attribute(suspended, true)
  // A run that waits has not failed.
  if (self.attributes.get(suspended) === true) return self.end(now, Exit.void)
  // What is run in the span may know the kind better than its failure tells.
  const known = self.attributes.get("error.type")
  const type = typeof known === "string" ? known : errorType(error)
  self.attribute("error.type", type)
  self.end(now, Exit.fail(new SpanFailure(type)))
}

class SpanFailure extends Error {
  constructor(type: string) {
    super(type)
    this.name = type
    this.stack = type
  }
}

/** The conventional `error.type`: a tagged error's tag, with the reason's for errors that have one. */
export const errorType = (error: unknown): string => {
  if (!Predicate.isObject(error)) return "_OTHER"
  if (Predicate.hasProperty(error, "reason")) {
    const inner = errorType(error.reason)
    if (inner !== "_OTHER") return inner
  }
  if (Predicate.hasProperty(error, "_tag")) return String(error._tag)
  return error instanceof Error ? error.name : "_OTHER"
}

/** Set on the span of what ended because a run is suspended. */
const suspended = "troupe.suspended"
const isSuspended = (error: unknown): boolean =>
  Predicate.isTagged(error, "RunSuspended") || Predicate.isTagged(error, "RoomSuspension")

const delegate = (self: Tracer.Span, overrides: Partial<Pick<Tracer.Span, "end" | "attribute">>): Tracer.Span => ({
  _tag: "Span",
  get name() {
    return self.name
  },
  get spanId() {
    return self.spanId
  },
  get traceId() {
    return self.traceId
  },
  get status() {
    return self.status
  },
  get attributes() {
    return self.attributes
  },
  get links() {
    return self.links
  },
  parent: self.parent,
  annotations: self.annotations,
  sampled: self.sampled,
  kind: self.kind,
  end: overrides.end ?? ((time, exit) => self.end(time, exit)),
  attribute: overrides.attribute ?? ((key, value) => self.attribute(key, value)),
  event: (name, time, attributes) => self.event(name, time, attributes),
  addLinks: (links) => self.addLinks(links)
})

/**
 * `effect/ai` opens a span of its own for each model call; here it is given ours, so that there is one, well named. It is the
 * first client span of the call: a request over the network is made inside of it.
 */
export const adoptModelSpan = <A, E, R>(self: MaybeSpan, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  self === undefined
    ? effect
    : Effect.withFiber((fiber) => {
        const tracer = fiber.getRef(Tracer.Tracer)
        const adopted = delegate(self, {
          end: () => {},
          // Its own attribute knows only the method that was called, not the shape that our port asks for.
          attribute: (key, value) => (key === "gen_ai.output.type" ? undefined : self.attribute(key, value))
        })
        let isAdopted = false
        return Effect.provideService(effect, Tracer.Tracer, {
          ...(tracer.context === undefined ? {} : { context: tracer.context }),
          span: (options) => {
            if (isAdopted || options.kind !== "client") return tracer.span(options)
            isAdopted = true
            return adopted
          }
        })
      })

/** `Toolkit.handle` writes the raw arguments on the current span; this span does not take them. */
export const withoutArguments = (self: Tracer.Span): Tracer.Span =>
  delegate(self, {
    attribute: (key, value) => (key === "tool" || key === "parameters" ? undefined : self.attribute(key, value))
  })

/** A span for code that needs one where none can be seen. It keeps nothing. */
export const unseen: Tracer.Span = {
  _tag: "Span",
  name: "unseen",
  spanId: "0000000000000000",
  traceId: "00000000000000000000000000000000",
  parent: Option.none(),
  annotations: Context.empty(),
  status: { _tag: "Started", startTime: 0n },
  attributes: new Map(),
  links: [],
  sampled: false,
  kind: "internal",
  end: () => {},
  attribute: () => {},
  event: () => {},
  addLinks: () => {}
}

const annotate = (self: MaybeSpan, attributes: Attributes): void => {
  if (self === undefined) return
  for (const key in attributes) if (attributes[key] !== undefined) self.attribute(key, attributes[key])
}

// -- runs --------------------------------------------------------------------------------------------------------------

/** A run of an agent or a workflow. */
export interface Invocation {
  /** The names of the runners from the root to this one. */
  readonly path: ReadonlyArray<string>
  readonly conversationId: string
  readonly description?: string | undefined
  readonly model?: string | undefined
  readonly output?: "text" | "json" | undefined
  /** What the run has used, and how many calls it has made by itself; `undefined` for a workflow. */
  readonly spent?: (() => Spent) | undefined
  /** Whether anything of the run was made, and not given again by a journal. */
  readonly isNew: () => boolean
}

interface Spent {
  readonly usage: Response.Usage
  readonly modelCalls: number
  readonly toolCalls: number
}

/**
 * Runs an agent or a workflow in its span, and counts it in the metrics of agents. The conventions know both as agents: what
 * a runner consists of is nothing that its caller should have to know.
 */
export const invoke = <A, E, R>(invocation: Invocation, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const name = invocation.path.at(-1)!
  const attributes = () => ({
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.agent.name": name,
    "gen_ai.agent.description": invocation.description,
    "gen_ai.conversation.id": invocation.conversationId,
    "gen_ai.request.model": invocation.model,
    "gen_ai.output.type": invocation.output,
    "troupe.path": invocation.path
  })
  return withSpan(`invoke_agent ${name}`, "internal", attributes, (span) =>
    Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock)
      const started = clock.currentTimeMillisUnsafe()
      const isKept = fiber.getRef(CurrentJournal) !== none
      return Effect.onExit(effect, (exit) =>
        Effect.map(isAsleep(exit), (asleep) => {
          const spent = invocation.spent?.()
          if (spent !== undefined && span !== undefined) {
            const { inputTokens, outputTokens } = spent.usage
            annotate(span, {
              "gen_ai.usage.input_tokens": inputTokens.total,
              "gen_ai.usage.output_tokens": outputTokens.total
            })
          }
          // What a durable run is given again, and what goes to sleep, is counted once, where it ends.
          if (asleep || (isKept && !invocation.isNew())) return
          const seconds = (clock.currentTimeMillisUnsafe() - started) / 1000
          const { inferenceCalls, toolCalls } = agentInstruments(name)
          agentDuration(name, errorOf(exit)).updateUnsafe(seconds, fiber.context)
          if (spent === undefined) return
          inferenceCalls.updateUnsafe(spent.modelCalls, fiber.context)
          toolCalls.updateUnsafe(spent.toolCalls, fiber.context)
        })
      )
    })
  )
}

/** Notes an agent's instructions on the span of its run, when content is asked for. */
export const instructions = (text: string): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    if (!fiber.getRef(CaptureContent)) return Effect.void
    return Effect.annotateCurrentSpan("gen_ai.system_instructions", JSON.stringify([{ type: "text", content: text }]))
  })

/** The type of what an exit failed with; `undefined` for a success, an interruption and a suspension, which are not errors. */
const errorOf = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return undefined
  const error = Cause.squash(exit.cause)
  return isSuspended(error) ? undefined : errorType(error)
}

// -- model calls -------------------------------------------------------------------------------------------------------

/** Which model is called, and where. */
export interface ModelCall {
  /** The service that is called; its instruments are kept with it. */
  readonly service: object
  readonly provider: string | undefined
  readonly model: string | undefined
  readonly server: { readonly address: string; readonly port: number | undefined } | undefined
  readonly conversationId: string
  readonly output: "text" | "json"
  readonly prompt: Prompt.Prompt
}

interface Answer {
  readonly content: ReadonlyArray<Response.AnyPart>
  readonly finishReason: Response.FinishReason
  readonly usage: Response.Usage
  readonly responseId: string | undefined
  readonly responseModel: string | undefined
  readonly answeredBy: AnsweredBy | undefined
}

const identityOf = ({ model, provider, server }: ModelCall): Attributes => ({
  "gen_ai.operation.name": "chat",
  "gen_ai.provider.name": provider,
  "gen_ai.request.model": model,
  "server.address": server?.address,
  "server.port": server?.port
})

/** Makes one model call in its span, and counts it in the metrics of inference. `onFirstChunk` is for a streamed answer. */
export const inference = <A extends Answer, E, R>(
  call: ModelCall,
  use: (span: MaybeSpan, onFirstChunk: () => void) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const attributes = () => ({
    ...identityOf(call),
    "gen_ai.conversation.id": call.conversationId,
    "gen_ai.output.type": call.output
  })
  return withSpan(call.model === undefined ? "chat" : `chat ${call.model}`, "client", attributes, (span) =>
    Effect.withFiber((fiber) => {
      const { context } = fiber
      const clock = fiber.getRef(Clock.Clock)
      const captures = span !== undefined && fiber.getRef(CaptureContent)
      const started = clock.currentTimeMillisUnsafe()
      const instruments = modelInstruments(call)
      if (captures) span.attribute("gen_ai.input.messages", messages(call.prompt.content))
      const seconds = () => (clock.currentTimeMillisUnsafe() - started) / 1000
      const onFirstChunk = () => {
        const first = seconds()
        annotate(span, { "gen_ai.request.stream": true, "gen_ai.response.time_to_first_chunk": first })
        instruments.firstChunk.updateUnsafe(first, context)
      }
      return Effect.matchEffect(use(span, onFirstChunk), {
        onFailure: (error) => {
          instruments.duration("", errorType(error)).updateUnsafe(seconds(), context)
          return Effect.fail(error)
        },
        onSuccess: (answer) => {
          if (span !== undefined) annotate(span, attributesOf(answer))
          if (captures) {
            const { content } = Prompt.fromResponseParts(answer.content)
            span.attribute("gen_ai.output.messages", messages(content))
          }
          instruments.duration("").updateUnsafe(seconds(), context)
          count(instruments, answer.usage, context)
          return Effect.succeed(answer)
        }
      })
    })
  )
}

const attributesOf = ({ answeredBy, finishReason, responseId, responseModel, usage }: Answer): Attributes => ({
  ...(answeredBy && { "gen_ai.provider.name": answeredBy.provider, "gen_ai.request.model": answeredBy.model }),
  "gen_ai.response.id": responseId,
  "gen_ai.response.model": responseModel,
  "gen_ai.response.finish_reasons": [finishReason],
  "gen_ai.usage.input_tokens": usage.inputTokens.total,
  "gen_ai.usage.output_tokens": usage.outputTokens.total,
  "gen_ai.usage.cache_read.input_tokens": usage.inputTokens.cacheRead,
  "gen_ai.usage.cache_write.input_tokens": usage.inputTokens.cacheWrite,
  "gen_ai.usage.reasoning.output_tokens": usage.outputTokens.reasoning
})

/** Messages in the shape of `gen_ai.input.messages` and `gen_ai.output.messages`: role, and parts by type. */
const messages = (content: ReadonlyArray<Prompt.Message>): string =>
  JSON.stringify(
    content.map((message) => ({
      role: message.role,
      parts:
        typeof message.content === "string"
          ? [{ type: "text", content: message.content }]
          : message.content.map((part) => messagePart(part))
    }))
  )

const messagePart = (part: Prompt.Part): unknown => {
  switch (part.type) {
    case "text":
    case "reasoning":
      return { type: part.type, content: part.text }
    case "tool-call":
      return { type: "tool_call", id: part.id, name: part.name, arguments: toJson(part.params) }
    case "tool-result":
      return { type: "tool_call_response", id: part.id, response: toJson(part.result) }
    case "file":
      return { type: "blob", mime_type: part.mediaType }
    default:
      return { type: part.type }
  }
}

// -- tool calls --------------------------------------------------------------------------------------------------------

/** One call of a tool. */
export interface ToolCall {
  readonly name: string
  readonly id: string
  readonly params: unknown
  readonly description: string | undefined
}

/** Runs a tool in its span. `causeOf` gives what a failure of the call comes from. */
export const executeTool = <A extends { readonly result: unknown }, E, R>(
  call: ToolCall,
  causeOf: (error: E) => unknown,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const attributes = () => ({
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": call.name,
    "gen_ai.tool.type": "function",
    "gen_ai.tool.call.id": call.id,
    "gen_ai.tool.description": call.description
  })
  return withSpan(`execute_tool ${call.name}`, "internal", attributes, (span) => {
    if (span === undefined) return effect
    return Effect.withFiber((fiber) => {
      const failed = Effect.mapError(effect, (error) => {
        const cause = causeOf(error)
        if (isSuspended(cause)) span.attribute(suspended, true)
        else span.attribute("error.type", errorType(cause))
        return error
      })
      if (!fiber.getRef(CaptureContent)) return failed
      span.attribute("gen_ai.tool.call.arguments", JSON.stringify(toJson(call.params)))
      return Effect.tap(failed, ({ result }) =>
        Effect.sync(() => span.attribute("gen_ai.tool.call.result", JSON.stringify(result)))
      )
    })
  })
}

/** Counts one execution of a tool. `failed` holds what it failed with. */
export const recordTool = (
  fiber: Fiber.Fiber<unknown, unknown>,
  tool: string,
  seconds: number,
  failed: { readonly cause: unknown } | undefined
): void => {
  const type = failed === undefined ? undefined : errorType(failed.cause)
  toolDuration(tool, type).updateUnsafe(seconds, fiber.context)
}

// -- requests to MCP servers -------------------------------------------------------------------------------------------

/** The attribute that names what a request is about. */
const subjects: Readonly<Record<string, string>> = {
  "tools/call": "gen_ai.tool.name",
  "prompts/get": "gen_ai.prompt.name",
  "resources/read": "mcp.resource.uri"
}

/** Sends a request to an MCP server in its span. `subject` is what it is about; empty for a request about nothing. */
export const mcpRequest = <A, E, R>(
  method: string,
  subject: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  // An address would make a name of its own for each resource.
  const name = method === "resources/read" || subject === "" ? method : `${method} ${subject}`
  const key = subjects[method]
  const attributes = () => ({ "mcp.method.name": method, ...(key === undefined ? {} : { [key]: subject }) })
  return withSpan(name, "client", attributes, () => effect)
}

// -- metrics -----------------------------------------------------------------------------------------------------------

const doublings = (first: number, count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, index) => Number((first * 2 ** index).toFixed(2)))

const histogram = (
  name: string,
  description: string,
  unit: string,
  boundaries: ReadonlyArray<number>,
  attributes: Attributes
): Metric.Histogram<number> =>
  Metric.histogram(name, { description, attributes: { unit, ...texts(attributes) }, boundaries })

const counter = (name: string, description: string, attributes: Attributes): Metric.Counter<number> =>
  Metric.counter(name, { description, attributes: { unit: "{token}", ...texts(attributes) }, incremental: true })

const texts = (attributes: Attributes): Record<string, string> => {
  const own: Record<string, string> = {}
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) own[key] = String(value)
  return own
}

/** Names and errors that have metrics of their own. Models and programs can make up more, which are counted together. */
const maxKnown = 1000
/** Stands for the names beyond {@link maxKnown}. */
const others = "_OTHER"

/** What is made once for each name, and for each type of error where that counts. */
type ByName<A> = (name: string, error?: string) => A

const byName = <A>(make: ByName<A>): ByName<A> => {
  const known = new Map<string, A>()
  const find: ByName<A> = (name, error) => {
    const key = error === undefined ? name : `${name}\n${error}`
    const found = known.get(key)
    if (found !== undefined) return found
    if (known.size >= maxKnown && name !== others) return find(others, error)
    const made = make(name, error)
    known.set(key, made)
    return made
  }
  return find
}

const toolDuration = byName((name, error) =>
  histogram("gen_ai.execute_tool.duration", "Duration of the execution of a tool", "s", doublings(0.01, 14), {
    "gen_ai.tool.name": name,
    "error.type": error
  })
)

const agentDuration = byName((name, error) =>
  histogram("gen_ai.invoke_agent.duration", "Duration of the run of an agent", "s", doublings(0.1, 13), {
    "gen_ai.agent.name": name,
    "error.type": error
  })
)

const agentInstruments = byName((name) => {
  const calls = (kind: string, what: string, unit: string) =>
    histogram(`gen_ai.invoke_agent.${kind}`, `Number of ${what} calls in the run of an agent`, unit, doublings(1, 8), {
      "gen_ai.agent.name": name
    })
  return {
    inferenceCalls: calls("inference_calls", "model", "{inference_call}"),
    toolCalls: calls("tool_calls", "tool", "{tool_call}")
  }
})

interface ModelInstruments {
  readonly provider: string | undefined
  readonly model: string | undefined
  readonly duration: ByName<Metric.Histogram<number>>
  readonly firstChunk: Metric.Histogram<number>
  readonly input: Metric.Counter<number>
  readonly output: Metric.Counter<number>
  readonly cacheRead: Metric.Counter<number>
  readonly cacheWrite: Metric.Counter<number>
  readonly reasoning: Metric.Counter<number>
}

/** By the service. Of one that goes under another name meanwhile, those of the latest name are kept. */
const models = new WeakMap<object, ModelInstruments>()

const modelInstruments = (call: ModelCall): ModelInstruments => {
  const found = models.get(call.service)
  if (found !== undefined && found.provider === call.provider && found.model === call.model) return found
  const identity = identityOf(call)
  // effect/ai's usage does not say which tokens are those of images or sounds.
  const tokens = (name: string, description: string) =>
    counter(`gen_ai.client.inference.usage.${name}`, description, { ...identity, "gen_ai.token.modality": "unknown" })
  const seconds = (name: string, description: string, error?: string) =>
    histogram(`gen_ai.client.inference.${name}`, description, "s", doublings(0.01, 14), {
      ...identity,
      "error.type": error
    })
  const made: ModelInstruments = {
    provider: call.provider,
    model: call.model,
    duration: byName((_, error) => seconds("duration", "Duration of a model call", error)),
    firstChunk: seconds("time_to_first_chunk", "Time until the first chunk of a streamed answer"),
    input: tokens("input_tokens", "Number of input tokens used, cached ones included"),
    output: tokens("output_tokens", "Number of output tokens used, those of reasoning included"),
    cacheRead: tokens("cache_read.input_tokens", "Number of input tokens read from the provider's cache"),
    cacheWrite: tokens("cache_write.input_tokens", "Number of input tokens written to the provider's cache"),
    reasoning: tokens("reasoning.output_tokens", "Number of output tokens used for reasoning")
  }
  models.set(call.service, made)
  return made
}

const count = (instruments: ModelInstruments, usage: Response.Usage, context: Context.Context<never>): void => {
  const { inputTokens, outputTokens } = usage
  add(instruments.input, inputTokens.total, context)
  add(instruments.output, outputTokens.total, context)
  add(instruments.cacheRead, inputTokens.cacheRead, context)
  add(instruments.cacheWrite, inputTokens.cacheWrite, context)
  add(instruments.reasoning, outputTokens.reasoning, context)
}

const add = (metric: Metric.Counter<number>, tokens: number | undefined, context: Context.Context<never>): void => {
  if (tokens !== undefined && tokens > 0) metric.updateUnsafe(tokens, context)
}
