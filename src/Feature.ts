/**
 * Features: tools and instructions that belong together, given to an agent as one with `use`. What a feature can fail with
 * and what it needs becomes part of the agent's type.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Prompt from "effect/ai/Prompt"
import type * as AgentTool from "./AgentTool.ts"
import { assertOptions, namesOf } from "./internal/definition.ts"
import {
  type ErrorIn,
  type MiddlewareSlots,
  type Misspelt,
  type Option,
  type ServicesIn,
  toEffect,
  type ToolSlots
} from "./internal/wiring.ts"
import * as Middleware from "./Middleware.ts"
import type * as ToolSource from "./ToolSource.ts"

const TypeId = "~troupe/Feature"

/** Something that an agent can have in addition to its own options. `E` and `R` are what it adds to the agent. */
export interface Feature<out E, out R> {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  /** @internal */
  readonly tools: ReadonlyArray<AgentTool.Any | ToolSource.Any>
  /** @internal Asked once as a run begins. */
  readonly instructions: (input: Prompt.RawInput) => Effect.Effect<string, E, R>
  /** @internal */
  readonly reserves: ReadonlyArray<string>
  /** @internal */
  readonly middleware: ReadonlyArray<Middleware.Any>
}

/** Any feature. */
export type Any = Feature<unknown, unknown>
/**
 * Any feature, where a type is inferred from it: without the types of {@link Any}, which would be taken for those of a
 * feature that is written in place.
 */
export type Member = Pick<Any, typeof TypeId | "name">
/** The errors of feature `F`. */
export type Error<F> = F extends Feature<infer E, infer _R> ? E : never
/** The services that feature `F` needs. */
export type Services<F> = F extends Feature<infer _E, infer R> ? R : never

/** True for a feature. */
export const isFeature = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/** What a feature brings. `Instructions` is what its function `instructions` returns. */
export interface Options<out Instructions = string | Effect.Effect<string, unknown, unknown>> {
  /** Tools that carry their handlers, and sources of tools, which are asked before every step. */
  readonly tools?: ReadonlyArray<AgentTool.Any | ToolSource.Any> | undefined
  /** Added to the agent's instructions after its own: a text, or made of the input, as a text or an Effect. */
  readonly instructions?: string | ((input: Prompt.RawInput) => Instructions) | undefined
  /**
   * Names of tools that the sources among `tools` can give. An agent with another tool of such a name is refused when it is
   * defined. The names of `tools` themselves need not be listed.
   */
  readonly reserves?: ReadonlyArray<string> | undefined
  /** Around the agent's runs, model calls and tool calls, inside of the agent's own middleware. The first is outermost. */
  readonly middleware?: ReadonlyArray<Middleware.Any> | undefined
}

type ToolsOf<O> = Option<O, "tools"> extends ReadonlyArray<infer T> ? T : never
type MiddlewareOf<O> = Option<O, "middleware"> extends ReadonlyArray<infer M> ? M : never

/**
 * Makes a feature, for the option `use` of agents.
 *
 * When its instructions fail, the run fails with that error before its first model call. An agent that uses it throws
 * `InvalidDefinition` for a tool of the feature that has the name of another.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, AgentTool, Feature } from "troupe"
 *
 * const now = AgentTool.fromFunction("now", { description: "Tells the time", execute: () => "noon" })
 * const clock = Feature.make("clock", { tools: [now], instructions: () => Effect.succeed("Ask for the time; do not guess it.") })
 * const clerk = Agent.make("clerk", { instructions: "You work in an office.", use: [clock] })
 */
export const make = <
  const O extends { readonly [K in keyof Options]?: unknown },
  Instructions extends string | Effect.Effect<string, unknown, unknown> = string
>(
  name: string,
  options: O &
    Pick<Options<Instructions>, "instructions" | "reserves"> & {
      readonly tools?: ToolSlots<Option<O, "tools">> | undefined
      readonly middleware?: MiddlewareSlots<Option<O, "middleware">> | undefined
    } & Misspelt<O, keyof Options>
): Feature<
  ErrorIn<Instructions> | Middleware.Error<MiddlewareOf<O>>,
  | ServicesIn<Instructions>
  | AgentTool.Services<ToolsOf<O>>
  | ToolSource.Services<ToolsOf<O>>
  | Middleware.Services<MiddlewareOf<O>>
> => erased(name, options as Options) as Feature<ErrorIn<Instructions> | Middleware.Error<MiddlewareOf<O>>, never>

const known = namesOf<Options>({ tools: true, instructions: true, reserves: true, middleware: true })

const erased = (name: string, options: Options): Any => {
  const subject = `feature "${name}"`
  assertOptions(subject, options, known)
  const { instructions, middleware = [], reserves = [], tools = [] } = options
  Middleware.assertMiddleware(subject, middleware)
  return {
    [TypeId]: TypeId,
    name,
    tools,
    reserves,
    middleware,
    instructions: (input) =>
      Effect.suspend(() => {
        return toEffect(typeof instructions === "function" ? instructions(input) : (instructions ?? ""))
      })
  }
}
