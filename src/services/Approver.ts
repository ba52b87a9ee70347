/**
 * The port to an approver: requests, decisions, and how requests are signed. `layers/approvals/Approvals.ts` has the
 * Layers.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/** May this tool be called with these arguments? Plain JSON, so that it can be sent to another process. */
export const Request = Schema.Struct({
  /** Identifies the request. A run that is resumed and asks again uses the same id. */
  id: Schema.String,
  /** The names of the runners from the root to the agent that asks. */
  path: Schema.Array(Schema.String),
  step: Schema.Int,
  toolCallId: Schema.String,
  tool: Schema.String,
  /** The MCP server that the tool belongs to, by the name that the program gave it; absent for the program's own tools. */
  server: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  /** The arguments that the tool will be called with. */
  params: Schema.Json,
  /** Hints about the tool; see the annotations of `effect/ai` Tool and of MCP. */
  hints: Schema.Struct({
    readOnly: Schema.Boolean,
    destructive: Schema.Boolean,
    idempotent: Schema.Boolean,
    openWorld: Schema.Boolean
  }),
  /**
   * SHA-256 of the tool (server, name, description, parameters, hints) and of the arguments. An approval counts for the
   * call with this fingerprint and for no other.
   */
  fingerprint: Schema.String
})
/** May this tool be called with these arguments? */
export type Request = typeof Request.Type

/** The tool runs, with the arguments of the model or with others. */
export interface Approved {
  readonly _tag: "Approved"
  readonly params?: Schema.Json | undefined
}
/** The tool does not run; the model gets the reason. */
export interface Denied {
  readonly _tag: "Denied"
  readonly reason: string
}
/** The decision is made later: the run is suspended, and resumed with the decision. */
export interface Later {
  readonly _tag: "Later"
}
/** The outcome of a request. */
export type Decision = Approved | Denied | Later

/** The schema of decisions, for those that come from outside. */
export const Decision = Schema.Union([
  Schema.TaggedStruct("Approved", { params: Schema.optional(Schema.Json) }),
  Schema.TaggedStruct("Denied", { reason: Schema.String }),
  Schema.TaggedStruct("Later", {})
])

/** A tool whose result is in a conversation. `hints` is unset for a tool that the agent does not have any more. */
export interface ReadTool {
  readonly tool: string
  readonly server: string | undefined
  readonly hints: Request["hints"] | undefined
  /** The tools whose results can be in that one: those of an agent that is a tool, and those that a program can call. */
  readonly holds: ReadonlyArray<Omit<ReadTool, "holds">>
}

/** What is known of the conversation up to a call. */
export interface About {
  /** Whether the conversation has a result of a tool that `fits`. */
  readonly hasResultOf: (fits: (tool: ReadTool) => boolean) => boolean
}

/** Decides on calls. */
export interface Approver {
  /**
   * Whether `decide` is asked about a call; `declared` is the tool's own answer. A `Denied` denies it without asking. `about`
   * is unset where there is no conversation to know of.
   */
  readonly rule: (request: Request, declared: boolean, about?: About) => "allow" | "ask" | Denied
  readonly decide: (request: Request) => Effect.Effect<Decision>
}

/** Decides for the agents that run here. Default: none, and a tool that needs approval suspends the run. */
export const CurrentApprover: Context.Reference<Approver | undefined> = Context.Reference<Approver | undefined>(
  "troupe/Approvals",
  { defaultValue: () => undefined }
)

const FloorTypeId = "~troupe/Approvals/Floor"

/** Counts together with the approver and with every other floor. */
export interface Floor extends Approver {
  readonly [FloorTypeId]: typeof FloorTypeId
}

/** Makes a floor of an approver. */
export const makeFloor = (approver: Approver): Floor => ({ ...approver, [FloorTypeId]: FloorTypeId })

/**
 * A key for one floor. Each floor has a key of its own, so that a floor adds to those around it and does not replace them.
 */
export const floorKey = (): Context.Reference<Floor | undefined> =>
  Context.Reference<Floor | undefined>(`troupe/Approvals/Floor/${globalThis.crypto.randomUUID()}`, {
    defaultValue: () => undefined
  })

/** Every floor that is provided. */
export const floorsOf = (context: Context.Context<never>): ReadonlyArray<Floor> => {
  const floors: Array<Floor> = []
  for (const service of context.mapUnsafe.values()) if (isFloor(service)) floors.push(service)
  return floors
}

/** Tests for a floor. */
export const isFloor = (service: unknown): service is Floor => Predicate.hasProperty(service, FloorTypeId)

/** Signs what leaves the program in a transcript, with a secret that the program alone knows. */
export interface Signing {
  readonly sign: (payload: Schema.Json) => string
  /** True for a signature that {@link Signing.sign} made of the same payload. */
  readonly verify: (payload: Schema.Json, signature: string) => boolean
}

/** Signs the requests of suspended runs. Default: they are not signed. */
export const CurrentSigning: Context.Reference<Signing | undefined> = Context.Reference<Signing | undefined>(
  "troupe/Approvals/Signing",
  { defaultValue: () => undefined }
)
