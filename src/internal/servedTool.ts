/** The interface of a tool in a worker thread: JSON in, JSON out, and the run that it works for. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import { CurrentRun, type RunInfo } from "../services/CurrentRun.ts"
import { encodeError } from "./issues.ts"
import { toJson } from "./json.ts"
import { failureToJson } from "./toolFunction.ts"

/** The context of a call, as JSON. */
export interface CallInfo extends RunInfo {
  readonly step: number
  readonly toolCallId: string
  readonly idempotencyKey: string
}

/** The error of a value that does not fit a schema of the tool. */
export const misfit = (error: Schema.SchemaError): Error => new Error(encodeError(error), { cause: error })

/** The second argument of a tool in a thread. */
export interface ServedContext extends CallInfo {
  readonly signal: AbortSignal
  readonly progress: (result: unknown) => void
}

/** How a call ended, as it crosses back. */
export type Served =
  | { readonly type: "result"; readonly value: Schema.Json }
  | { readonly type: "threw"; readonly name: string; readonly message: string; readonly failure: Schema.Json }

/** Answers a call in the thread. The signal interrupts the tool. */
export const serve = async (
  tool: Tool.Any,
  params: unknown,
  context: ServedContext,
  execute: (params: unknown, info: CallInfo) => Effect.Effect<unknown, unknown, unknown>
): Promise<Served> => {
  const { progress: _, signal, ...info } = context
  const answer = Schema.decodeUnknownEffect(tool.parametersSchema as Schema.Codec<unknown, unknown>)(params).pipe(
    Effect.flatMap((decoded) => execute(decoded, info)),
    Effect.flatMap((result) =>
      Effect.mapError(Schema.encodeUnknownEffect(tool.successSchema as Schema.Codec<unknown, unknown>)(result), misfit)
    ),
    Effect.provideService(CurrentRun, info)
  )
  // A tool of a module is typed to need no services.
  const exit = await Effect.runPromiseExit(answer as Effect.Effect<unknown, unknown>, { signal })
  if (Exit.isSuccess(exit)) return { type: "result", value: toJson(exit.value) }
  const error = Cause.squash(exit.cause)
  const name = error instanceof Error ? error.name : "Error"
  const failure = failureToJson(error)
  return { type: "threw", name, message: error instanceof Error ? error.message : JSON.stringify(failure), failure }
}
