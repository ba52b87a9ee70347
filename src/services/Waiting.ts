/** What a suspended run waits for: approvals, results of tools that the caller runs, and outside events. All is plain JSON. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Request } from "./Approver.ts"

/** The run waits until someone decides whether a tool may be called. The answer is a decision of `Approvals`. */
export const Approval = Schema.Struct({ kind: Schema.Literal("approval"), ...Request.fields })
/** The run waits until someone decides whether a tool may be called. The answer is a decision of `Approvals`. */
export interface Approval extends Schema.Schema.Type<typeof Approval> {}

/** The run waits for the result of a tool that the caller runs; see `AgentTool.client`. The answer is that result. */
export const ClientTool = Schema.Struct({
  kind: Schema.Literal("client-tool"),
  /** Identifies what is waited for. A run that goes on and waits again uses the same id. */
  id: Schema.String,
  /** The names of the runners from the root to the agent that called the tool. */
  path: Schema.Array(Schema.String),
  step: Schema.Int,
  toolCallId: Schema.String,
  tool: Schema.String,
  description: Schema.optionalKey(Schema.String),
  /** The arguments to run the tool with. */
  params: Schema.Json
})
/** The run waits for the result of a tool that the caller runs; see `AgentTool.client`. The answer is that result. */
export interface ClientTool extends Schema.Schema.Type<typeof ClientTool> {}

/** The run waits for something that happens outside of it; see `Runner.event`. The answer is the event's value. */
export const OutsideEvent = Schema.Struct({
  kind: Schema.Literal("event"),
  /** Identifies what is waited for. A run that goes on and waits again uses the same id. */
  id: Schema.String,
  /** The names of the runners from the root to the one that waits. */
  path: Schema.Array(Schema.String),
  /** The name of the event. */
  name: Schema.String,
  description: Schema.optionalKey(Schema.String)
})
/** The run waits for something that happens outside of it; see `Runner.event`. The answer is the event's value. */
export interface OutsideEvent extends Schema.Schema.Type<typeof OutsideEvent> {}

/** One thing that a suspended run waits for. */
export const WaitingFor = Schema.Union([Approval, ClientTool, OutsideEvent])
/** One thing that a suspended run waits for. */
export type WaitingFor = Approval | ClientTool | OutsideEvent

/**
 * How runs wait here for the results of tools that their caller runs, and for events, without ending: a durable engine provides it.
 * Default: none, and a run that waits is suspended, which ends it.
 */
export const CurrentWaiting: Context.Reference<((waiting: ClientTool) => Effect.Effect<Schema.Json>) | undefined> =
  Context.Reference<((waiting: ClientTool) => Effect.Effect<Schema.Json>) | undefined>("troupe/Waiting", {
    defaultValue: () => undefined
  })

/** What it is, in a few words, with its id. */
export const describe = (waiting: WaitingFor): string => {
  switch (waiting.kind) {
    case "approval":
      return `approval of ${waiting.tool} (${waiting.id})`
    case "client-tool":
      return `the result of ${waiting.tool} (${waiting.id})`
    case "event":
      return `the event ${waiting.name} (${waiting.id})`
  }
}
