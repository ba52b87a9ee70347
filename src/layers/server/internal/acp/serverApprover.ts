/** Asks the person at the editor whether a tool may be called. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { type Approver, CurrentApprover, type Decision, type Request } from "../../../../services/Approver.ts"
import type { RunEvent } from "../../../../RunEvent.ts"
import type { Peer } from "./rpc.ts"
import { Permitted, reader } from "./schema.ts"
import type { Session } from "./serverSessions.ts"
import { callId, pendingCall, titleOf } from "./updates.ts"

/** The approver of a turn. */
export interface Asking {
  readonly approver: Approver
  /** Is called with each event when it was sent: a question comes after the call that it is about. */
  readonly sent: (event: RunEvent) => Effect.Effect<void>
}

const permitted = reader(Permitted)

const options = (tool: string) => [
  { optionId: "allow", name: "Allow", kind: "allow_once" },
  { optionId: "always", name: `Allow ${tool} in this session`, kind: "allow_always" },
  { optionId: "reject", name: "Reject", kind: "reject_once" }
]

/** How long a question waits for the updates before it. */
const patience = "5 seconds"

const approved: Decision = { _tag: "Approved" }

/** Makes the approver of a turn. That of the program, where there is one, decides first; what it leaves open is asked here. */
export const make = (peer: Pick<Peer<never>, "request">, session: Session): Effect.Effect<Asking> =>
  Effect.map(CurrentApprover, (outer) => {
    const shown = new Map<string, Deferred.Deferred<string>>()
    const shownAs = (approvalId: string) => {
      const known = shown.get(approvalId) ?? Deferred.makeUnsafe<string>()
      shown.set(approvalId, known)
      return known
    }
    const ask = (request: Request): Effect.Effect<Decision> =>
      Effect.gen(function* () {
        const { hints, params, path, server, tool } = request
        const key = `${server ?? ""}/${tool}`
        if (session.allowed.has(key)) return approved
        const id = yield* Effect.timeoutOption(Deferred.await(shownAs(request.id)), patience)
        const toolCallId = id._tag === "Some" ? id.value : request.toolCallId
        const kind = hints.readOnly ? "read" : "other"
        const { outcome } = yield* peer
          .request("session/request_permission", {
            sessionId: session.id,
            toolCall: pendingCall(toolCallId, titleOf(path, tool, params), params, kind),
            options: options(tool)
          })
          .pipe(
            Effect.flatMap(permitted),
            Effect.orElseSucceed(() => ({ outcome: { outcome: "cancelled", optionId: undefined } }))
          )
        if (outcome.outcome !== "selected") return { _tag: "Denied", reason: "The user did not decide." }
        if (outcome.optionId === "always") session.allowed.add(key)
        const isAllowed = outcome.optionId === "always" || outcome.optionId === "allow"
        return isAllowed ? approved : { _tag: "Denied", reason: "The user did not approve." }
      })
    return {
      approver: {
        rule: (request, declared, about) => outer?.rule(request, declared, about) ?? (declared ? "ask" : "allow"),
        decide: (request) =>
          outer === undefined
            ? ask(request)
            : Effect.flatMap(outer.decide(request), (decision) =>
                decision._tag === "Later" ? ask(request) : Effect.succeed(decision)
              )
      },
      sent: (event) =>
        event._tag === "ApprovalRequested"
          ? Effect.sync(() => void Deferred.doneUnsafe(shownAs(event.approvalId), Effect.succeed(callId(event))))
          : Effect.void
    }
  })
