/** Routers: one of several runners, chosen by a model or by a function. It touches `Runner` and `Agent`. */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as Agent from "../agents/Agent.ts"
import { InvalidDefinition } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import type { Input } from "./Parallel.ts"

/** No route was chosen with enough confidence, or one that is not there, and there is no fallback. */
export class RouteNotFound extends Schema.TaggedError<RouteNotFound>()("RouteNotFound", {
  name: Schema.String,
  /** What was chosen. */
  route: Schema.String,
  /** How sure the model was, from 0 to 1; 1 for a function. */
  confidence: Schema.Finite,
  routes: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `"${this.name}" found no route: "${this.route}" with confidence ${this.confidence}. There are: ${this.routes.join(", ")}. Describe the routes better, lower the threshold, or give a fallback.`
  }
}

type Routes = Readonly<Record<string, Runner.Any>>

/** How a router chooses. */
export interface Options<Rs extends Routes, Fallback extends keyof Rs & string> {
  readonly description?: string | undefined
  /** The runners to choose from. The description of each guides the choice. */
  readonly routes: Rs
  /** The route that is taken when none is chosen; without one the run fails with `RouteNotFound`. */
  readonly fallback?: Fallback | undefined
  /** Said to the model besides the routes' descriptions. */
  readonly instructions?: string | undefined
  /** How sure the model must be, from 0 to 1. Default 0. */
  readonly threshold?: number | undefined
}

/** Chooses instead of the model. */
export interface Classify<Rs extends Routes, Key, E, R> {
  readonly classify: (input: Input<Rs>) => Effect.Effect<Key, E, R>
}

/**
 * Makes a router. The choice is made first, by a typed answer of the model or by `classify`; then the chosen runner runs,
 * as a nested run, on the same input. Its name in the path of the events says which route was taken.
 *
 * @example
 * import { Agent, Router } from "troupe"
 *
 * const billing = Agent.make("billing", { description: "Invoices and payments" })
 * const technical = Agent.make("technical", { description: "Errors and outages" })
 * const desk = Router.make("desk", { routes: { billing, technical }, fallback: "technical" })
 */
export const make: {
  <
    Key extends string,
    const Rs extends Routes & Readonly<Record<Key, Runner.Any>>,
    Fallback extends keyof Rs & string,
    EC,
    RC
  >(
    name: string,
    options: Options<Rs, Fallback> & Classify<Rs, Key, EC, RC>
  ): Runner.Runner<
    Input<Rs>,
    Runner.Output<Rs[keyof Rs]>,
    Runner.Error<Rs[keyof Rs]> | RouteNotFound | EC,
    Runner.Services<Rs[keyof Rs]> | RC
  >
  <const Rs extends Routes, Fallback extends keyof Rs & string>(
    name: string,
    options: Options<Rs, Fallback> & { readonly classify?: undefined }
  ): Runner.Runner<
    Input<Rs> & Prompt.RawInput,
    Runner.Output<Rs[keyof Rs]>,
    Runner.Error<Rs[keyof Rs]> | RouteNotFound | Agent.Error,
    Runner.Services<Rs[keyof Rs]> | LanguageModel.LanguageModel
  >
} = (
  name: string,
  options: Options<Routes, string> & {
    readonly classify?: Classify<Routes, string, unknown, unknown>["classify"] | undefined
  }
) => {
  const names = Object.keys(options.routes)
  const refuse = (problem: string, remedy: string) =>
    new InvalidDefinition({ subject: `router "${name}"`, problem, remedy })
  if (names.length === 0) throw refuse("it has no routes", "Give it at least one")
  const { fallback } = options
  if (fallback !== undefined && !names.includes(fallback)) {
    throw refuse(`its fallback "${fallback}" is no route`, `Use one of: ${names.join(", ")}`)
  }
  const threshold = options.threshold ?? 0
  if (!(threshold >= 0 && threshold <= 1)) throw refuse(`its threshold is ${threshold}`, "Use 0 to 1")
  const { classify } = options
  const choose =
    classify === undefined
      ? byModel(name, options)
      : (input: never) => Effect.map(classify(input), (route) => ({ route, confidence: 1 }))
  return Runner.workflow(name, {
    description: options.description,
    structure: () => ({
      kind: "router",
      note: fallback === undefined ? undefined : `else ${fallback}`,
      members: Object.entries(options.routes).map(([key, runner]) => ({ name: key, runner }))
    }),
    run: (input: never, state) =>
      Effect.flatMap(choose(input), ({ confidence, route }) => {
        const sure = Object.hasOwn(options.routes, route) && confidence >= threshold
        const taken = sure ? route : fallback
        if (taken === undefined) return Effect.fail(new RouteNotFound({ name, route, confidence, routes: names }))
        const runner = options.routes[taken] as Runner.Runner<never, unknown, unknown, unknown>
        return Effect.andThen(
          state.decide({ _tag: "RouteTaken", routes: [taken], confidence, fallback: !sure }),
          Runner.named(runner, taken).run(input)
        )
      })
  }) as never
}

const byModel = (name: string, options: Options<Routes, string>) => {
  const routes = Object.entries(options.routes).map(
    ([key, runner]) => `- ${key}: ${runner.description ?? `what the runner "${runner.name}" does`}`
  )
  const names = Object.keys(options.routes) as [string, ...Array<string>]
  const classifier = Agent.make(`${name} classifier`, {
    instructions: [
      "Choose the route that fits the user's message best. Do not answer the message.",
      ...(options.instructions === undefined ? [] : [options.instructions]),
      "The routes:",
      ...routes
    ].join("\n"),
    output: Schema.Struct({
      route: Schema.Literals(names).annotate({ description: `The route that fits best. ${routes.join(" ")}` }),
      confidence: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })).annotate({
        description: "How sure you are, from 0 to 1"
      })
    })
  })
  return (input: never) => classifier.run(input)
}
