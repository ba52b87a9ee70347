/**
 * The port to whoever says if a tool may run: requests, decisions, and where agents find who decides. No I/O here; the
 * public module with its Layers is `layers/approvals/Approvals.ts`.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** What is asked: may this tool be called with these arguments? Plain JSON, so that it can be sent to whoever decides. */
export const Request = Schema.Struct({
  /** Names the request; the same after a run was resumed. */
  id: Schema.String,
  /** The names of the runners from the root to the agent that asks. */
  path: Schema.Array(Schema.String),
  step: Schema.Int,
  toolCallId: Schema.String,
  tool: Schema.String,
  /** The MCP server that the tool belongs to, by the name that the program gave it; absent for the program's own tools. */
  server: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  /** The arguments, as the model gave them. */
  params: Schema.Json,
  /** What the tool says of itself; see the annotations of `effect/ai` Tool and of MCP. */
  hints: Schema.Struct({
    readOnly: Schema.Boolean,
    destructive: Schema.Boolean,
    idempotent: Schema.Boolean,
    openWorld: Schema.Boolean
  })
})
/** What is asked: may this tool be called with these arguments? */
export type Request = typeof Request.Type

/** The tool runs, with the arguments of the model or with others. */
export interface Approved {
  readonly _tag: "Approved"
  readonly params?: Schema.Json | undefined
}
/** The tool does not run; the model is told why. */
export interface Denied {
  readonly _tag: "Denied"
  readonly reason: string
}
/** Nobody can say now: the run is suspended, to be resumed when somebody has. */
export interface Later {
  readonly _tag: "Later"
}
/** What became of a request. */
export type Decision = Approved | Denied | Later

/** Whoever decides. */
export interface Approver {
  /** Whether a call is put to `decide`; `declared` is what the tool itself says. A reason denies it unasked. */
  readonly rule: (request: Request, declared: boolean) => "allow" | "ask" | Denied
  readonly decide: (request: Request) => Effect.Effect<Decision>
}

/** Who decides for agents that run here. By default nobody does: a tool that needs approval suspends the run. */
export const CurrentApprover: Context.Reference<Approver | undefined> = Context.Reference<Approver | undefined>(
  "troupe/Approvals",
  { defaultValue: () => undefined }
)
