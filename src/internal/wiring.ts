/**
 * What a definition is given, compared with what its place takes, as types. Where it does not fit, the compile error has
 * the way out in it.
 */
import * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as AgentTool from "../AgentTool.ts"
import type * as Feature from "../Feature.ts"
import type * as Middleware from "../Middleware.ts"
import type * as Runner from "../Runner.ts"
import type * as ToolSource from "../ToolSource.ts"

/** The errors of the Effects among `Out`. */
export type ErrorIn<Out> = Out extends Effect.Effect<infer _A, infer E, infer _R> ? E : never
/** The services of the Effects among `Out`. */
export type ServicesIn<Out> = Out extends Effect.Effect<infer _A, infer _E, infer R> ? R : never
/** What comes of `Out`: the values of the Effects in it, and the rest. */
export type ValueIn<Out> = Out extends Effect.Effect<infer A, infer _E, infer _R> ? A : Out

/** What a function of a definition returned, as an Effect. */
export const toEffect = <Out>(returned: Out): Effect.Effect<ValueIn<Out>, ErrorIn<Out>, ServicesIn<Out>> =>
  (Effect.isEffect(returned) ? returned : Effect.succeed(returned)) as Effect.Effect<
    ValueIn<Out>,
    ErrorIn<Out>,
    ServicesIn<Out>
  >

/** Option `K` of the options `O`; `never` where it is not given. */
export type Option<O, K extends string> = K extends keyof O ? Exclude<O[K], undefined> : never

/** The compile error for a `T` that does not fit. A text that is intersected with a primitive is `never`. */
export type Says<T, Text> = T extends object ? Text : { readonly [K in Text & string]: never }

/** Marks options that there are not, with what there is in place of them where `Hints` says it. */
export type Misspelt<O, Known extends PropertyKey, Hints = {}> = {
  readonly [K in keyof O]: K extends Known
    ? unknown
    : unknown extends O[K]
      ? unknown
      : Says<O[K], K extends keyof Hints ? Hints[K] : "There is no such option">
}

type AnyFunction = (...args: never) => unknown
type AnyLayer = Layer.Layer<never, unknown, unknown>
type AnyEffect = Effect.Effect<unknown, unknown, unknown>

// Before the compiler has inferred the options of an agent, each of them is `unknown`, and everything has to fit.

/** An element of `tools`. */
export type ToolSlot<T> = T extends AgentTool.Any | ToolSource.Any
  ? unknown
  : T extends Runner.Member
    ? "A runner is not a tool. Write AgentTool.fromRunner(runner)"
    : T extends Feature.Member
      ? "A feature is not a tool. Give it as `use: [feature]`"
      : T extends Toolkit.Any
        ? "A toolkit is not a tool. Give it as `toolkit`"
        : T extends Tool.Any
          ? "This tool does not carry its handler. Give it as `toolkit: Toolkit.make(tool)` and its handler by Layer, or make it with AgentTool.fromFunction"
          : T extends AnyLayer
            ? "A Layer is not a tool. Provide it around the run with Effect.provide"
            : T extends AnyEffect
              ? "An Effect is not a tool. Run it with yield* and give what it returns"
              : T extends AnyFunction
                ? 'A function is not a tool. Write AgentTool.fromFunction("name", { description, execute })'
                : T extends ReadonlyArray<unknown>
                  ? "A list is not a tool. Spread it: `tools: [...list, tool]`"
                  : Says<
                      T,
                      "This is not a tool. Make one with AgentTool.fromFunction, or of a runner with AgentTool.fromRunner"
                    >

/** The option `tools`. */
export type ToolSlots<T> =
  T extends ReadonlyArray<AgentTool.Any | ToolSource.Any>
    ? unknown
    : unknown extends T
      ? unknown
      : T extends ReadonlyArray<unknown>
        ? { readonly [K in keyof T]: ToolSlot<T[K]> }
        : T extends Toolkit.Any
          ? "A toolkit is not a list of tools. Give it as `toolkit`"
          : Says<T, "`tools` is a list. Write `tools: [tool]`">

/** The option `toolkit`. */
export type ToolkitSlot<T> = T extends { readonly tools: unknown }
  ? unknown
  : unknown extends T
    ? unknown
    : T extends ReadonlyArray<AgentTool.Any> | AgentTool.Any
      ? "Tools that carry their handlers are not a toolkit. Give them as `tools: [tool]`"
      : Says<T, "This is not a toolkit. Make one of tools of effect/ai with Toolkit.make(tool, ...)">

/** The option `output`. */
export type OutputSlot<T> = T extends Schema.Top
  ? unknown
  : unknown extends T
    ? unknown
    : T extends Readonly<Record<string, Schema.Top>>
      ? "An object of schemas is not a schema. Write Schema.Struct({ ... }) around it"
      : Says<T, "This is not a Schema of effect. Write one, such as Schema.Struct({ name: Schema.String })">

/** An element of `use`. */
export type FeatureSlot<T> = T extends Feature.Member
  ? unknown
  : T extends AgentTool.Any | ToolSource.Any
    ? "A tool is not a feature. Give it as `tools: [tool]`"
    : T extends Runner.Member
      ? "A runner is not a feature. Give it as `tools: [AgentTool.fromRunner(runner)]`"
      : T extends AnyLayer
        ? "A Layer is not a feature. Provide it around the run with Effect.provide"
        : T extends AnyFunction
          ? "A function is not a feature. Give what it returns, or make one with Feature.make"
          : Says<T, "This is not a feature. Make one with Feature.make">

/** The option `use`. */
export type FeatureSlots<T> = unknown extends T
  ? unknown
  : T extends ReadonlyArray<unknown>
    ? { readonly [K in keyof T]: FeatureSlot<T[K]> }
    : Says<T, "`use` is a list. Write `use: [feature]`">

/** An element of `middleware`. */
export type MiddlewareSlot<T> = T extends Middleware.Member
  ? unknown
  : T extends AnyLayer
    ? "A Layer is not a middleware. Provide it around the run with Effect.provide"
    : T extends AnyFunction
      ? 'A function is not a middleware. Write Middleware.make("name", { tool: (call, next) => next(call) })'
      : Says<T, "This is not a middleware. Make one with Middleware.make or Middleware.hooks">

/** The option `middleware`. */
export type MiddlewareSlots<T> = unknown extends T
  ? unknown
  : T extends ReadonlyArray<unknown>
    ? { readonly [K in keyof T]: MiddlewareSlot<T[K]> }
    : Says<T, "`middleware` is a list. Write `middleware: [middleware]`">

/** A member of a workflow. */
export type RunnerSlot<T> = T extends Runner.Member
  ? unknown
  : unknown extends T
    ? // A list, where they have names, is not inferred as what it is.
      Says<T, "This is not a runner by name. Write { name: runner }">
    : T extends AgentTool.Any | Tool.Any
      ? "A tool is not a runner. Give it to an agent, which is one"
      : T extends AnyLayer
        ? "A Layer is not a runner. Provide it around the run with Effect.provide"
        : T extends AnyEffect
          ? 'An Effect is not a runner. Write Runner.make("name", { run: () => effect })'
          : T extends AnyFunction
            ? 'A function is not a runner. Write Runner.make("name", { run: (input) => effect })'
            : Says<T, "This is not a runner. Make one with Agent.make, Runner.make or a workflow">

/** A member of a workflow that is given texts. */
export type TextRunnerSlot<T> =
  T extends Runner.Runner<infer I, infer _A, infer _E, infer _R>
    ? string extends I
      ? unknown
      : "The model gives a worker a text. Make it a runner of texts with Runner.mapInput"
    : RunnerSlot<T>

/** Members of a workflow, by name or in a list. */
export type RunnerSlots<T> = { readonly [K in keyof T]: RunnerSlot<T[K]> }
