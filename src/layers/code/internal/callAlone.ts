/** A call of a tool by a program that no agent runs. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Any as AgentTool } from "../../../AgentTool.ts"
import { toJson } from "../../../internal/json.ts"
import { misfit } from "../../../internal/servedTool.ts"
import { failureToJson } from "../../../internal/toolFunction.ts"
import type { Calls, Outcome } from "./program.ts"

const never = Effect.die(new Error("a call that no agent makes does not wait"))

/** How a program that no agent runs waits: it never does. */
export const alone: Omit<Calls<never, never>, "call"> = {
  kept: undefined,
  resume: () => Effect.void,
  refuse: () => never,
  suspend: () => never,
  beforeInterrupt: () => Effect.void,
  received: () => {}
}

const context = {
  runId: "program",
  rootId: "program",
  path: [],
  conversationId: "program",
  toolCallId: "program",
  idempotencyKey: "",
  step: 1,
  progress: () => Effect.void
}

const refused: Outcome = {
  result: { error: "not called: it asks for approval, which only an agent can ask for; use CodeMode.feature" },
  isFailure: true
}

/** Calls a tool with JSON. Its failure is an outcome; interruption interrupts it. */
export const callAlone = (entry: AgentTool, params: Schema.Json): Effect.Effect<Outcome> => {
  const { tool } = entry
  if (tool.needsApproval !== undefined && tool.needsApproval !== false) return Effect.succeed(refused)
  const parameters = tool.parametersSchema as Schema.Codec<unknown, unknown>
  const success = tool.successSchema as Schema.Codec<unknown, unknown>
  const called = Schema.decodeUnknownEffect(parameters)(params).pipe(
    Effect.mapError(misfit),
    Effect.flatMap((decoded) => entry.execute(decoded, context, () => {}) as Effect.Effect<unknown, unknown>),
    Effect.flatMap((result) => Effect.mapError(Schema.encodeUnknownEffect(success)(result), misfit)),
    Effect.map((result): Outcome => ({ result: toJson(result), isFailure: false }))
  )
  return Effect.catchCause(called, (cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.failCause(cause as Cause.Cause<never>)
      : Effect.succeed<Outcome>({ result: failureToJson(Cause.squash(cause)), isFailure: true })
  )
}
