/** Routers: one of several runners, or some of them, chosen by a model or by a function. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Agent from "../agents/Agent.ts"
import { assertFunction, assertOptions, invalid, limitOf, numberOf } from "../internal/definition.ts"
import { decidedHere, text, texts } from "../internal/decided.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import type { RunState } from "../internal/runState.ts"
import type { Saved } from "../internal/suspension.ts"
import type { RunnerSlots } from "../internal/wiring.ts"
import { goOn } from "../internal/workflowSuspension.ts"
import * as Runner from "../Runner.ts"
import * as Group from "./internal/branchGroup.ts"
import * as Kept from "./internal/keptBranches.ts"
import { kept, restore, saving } from "./internal/keptValues.ts"
import * as Choice from "./internal/choice.ts"
import { type Agents, agentsOf, type Prompts } from "./internal/promptAgents.ts"
import { replayable } from "../internal/input.ts"
import { RouteNotFound } from "./internal/errors.ts"
import * as Parallel from "./Parallel.ts"

export { RouteNotFound } from "./internal/errors.ts"

type Routes = Readonly<Record<string, Runner.Member>>
type AnyRunner = Runner.Runner<never, unknown, unknown, unknown>

/** Options of a router. */
export interface Options<Fallback extends string> {
  readonly description?: string | undefined
  /**
   * The route that is taken when none is chosen: the model is not sure enough, names a route that is not there, refuses,
   * or gives no answer. Without one the run fails with `RouteNotFound`, or with what the model refused with.
   */
  readonly fallback?: Fallback | undefined
  /** Added to the classifier's instructions, before the routes' descriptions. */
  readonly instructions?: string | undefined
  /**
   * How sure the model must be, from 0 to 1. Default 0: the route that it names is taken, however sure it is. Above 0, an
   * answer without a confidence from 0 to 1 counts as 0, after the model was asked once more.
   */
  readonly threshold?: number | undefined
}

/** Chooses instead of the model, by what every route takes or by less. */
export interface Classify<I, Key, E, R> {
  /**
   * A key that names no route is taken as no choice. The compiler refuses it where it is a literal: `as const`, or what
   * `Effect.gen` returns.
   */
  readonly classify: (input: I) => Effect.Effect<Key, E, R>
}

/** The compile error for options that do not fit. */
type NoClassify =
  "classify takes what every route takes, and returns an Effect of a route's name. If it does, another option does not fit"
type NoClassifyOfMany =
  "classify takes what every route takes, and returns an Effect of an array of routes' names. If it does, another option does not fit"

/** The error of a router without a fallback. */
type Unrouted<Fallback> = [Fallback] extends [never] ? RouteNotFound : never

/** Unchecked routes. */
type Unchecked = Readonly<Record<string, unknown>>

/**
 * Makes a router. The choice is made first, by a typed answer of the model or by `classify`; then the chosen runner runs,
 * as a nested run named by its route, on the same input. `RouteTaken` and `result(...).decisions` say which it was.
 *
 * Fails with `RouteNotFound` unless it has a fallback, and with what the choice or the route fails with. Throws `InvalidDefinition` without routes,
 * for a fallback that is not a route, and for a threshold outside of 0 to 1.
 *
 * @example
 * import { Agent, Router } from "troupe"
 *
 * const billing = Agent.make("billing", { description: "Invoices and payments" })
 * const technical = Agent.make("technical", { description: "Errors and outages" })
 * const desk = Router.make("desk", { billing, technical }, { fallback: "technical" })
 */
export const make: {
  <
    Key extends string,
    const Rs extends Routes & Readonly<Record<Key, Runner.Member>>,
    EC,
    RC,
    I extends Parallel.Input<Rs>,
    Fallback extends keyof Rs & string = never
  >(
    name: string,
    routes: Rs,
    options: Options<Fallback> & Classify<I, Key, EC, RC>
  ): Runner.Runner<
    I,
    Runner.Output<Rs[keyof Rs]>,
    Runner.Error<Rs[keyof Rs]> | Unrouted<Fallback> | EC,
    Runner.Services<Rs[keyof Rs]> | RC
  >
  <const Rs extends Routes, Fallback extends keyof Rs & string = never>(
    name: string,
    routes: Rs,
    options?: Options<Fallback> & { readonly classify?: undefined }
  ): Runner.Runner<
    Parallel.Input<Rs> & Prompt.RawInput,
    Runner.Output<Rs[keyof Rs]>,
    Runner.Error<Rs[keyof Rs]> | Unrouted<Fallback> | Agent.Error,
    Runner.Services<Rs[keyof Rs]> | LanguageModel.LanguageModel
  >
  // For its error only: the compiler shows that of the last overload.
  <const Rs extends Unchecked>(
    name: string,
    routes: Rs & RunnerSlots<Rs>,
    options?: Options<keyof Rs & string> & { readonly classify?: NoClassify | undefined }
  ): Runner.Any
} = (name: string, members: Unchecked, given: ErasedOptions = {}) => {
  const options = given as AnyOptions
  const routes = checked(name, members, options, known)
  const { classify, threshold = 0 } = options
  const choose =
    classify === undefined
      ? byModel(name, routes, options)
      : (input: never) =>
          Effect.map(decidedHere("route", classify(input) as Chosen<string>, text), (route) => certain(routes, route))
  const take = (
    { confidence, route }: Choice.Choice,
    input: never,
    state: RunState
  ): Effect.Effect<unknown, unknown, unknown> => {
    const sure = routes.has(route) && confidence >= threshold
    const taken = sure ? route : options.fallback
    if (taken === undefined) return notFound(name, routes, { route, confidence }, state)
    return Effect.andThen(
      state.events.decide({ _tag: "RouteTaken", routes: [taken], confidence, fallback: !sure }),
      Runner.named(routes.get(taken)!, taken).run(input)
    )
  }
  return Runner.erasedWorkflow(name, {
    description: options.description,
    structure: () => structure(routes, options, "one of"),
    input: () => Schemas.sameOf([...routes.values()].map(Schemas.inputOf)),
    output: () => Schemas.unionOf([...routes.values()].map(Schemas.outputOf)),
    run: (given: never, state) => {
      const input = replayable(given)
      return Effect.flatMap(choosing(choose, input, state), (choice) => take(choice, input, state))
    },
    restore: (saved, _input, state) => chosenAgain(saved, choose, state, (choice, input) => take(choice, input, state)),
    // The choice was made before the route was suspended.
    resume: (member, input: never) => {
      const route = routes.get(member)
      return route === undefined ? undefined : Runner.named(route, member).run(input)
    }
  })
}

/**
 * Makes a router to agents in one line: one for each text, which is the agent's instructions and guides the choice. The
 * router is named "router" unless `name` says otherwise. Fails as {@link make} does. For tools or types make the agents
 * yourself and give them to {@link make}.
 *
 * @example
 * import { Router } from "troupe"
 *
 * const desk = Router.fromPrompts(
 *   { billing: "Answer questions on invoices.", technical: "Answer questions on errors." },
 *   { fallback: "technical" }
 * )
 */
export const fromPrompts = <const P extends Prompts, Fallback extends keyof P & string = never>(
  prompts: P,
  options: Options<Fallback> & { readonly name?: string | undefined } = {}
): Runner.Runner<Prompt.RawInput, string, Agent.Error | Unrouted<Fallback>, LanguageModel.LanguageModel> => {
  const { name = "router", ...others } = options
  return make<Agents<Prompts>, string>(name, agentsOf<Prompts>(prompts), others)
}

/** Options of a router to several routes. */
export interface ManyOptions<Fallback extends string, M extends Parallel.Mode> extends Options<Fallback> {
  /** The mode of the chosen routes. Default `Parallel.failFast`. A quorum counts the chosen routes only. */
  readonly mode?: M | undefined
  /** How many chosen routes run at once. Default: all. */
  readonly concurrency?: number | "unbounded" | undefined
  /** The most routes that are taken, by descending confidence. Default: all. */
  readonly maxRoutes?: number | undefined
}

/** The outputs of the chosen routes, by route; in mode `race` the winner's output. */
export type ManyOutput<Rs extends Routes, M extends Parallel.Mode> = M extends Parallel.Race
  ? Runner.Output<Rs[keyof Rs]>
  : M extends Parallel.Settle
    ? { readonly [K in keyof Rs]?: Result.Result<Runner.Output<Rs[K]>, Runner.Error<Rs[K]> | Parallel.BranchDefect> }
    : { readonly [K in keyof Rs]?: Runner.Output<Rs[K]> }

/**
 * Makes a router to several routes at once: every route that fits is taken, and those run as a `Parallel` does. The model
 * says how sure it is of each; `classify` gives the keys.
 *
 * Fails as {@link make} does, and with `ParallelError` for routes that fail.
 *
 * @example
 * import { Agent, Router } from "troupe"
 *
 * const billing = Agent.make("billing", { description: "Invoices and payments" })
 * const technical = Agent.make("technical", { description: "Errors and outages" })
 * const desk = Router.many("desk", { billing, technical }, { fallback: "technical", threshold: 0.5 })
 */
export const many: {
  <
    Key extends string,
    const Rs extends Routes & Readonly<Record<Key, Runner.Member>>,
    EC,
    RC,
    I extends Parallel.Input<Rs>,
    Fallback extends keyof Rs & string = never,
    M extends Parallel.Mode = Parallel.FailFast
  >(
    name: string,
    routes: Rs,
    options: ManyOptions<Fallback, M> & Classify<I, ReadonlyArray<Key>, EC, RC>
  ): Runner.Runner<I, ManyOutput<Rs, M>, Parallel.Error<Rs, M> | Unrouted<Fallback> | EC, Parallel.Services<Rs> | RC>
  <const Rs extends Routes, Fallback extends keyof Rs & string = never, M extends Parallel.Mode = Parallel.FailFast>(
    name: string,
    routes: Rs,
    options?: ManyOptions<Fallback, M> & { readonly classify?: undefined }
  ): Runner.Runner<
    Parallel.Input<Rs> & Prompt.RawInput,
    ManyOutput<Rs, M>,
    Parallel.Error<Rs, M> | Unrouted<Fallback> | Agent.Error,
    Parallel.Services<Rs> | LanguageModel.LanguageModel
  >
  // For its error only: the compiler shows that of the last overload.
  <const Rs extends Unchecked>(
    name: string,
    routes: Rs & RunnerSlots<Rs>,
    options?: ManyOptions<keyof Rs & string, Parallel.Mode> & { readonly classify?: NoClassifyOfMany | undefined }
  ): Runner.Any
} = (
  name: string,
  members: Unchecked,
  given: ErasedOptions & Pick<ManyOptions<string, Parallel.Mode>, "mode" | "concurrency" | "maxRoutes"> = {}
) => {
  const options = given as AnyOptions
  const routes = checked(name, members, options, knownOfMany)
  const { classify, threshold = 0 } = options
  const { concurrency, maxRoutes = routes.size, mode = Group.failFast } = given
  Group.check(`router "${name}"`, routes.size, mode, concurrency)
  limitOf(`router "${name}"`, "maxRoutes", maxRoutes)
  const choose =
    classify === undefined
      ? eachByModel(name, routes, options)
      : (input: never) =>
          Effect.map(decidedHere("routes", classify(input) as Chosen<ReadonlyArray<string>>, texts), (keys) =>
            keys.map((route) => certain(routes, route))
          )
  const group = { name, mode, concurrency, maxRoutes, threshold, fallback: options.fallback }
  const { branchOf, reached, shape, take } = taking(routes, group)
  return Runner.erasedWorkflow(name, {
    description: options.description,
    structure: () => structure(routes, options, "any of"),
    input: () => Schemas.sameOf([...routes.values()].map(Schemas.inputOf)),
    output: () => {
      const fields = [...routes].map(([key, runner]) => [key, Schemas.outputOf(runner)] as const)
      if (mode._tag === "race") return Schemas.unionOf(fields.map(([, output]) => output))
      return mode._tag === "settle" ? undefined : Schemas.structOf(fields, true)
    },
    run: (given: never, state) => {
      const input = replayable(given)
      return Effect.flatMap(choosing(choose, input, state), (choices) => take(choices, input, state))
    },
    restore: (saved, _input, state) => {
      if (saved.members[0]?.key === classifying) {
        return chosenAgain(saved, choose, state, (choices, input) => take(choices, input, state))
      }
      const outputs = Kept.resume(saved, branchOf, (count) => ({ name, mode: reached(count), concurrency, state }))
      return outputs && Effect.map(outputs, shape)
    }
  })
}

/** How the routes that were chosen run. */
interface Taking {
  readonly name: string
  readonly mode: Parallel.Mode
  readonly concurrency: number | "unbounded" | undefined
  readonly maxRoutes: number
  readonly threshold: number
  readonly fallback: string | undefined
}

/** Runs the routes that fit, as a `Parallel` does. */
const taking = (
  routes: ReadonlyMap<string, AnyRunner>,
  { concurrency, fallback, maxRoutes, mode, name, threshold }: Taking
) => {
  const branchOf = (key: string): Kept.Branch | undefined => {
    const route = routes.get(key)
    return route && { key, run: Runner.named(route, key).run, output: Schemas.outputOf(route) }
  }
  const reached = (count: number): Parallel.Mode =>
    mode._tag === "quorum" ? Parallel.quorum(Math.min(mode.n, count)) : mode
  const shape = (outputs: ReadonlyArray<readonly [string, unknown]>): unknown =>
    mode._tag === "race" ? outputs[0]![1] : Object.fromEntries(outputs)
  const take = (
    choices: ReadonlyArray<Choice.Choice>,
    input: never,
    state: RunState
  ): Effect.Effect<unknown, unknown, unknown> => {
    const chosen = choices
      .filter(({ confidence, route }) => routes.has(route) && confidence >= threshold)
      .toSorted((a, b) => b.confidence - a.confidence)
      .filter(({ route }, index, all) => all.findIndex((one) => one.route === route) === index)
      .slice(0, maxRoutes)
    const taken = chosen.length > 0 ? chosen.map(({ route }) => route) : fallback === undefined ? [] : [fallback]
    const confidence = Math.min(1, ...(chosen.length > 0 ? chosen : choices).map((choice) => choice.confidence))
    if (taken.length === 0) {
      return notFound(name, routes, { route: choices.map(({ route }) => route).join(", "), confidence }, state)
    }
    const branches = taken.map((key) => ({ ...branchOf(key)!, input: input as unknown }))
    return Effect.andThen(
      state.events.decide({ _tag: "RouteTaken", routes: taken, confidence, fallback: chosen.length === 0 }),
      Effect.map(Kept.run(branches, { name, mode: reached(taken.length), concurrency, state }, input), shape)
    )
  }
  return { branchOf, reached, shape, take }
}

const notFound = (
  name: string,
  routes: RouteMap,
  choice: Choice.Choice,
  { bill }: RunState
): Effect.Effect<never, RouteNotFound> =>
  Effect.fail(new RouteNotFound({ name, ...choice, routes: [...routes.keys()], spent: bill.spent() }))

/** Under which the choice is kept. */
const classifying = "~classify"

/** The choice, kept when the function that makes it waits. */
const choosing = <I, A>(
  choose: (input: I) => Effect.Effect<A, unknown, unknown>,
  input: I,
  state: RunState
): Effect.Effect<A, unknown, unknown> =>
  Kept.keeping(choose(input), classifying, state, input, () =>
    saving(() => ({ _tag: "choosing", input: kept("the input", input) }))
  ) as Effect.Effect<A, unknown, unknown>

const decodeChoosing = Schema.decodeUnknownOption(Schema.TaggedStruct("choosing", { input: Schema.Json }))

/** Goes on with a choice that waits, and then as `take` does. */
const chosenAgain = <I, A>(
  saved: Saved,
  choose: (input: I) => Effect.Effect<A, unknown, unknown>,
  state: RunState,
  take: (choice: A, input: I) => Effect.Effect<unknown, unknown, unknown>
): Effect.Effect<unknown, unknown, unknown> | undefined => {
  const input = Option.flatMap(decodeChoosing(saved.state), ({ input }) => restore(input))
  const member = saved.members[0]
  if (Option.isNone(input) || member?.key !== classifying) return undefined
  // What was kept is the input of this router, whose type its constructor has checked.
  const given = input.value as I
  const chosen = goOn(choosing(choose, given, state), member, state)
  return Effect.flatMap(chosen, (choice) => take(choice, given))
}

/** What `classify` gives; its overload has checked it. */
type Chosen<A> = Effect.Effect<A, unknown, unknown>

type AnyClassify = Classify<never, string | ReadonlyArray<string>, unknown, unknown>["classify"]
type AnyOptions = Options<string> & { readonly classify?: AnyClassify | undefined }
/** The options of all overloads. */
type ErasedOptions = Options<string> & { readonly classify?: unknown }
type RouteMap = ReadonlyMap<string, AnyRunner>

const known: ReadonlySet<string> = new Set(["description", "fallback", "instructions", "threshold", "classify"])
const knownOfMany: ReadonlySet<string> = new Set([...known, "mode", "concurrency", "maxRoutes"])

const checked = (name: string, members: Unchecked, options: AnyOptions, names: ReadonlySet<string>): RouteMap => {
  assertOptions(`router "${name}"`, options, names)
  if (options.classify !== undefined) assertFunction(`router "${name}"`, "classify", options.classify)
  const routes: RouteMap = new Map(Runner.namedMembersOf(`router "${name}"`, members))
  if (routes.size === 0) throw invalid(`router "${name}"`, "it has no routes", "Give it at least one")
  const { fallback, threshold = 0 } = options
  if (fallback !== undefined && !routes.has(fallback)) {
    throw invalid(
      `router "${name}"`,
      `its fallback "${fallback}" is not a route`,
      `Use one of: ${[...routes.keys()].join(", ")}`
    )
  }
  numberOf(`router "${name}"`, "threshold", threshold, 0, 1)
  return routes
}

const structure = (routes: RouteMap, options: AnyOptions, how: string) => ({
  kind: "router" as const,
  note: options.fallback === undefined ? how : `${how}, else ${options.fallback}`,
  members: Array.from(routes, ([key, runner]) => ({ name: key, runner }))
})

const described = (routes: RouteMap): ReadonlyArray<string> =>
  Array.from(routes, ([key, runner]) => `- ${key}: ${runner.description ?? `what the runner "${runner.name}" does`}`)

/** A function's choice. An unknown name, which takes a cast, counts as no choice. */
const certain = (routes: RouteMap, route: string): Choice.Choice => ({
  route: typeof route === "string" ? (Choice.nameIn([...routes.keys()], route) ?? route) : String(route),
  confidence: 1
})

const classifier = <S extends Schema.Top>(
  name: string,
  routes: RouteMap,
  options: AnyOptions,
  task: string,
  output: S
) =>
  Agent.make(`${name} classifier`, {
    instructions: [
      task,
      ...(options.instructions === undefined ? [] : [options.instructions]),
      "The routes:",
      ...described(routes)
    ].join("\n"),
    output
  })

const byModel = (name: string, routes: RouteMap, options: AnyOptions) => {
  const names = [...routes.keys()]
  const description = `The route that fits best. ${described(routes).join(" ")}`
  const agent = classifier(
    name,
    routes,
    options,
    "Choose the route that fits the user's message best. Do not answer the message.",
    Choice.one(names, description, options.threshold ?? 0)
  )
  return (input: never) =>
    Effect.catch(
      Effect.map(agent.run(input), (choice) => Choice.read(names, choice)),
      (error) => withoutChoice(error, names, options)
    )
}

const eachByModel = (name: string, routes: RouteMap, options: AnyOptions) => {
  const names = [...routes.keys()]
  const agent = classifier(
    name,
    routes,
    options,
    "Choose every route that the user's message needs: one, several, or none. Do not answer the message.",
    Choice.several(names, `The routes that are needed. ${described(routes).join(" ")}`)
  )
  return (input: never) =>
    Effect.catch(
      Effect.map(agent.run(input), ({ routes }) => routes.map((choice) => Choice.read(names, choice))),
      (error) => Effect.map(withoutChoice(error, names, options), (choice) => [choice])
    )
}

/**
 * What a classifier chose that gave no answer which fits: the route that its text names, or none. A refusal is its own
 * error where there is no fallback.
 */
const withoutChoice = (
  error: Agent.Error,
  names: ReadonlyArray<string>,
  options: AnyOptions
): Effect.Effect<Choice.Choice, Agent.Error> => {
  switch (error._tag) {
    case "InvalidOutput":
      return Effect.succeed(Choice.readText(names, error.text))
    case "EmptyTurn":
    case "OutputTruncated":
      return Effect.succeed(Choice.none)
    case "ModelRefused":
      return options.fallback === undefined ? Effect.fail(error) : Effect.succeed(Choice.none)
    default:
      return Effect.fail(error)
  }
}
