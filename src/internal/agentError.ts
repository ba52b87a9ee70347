/** The errors of agents, as one type: for the agents themselves, and for what stands around them. */
import type * as RunError from "../RunError.ts"

/** The errors of an agent's run. Instructions, `stopWhen`, features and middleware can add errors of their own. */
export type AgentError =
  | RunError.ModelError
  | RunError.MaxStepsExceeded
  | RunError.MaxToolCallsExceeded
  | RunError.InvalidOutput
  | RunError.OutputTruncated
  | RunError.ModelRefused
  | RunError.EmptyTurn
  | RunError.ToolError
  | RunError.RunSuspended
  | RunError.InvalidApproval
  | RunError.CannotResume
  | RunError.InvalidTranscript
  | RunError.AsyncToolError
  | RunError.MiddlewareError
  | RunError.MissingModel
  | RunError.MissingSyncEdge
  | RunError.NestedSyncEdge
  | RunError.StuckSyncEdge
  | RunError.ThreadsForbidden
