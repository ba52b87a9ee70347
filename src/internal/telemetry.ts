/**
 * Spans and metrics after the OpenTelemetry GenAI semantic conventions, through Effect's own tracer and metrics, so that
 * any exporter takes them as they are.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { toJson } from "./json.ts"

/** Span attributes by their conventional names; `undefined` ones are left out. */
export type Attributes = Readonly<Record<string, unknown>>

/**
 * Runs `use` in a span. A failure ends the span with its tag alone (`error.type`): messages of errors can hold content
 * of the conversation, which spans carry only when asked.
 */
export const span = <A, E, R>(
  name: string,
  kind: Tracer.SpanKind,
  attributes: Attributes,
  use: (span: Tracer.Span) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan>> =>
  Effect.flatMap(Effect.makeSpan(name, { kind }), (self) => {
    annotate(self, attributes)
    return Effect.onExit(Effect.provideService(use(self), Tracer.ParentSpan, self), (exit) =>
      Effect.map(Clock.currentTimeNanos, (now) => {
        if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
          // The effect in the span may have set a more specific kind than its failure has.
          const known = self.attributes.get("error.type")
          const type = typeof known === "string" ? known : errorType(Cause.squash(exit.cause))
          self.attribute("error.type", type)
          self.end(now, Exit.fail(new SpanFailure(type)))
        } else {
          self.end(now, Exit.isFailure(exit) ? Exit.interrupt() : Exit.void)
        }
      })
    )
  }) as Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan>>

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

/** `effect/ai` opens a span of its own for each model call; here it is given ours, so that there is one, well named. */
export const adoptModelSpan = <A, E, R>(self: Tracer.Span, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const tracer = fiber.getRef(Tracer.Tracer)
    const adopted = delegate(self, {
      end: () => {},
      // Its own attribute knows only the method that was called, not the shape that our port asks for.
      attribute: (key, value) => (key === "gen_ai.output.type" ? undefined : self.attribute(key, value))
    })
    return Effect.provideService(effect, Tracer.Tracer, {
      ...(tracer.context === undefined ? {} : { context: tracer.context }),
      span: (options) => (options.name.startsWith("LanguageModel.") ? adopted : tracer.span(options))
    })
  })

/** `Toolkit.handle` writes the raw arguments on the current span; this span does not take them. */
export const withoutArguments = (self: Tracer.Span): Tracer.Span =>
  delegate(self, {
    attribute: (key, value) => (key === "tool" || key === "parameters" ? undefined : self.attribute(key, value))
  })

/** Usage as attributes of a span. */
export const usageAttributes = (usage: Response.Usage): Attributes => ({
  "gen_ai.usage.input_tokens": usage.inputTokens.total,
  "gen_ai.usage.output_tokens": usage.outputTokens.total,
  "gen_ai.usage.cache_read.input_tokens": usage.inputTokens.cacheRead,
  "gen_ai.usage.cache_creation.input_tokens": usage.inputTokens.cacheWrite,
  "gen_ai.usage.reasoning.output_tokens": usage.outputTokens.reasoning
})

/** Puts every attribute that is not `undefined` on the span. */
export const annotate = (self: Tracer.Span, attributes: Attributes): void => {
  for (const key in attributes) if (attributes[key] !== undefined) self.attribute(key, attributes[key])
}

/**
 * Messages in the shape of `gen_ai.input.messages` and `gen_ai.output.messages`: role, and parts by type. Those of an
 * answer have to say why it ended.
 */
export const messages = (content: ReadonlyArray<Prompt.Message>, finishReason?: Response.FinishReason): string =>
  JSON.stringify(
    content.map((message) => ({
      role: message.role,
      parts:
        typeof message.content === "string"
          ? [{ type: "text", content: message.content }]
          : message.content.map((part) => messagePart(part)),
      finish_reason: finishReason === undefined ? undefined : conventionalReason(finishReason)
    }))
  )

const conventionalReason = (reason: Response.FinishReason): string =>
  reason === "tool-calls" ? "tool_call" : reason === "content-filter" ? "content_filter" : reason

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

const tokenUsage = () =>
  Metric.histogram("gen_ai.client.token.usage", {
    description: "Number of input and output tokens used",
    attributes: { unit: "{token}" },
    boundaries: [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]
  })
const operationDuration = () =>
  Metric.histogram("gen_ai.client.operation.duration", {
    description: "GenAI operation duration",
    attributes: { unit: "s" },
    boundaries: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
  })

interface Instruments {
  readonly duration: Metric.Histogram<number>
  readonly input: Metric.Histogram<number>
  readonly output: Metric.Histogram<number>
}

// Few combinations of attributes ever occur, and making a metric of each call's own costs more than the call's span.
const instruments = new Map<string, Instruments>()
const maxInstruments = 1000

// Each has a histogram of its own: Effect's remembers its key for the attributes of the last update only.
const makeInstruments = (attributes: Attributes): Instruments => {
  const own: Record<string, string> = {}
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) own[key] = String(value)
  const tokens = (type: string) => Metric.withAttributes(tokenUsage(), { ...own, "gen_ai.token.type": type })
  return {
    duration: Metric.withAttributes(operationDuration(), own),
    input: tokens("input"),
    output: tokens("output")
  }
}

const instrumentsOf = (attributes: Attributes): Instruments => {
  let id = ""
  for (const key in attributes) if (attributes[key] !== undefined) id += `${key}\n${String(attributes[key])}\n`
  let found = instruments.get(id)
  if (found === undefined) {
    found = makeInstruments(attributes)
    if (instruments.size < maxInstruments) instruments.set(id, found)
  }
  return found
}

/** Counts one model call in the conventional metrics of a context. Attributes that are `undefined` are left out. */
export const recordOperation = (
  context: Context.Context<never>,
  attributes: Attributes,
  seconds: number,
  usage: Response.Usage | undefined
): void => {
  const { duration, input, output } = instrumentsOf(attributes)
  duration.updateUnsafe(seconds, context)
  if (usage?.inputTokens.total !== undefined) input.updateUnsafe(usage.inputTokens.total, context)
  if (usage?.outputTokens.total !== undefined) output.updateUnsafe(usage.outputTokens.total, context)
}
