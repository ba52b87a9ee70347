/** Tools of models other than language models: a function of the program has what they make, or gives what they read. */
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import type * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../AgentTool.ts"
import type { ServicesIn } from "../../../internal/wiring.ts"

/** A function of the program: sync, async, or an Effect. */
export type Saves<A, Out> = (given: A) => Out

/** What came of such a function. Fails with what it threw or failed with. */
export const saved = <A, Out>(save: Saves<A, Out>, given: A): Effect.Effect<unknown, unknown, ServicesIn<Out>> =>
  Effect.flatMap(
    Effect.try({ try: () => save(given), catch: (error) => error }),
    (out): Effect.Effect<unknown, unknown, ServicesIn<Out>> => {
      if (Effect.isEffect(out)) return out as Effect.Effect<unknown, unknown, ServicesIn<Out>>
      return Predicate.isPromiseLike(out)
        ? Effect.tryPromise({ try: () => out, catch: (error) => error })
        : Effect.succeed(out)
    }
  )

interface Definition<Parameters extends Schema.Struct<Schema.Struct.Fields>, R> {
  readonly name: string
  readonly description: string
  readonly parameters: Parameters
  readonly execute: (params: Parameters["Type"]) => Effect.Effect<object, unknown, R>
  /** What the model is shown of a result, where it is more than the result. */
  readonly toModelOutput?: WeakMap<object, ReadonlyArray<Prompt.ToolModelOutputPart>> | undefined
}

/** A tool of such a model. It changes nothing but what the program's function does. */
export const toolOf = <Parameters extends Schema.Struct<Schema.Struct.Fields>, R>({
  description,
  execute,
  name,
  parameters,
  toModelOutput
}: Definition<Parameters, R>): AgentTool.AgentTool<string, R> => {
  const made = AgentTool.fromFunction(name, {
    description,
    parameters,
    success: Schema.Unknown,
    execute: (params: Parameters["Type"]): Effect.Effect<unknown, unknown, R> => execute(params)
  })
  if (toModelOutput === undefined) return made as AgentTool.AgentTool<string, R>
  const shown = Tool.make(name, {
    description,
    parameters,
    success: Schema.Unknown,
    failure: Schema.Unknown,
    failureMode: "return",
    toModelOutput: (result: unknown) =>
      (Predicate.isObject(result) ? toModelOutput.get(result) : undefined) as ReadonlyArray<Prompt.ToolModelOutputPart>
  })
  return { ...made, tool: shown as Tool.Any } as AgentTool.AgentTool<string, R>
}
