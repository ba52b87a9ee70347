/** Tools of servers as a toolkit of `effect/ai`. */
import * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import { failureToJson } from "../../../internal/toolFunction.ts"
import type { McpTool } from "./tools.ts"

type AnyTools = Record<string, Tool.Any>
type Handler = (
  params: unknown,
  context: { readonly toolCallId: string; readonly preliminary: (result: unknown) => Effect.Effect<void> }
) => Effect.Effect<unknown, unknown>

/** A toolkit with its handlers; `Kit` is what is known of the tools before they are. */
export const toToolkit = <Kit extends AnyTools>(
  tools: ReadonlyArray<McpTool>
): Effect.Effect<Toolkit.WithHandler<Kit>> => {
  const kit = Toolkit.make(...tools.map(({ tool }) => tool)) as unknown as Toolkit.Toolkit<AnyTools>
  const handlers: Record<string, Handler> = {}
  for (const { execute, name } of tools) {
    handlers[name] = (params, { preliminary, toolCallId }) => {
      const run = { runId: "", rootId: "", path: [], conversationId: "", metadata: {} }
      const call = { ...run, step: 0, toolCallId, idempotencyKey: toolCallId, progress: preliminary }
      return Effect.mapError(
        execute(params, call, () => {}),
        failureToJson
      )
    }
  }
  // The types of a toolkit that is made at run time are lost; its handlers need no services.
  return Effect.gen(function* () {
    const context = yield* kit.toHandlers(handlers as never)
    return yield* Effect.provideContext(kit as unknown as Effect.Effect<Toolkit.WithHandler<Kit>>, context)
  })
}
