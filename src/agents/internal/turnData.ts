/** Turns and tools as middleware has them, plain data, and as the loop has them. */
import * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Response from "effect/ai/Response"
import { memoize } from "effect/Function"
import type * as JsonSchema from "effect/JsonSchema"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { toJson } from "../../internal/json.ts"
import { Deferred, markOf } from "../../internal/toolMarks.ts"
import type * as Middleware from "../../Middleware.ts"
import { type AnyPart, type Call as LoopCall, Collector, type Turn } from "./turnCollector.ts"

const encodePart = Schema.encodeUnknownSync(Response.StreamPart())

/** A part of an answer as JSON; a whole text or thought as one delta. */
export const partOf = (part: AnyPart): Middleware.Part => {
  switch (part.type) {
    case "text":
      return { type: "text-delta", id: "0", delta: part.text }
    case "reasoning":
      return { type: "reasoning-delta", id: "0", delta: part.text }
    case "text-delta":
    case "reasoning-delta":
      return { type: part.type, id: part.id, delta: part.delta }
    default:
      return Response.isPart(part) ? encodePart(part) : (part as Middleware.Part)
  }
}

/** A class of any object that its constructor is given. */
const AnyObject = function (object: object) {
  return object
} as unknown as new (object: object) => object

/**
 * Marks a turn that middleware is given, and its parts, which a changed copy of it still has, with the turn of the loop. A private
 * field is in no copy and is seen nowhere. A WeakMap would cost more than everything else that middleware is given.
 */
class Original extends AnyObject {
  readonly #turn: Turn

  constructor(object: object, turn: Turn) {
    super(object)
    this.#turn = turn
  }

  static of(object: object): Turn | undefined {
    return #turn in object ? object.#turn : undefined
  }
}

const marked = <A extends object>(object: A, turn: Turn): A => {
  void new Original(object, turn)
  return object
}

/** The turn of the loop that a turn of middleware is, unless it was changed or made by one. */
export const originalOf = (turn: Middleware.Turn): Turn | undefined => Original.of(turn)

const reasoningOf = ({ content }: Turn): string => {
  let text = ""
  for (const part of content) if (part.type === "reasoning") text += part.text
  return text
}

/** The turn as middleware has it. */
export const toData = (turn: Turn): Middleware.Turn => {
  const parts: Array<Response.PartEncoded> = []
  for (const part of turn.content) {
    const other = otherOf(part, turn)
    if (other !== undefined) parts.push(other)
  }
  const data: Middleware.Turn = {
    text: turn.text,
    reasoning: reasoningOf(turn),
    toolCalls: turn.calls.map(({ id, name, params }) => ({ id, name, params: toJson(params) })),
    finishReason: turn.finishReason,
    usage: turn.usage,
    parts: marked(parts, turn)
  }
  return marked(data, turn)
}

/** A part that is in no other field of a turn, or what a provider or the loop has put on one that is. */
const otherOf = (part: Response.AnyPart, { calls }: Turn): Response.PartEncoded | undefined => {
  const isOurs = part.type === "tool-call" && part.providerExecuted !== true
  if (part.type !== "text" && part.type !== "reasoning" && !isOurs) {
    return encodePart(part) as Response.PartEncoded
  }
  const refused = isOurs ? calls.find(({ id }) => id === part.id)?.refused : undefined
  if (refused === undefined && isEmpty(part.metadata)) return undefined
  const metadata = toJson(refused === undefined ? part.metadata : { ...part.metadata, [own]: { refused } }) as never
  return part.type === "tool-call"
    ? { type: "tool-call", id: part.id, name: part.name, params: {}, providerExecuted: false, metadata }
    : { type: part.type, text: "", metadata }
}

const isEmpty = (object: object): boolean => {
  for (const key in object) if (Object.hasOwn(object, key)) return false
  return true
}

/**
 * The turn of the loop that a turn of middleware says. Parts of the original stay in their order, with what providers have put
 * on them. Throws for parts that are not parts, and gives `undefined` for a turn that is too large.
 */
export const fromData = (
  data: Middleware.Turn,
  hasCall: (id: string) => boolean,
  maxAnswerSize: number
): Turn | undefined => {
  const collector = new Collector(hasCall, maxAnswerSize)
  const original = Original.of(data.parts)
  const parts = original === undefined ? fromParts(data) : fromOriginal(data, original)
  const isWhole = parts.every((part) => collector.push(part))
  collector.push({ type: "finish", reason: data.finishReason, usage: data.usage, response: undefined })
  if (!isWhole) return undefined
  const { answeredBy, responseId, responseModel } = original ?? {}
  const turn = collector.turn()
  const calls = refusedAgain(turn.calls, parts.filter(isOwnCall), data.parts)
  return { ...turn, calls, responseId, responseModel, answeredBy, notes: data.notes }
}

/** The key of what the loop puts on a call. */
const own = "troupe"

const isOwnCall = (part: AnyPart | Response.PartEncoded): part is Response.ToolCallPartEncoded =>
  part.type === "tool-call" && part.providerExecuted !== true

/** A call that the loop refused, because its name or its arguments were cut, is refused in a changed turn too. */
const refusedAgain = (
  calls: ReadonlyArray<LoopCall>,
  given: ReadonlyArray<Response.ToolCallPartEncoded>,
  parts: ReadonlyArray<Response.PartEncoded>
): ReadonlyArray<LoopCall> => {
  const refusals = new Map(parts.filter(isOwnCall).map((part) => [`${part.id} ${part.name}`, refusalOf(part)]))
  if (refusals.size === 0) return calls
  return calls.map((call, index) => {
    const { id, name } = given[index]!
    const refused = call.refused ?? refusals.get(`${id} ${name}`)
    return refused === undefined ? call : { ...call, refused }
  })
}

const refusalOf = ({ metadata }: Response.ToolCallPartEncoded): string | undefined => {
  const noted = (metadata as Readonly<Record<string, unknown>> | undefined)?.[own]
  return Predicate.hasProperty(noted, "refused") && typeof noted.refused === "string" ? noted.refused : undefined
}

type Call = Middleware.Turn["toolCalls"][number]

const callPart = (call: Call, metadata: Response.ProviderMetadata | undefined): AnyPart => ({
  type: "tool-call",
  ...call,
  providerExecuted: false,
  ...(metadata === undefined ? {} : { metadata })
})

const wordsPart = (type: "text" | "reasoning", text: string): AnyPart =>
  type === "text" ? { type, text } : { type, text }

/** The parts of the original, with other texts and calls where they are others now. */
const fromOriginal = (data: Middleware.Turn, original: Turn): ReadonlyArray<AnyPart> => {
  const texts = { text: [data.text, original.text], reasoning: [data.reasoning, reasoningOf(original)] } as const
  const written = new Set<string>()
  const left = new Map(data.toolCalls.map((call) => [call.id, call]))
  const kept = original.content.flatMap((part): ReadonlyArray<AnyPart> => {
    if (part.type === "text" || part.type === "reasoning") {
      const [now, before] = texts[part.type]
      if (now === before) {
        written.add(part.type)
        return [part]
      }
      // The first of them has all of the new text.
      const text = written.has(part.type) ? "" : now
      written.add(part.type)
      return text === "" ? [] : [wordsPart(part.type, text)]
    }
    if (part.type !== "tool-call" || part.providerExecuted === true) return [part]
    const call = left.get(part.id)
    left.delete(part.id)
    return call === undefined ? [] : [callPart(call, part.metadata)]
  })
  const added = (["reasoning", "text"] as const).flatMap((type): ReadonlyArray<AnyPart> => {
    const text = data[type]
    return written.has(type) || text === "" ? [] : [wordsPart(type, text)]
  })
  return [...added, ...kept, ...[...left.values()].map((call) => callPart(call, undefined))]
}

/** Thoughts, texts and calls, each with what was put on them, and then everything else. */
const fromParts = (data: Middleware.Turn): ReadonlyArray<AnyPart> => {
  const marks = { text: [] as Array<AnyPart>, reasoning: [] as Array<AnyPart> }
  const calls = new Map<string, Response.ProviderMetadata>()
  const others: Array<AnyPart> = []
  for (const part of data.parts) {
    if (part.type === "text" || part.type === "reasoning") {
      const { length } = marks[part.type]
      // The first mark takes the whole text; others go back to the provider as they are.
      marks[part.type].push(length === 0 ? { ...part, text: data[part.type] } : part)
    } else if (isOwnCall(part)) {
      const { [own]: _own, ...metadata } = (part.metadata ?? {}) as Response.ProviderMetadata
      calls.set(part.id, metadata)
    } else others.push(part)
  }
  const texts = (["reasoning", "text"] as const).flatMap((type): ReadonlyArray<AnyPart> =>
    marks[type].length > 0 || data[type] === "" ? marks[type] : [wordsPart(type, data[type])]
  )
  return [...texts, ...data.toolCalls.map((call) => callPart(call, calls.get(call.id))), ...others]
}

type Shown = Toolkit.WithHandler<Record<string, Tool.Any>>

const tools = new WeakMap<Middleware.ShownTool, Tool.Any>()

/** The tools as middleware has them. The same list for the same tools. */
export const toolsOf = (shown: Shown | undefined): ReadonlyArray<Middleware.ShownTool> =>
  shown === undefined ? noTools : listOf(shown)

const listOf = memoize((shown: Shown): ReadonlyArray<Middleware.ShownTool> =>
  Object.values(shown.tools).map((tool) => {
    const data: Middleware.ShownTool = {
      name: tool.name,
      description: tool.description ?? "",
      parameters: Tool.isProviderDefined(tool) ? {} : toJson(Tool.getJsonSchema(tool)),
      ...(markOf(tool, Deferred) ? { isDeferred: true as const } : {})
    }
    tools.set(data, tool)
    return data
  })
)

const noTools: ReadonlyArray<Middleware.ShownTool> = []

/** What a model is shown of a list of tools. One that was changed is shown as it is now. */
export const toShown = (list: ReadonlyArray<Middleware.ShownTool>, shown: Shown | undefined): Shown | undefined => {
  if (list === toolsOf(shown) || shown === undefined) return shown
  if (list.length === 0) return undefined
  const now = list.map((data) => {
    return [data.name, tools.get(data) ?? madeOf(data)] as const
  })
  return { ...shown, tools: Object.fromEntries(now) }
}

const madeOf = ({ description, isDeferred, name, parameters }: Middleware.ShownTool): Tool.Any =>
  Tool.dynamic(name, { description, parameters: parameters as JsonSchema.JsonSchema }).annotate(
    Deferred,
    isDeferred === true
  )
