/** The services by which a server's question is answered: those of the call that it belongs to. */
import * as Context from "effect/Context"
import { CurrentApprover, floorKey, isFloor, makeFloor } from "../../../services/Approver.ts"

/** The services of the fiber that makes a call. */
export interface Call {
  readonly context: Context.Context<never>
}

/**
 * The services that a question's answer is given with, over those of the connection. `calls` are those that the question may
 * belong to: with more than one, only what all of them have in common counts, so that no call is answered with what belongs
 * to another one. The approvers and floors of all calls are kept, so that each can still deny the question.
 */
export const contextOf = (calls: ReadonlyArray<Call>): Context.Context<never> => {
  const [first, ...others] = calls.map(({ context }) => context.mapUnsafe)
  if (first === undefined) return Context.empty()
  if (others.length === 0) return calls[0]!.context
  const services = new Map<string, unknown>()
  for (const [key, service] of first) {
    if (others.every((other) => other.get(key) === service)) services.set(key, service)
  }
  for (const { context } of calls) {
    for (const [key, service] of context.mapUnsafe) if (isFloor(service)) services.set(key, service)
    const approver = Context.get(context, CurrentApprover)
    if (approver !== undefined && !services.has(CurrentApprover.key)) services.set(floorKey().key, makeFloor(approver))
  }
  return Context.makeUnsafe(services)
}
