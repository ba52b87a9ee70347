/**
 * Calls middleware: what is around an agent, in which services it runs, and what its failures become. What runs, model
 * calls and tool calls are to a middleware is in `Middleware` and in the agents.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as RunError from "../RunError.ts"
import { CurrentModel } from "../services/ModelInfo.ts"
import type { AgentError } from "./agentError.ts"
import type { ToolSource } from "../ToolSource.ts"
import { kindOf } from "./definition.ts"
import { CurrentPlace, type Place } from "./place.ts"
import { isAsleep } from "./sleep.ts"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
/** Of the services that it needs its context has all. */
type Inside = Effect.Effect<unknown, unknown>
/** Goes on with a request, one middleware further in. */
export type Next = (request: never) => AnyEffect
type Stage = (request: never, next: never) => unknown

/** A middleware without its types. */
export interface Definition {
  readonly name: string
  readonly around: {
    readonly run?: Stage | undefined
    readonly model?: Stage | undefined
    readonly tool?: Stage | undefined
    readonly part?: ((part: never) => unknown) | undefined
  }
  readonly tools?: ReadonlyArray<ToolSource<never>> | undefined
}

/** A middleware in its place around an agent. */
export interface Entry {
  readonly definition: Definition
  /** The services that its Layer was built with; `undefined` for one that the agent itself has. */
  readonly built: Built | undefined
}

/** What a Layer of middleware keeps. */
export interface Built {
  readonly services: Context.Context<never>
  /** The context that the middleware runs in, by the context of the run. */
  readonly contexts: WeakMap<Context.Context<never>, Context.Context<never>>
}

const LayerTypeId = "~troupe/Middleware/Layer"

interface Given {
  readonly [LayerTypeId]: typeof LayerTypeId
  readonly entries: ReadonlyArray<Entry>
}

/** Whether any Layer of middleware is provided, so that a run without one need not look for them. */
const IsGiven: Context.Reference<boolean> = Context.Reference<boolean>("troupe/Middleware/IsGiven", {
  defaultValue: () => false
})

/** The middleware given by Layers whose own code the fiber runs: it is not around the agents that it runs itself. */
const Running: Context.Reference<ReadonlyArray<Definition>> = Context.Reference<ReadonlyArray<Definition>>(
  "troupe/Middleware/Running",
  { defaultValue: () => [] }
)

/**
 * A function that gives the services of one Layer. They have a key of their own, so that a Layer provided further in is
 * added to those around it and replaces none of them.
 */
export const givenBy = (
  middleware: ReadonlyArray<Definition>
): ((services: Context.Context<never>) => Context.Context<never>) => {
  const key = Context.Reference<Given | undefined>(`troupe/Middleware/${globalThis.crypto.randomUUID()}`, {
    defaultValue: () => undefined
  })
  return (services) => {
    const entries = middleware.map((definition) => ({ definition, built: { services, contexts: new WeakMap() } }))
    return Context.make(IsGiven, true).pipe(Context.add(key, { [LayerTypeId]: LayerTypeId, entries }))
  }
}

const isLayer = (service: unknown): service is Given => Predicate.hasProperty(service, LayerTypeId)

const none: ReadonlyArray<Entry> = []

/** The middleware that Layers around a fiber give, outermost first, each once. */
export const givenTo = (fiber: Fiber.Fiber<unknown, unknown>): ReadonlyArray<Entry> => {
  if (!fiber.getRef(IsGiven)) return none
  const running = fiber.getRef(Running)
  const found = new Map<Definition, Entry>()
  // A context keeps its services in the order in which they were provided.
  for (const service of fiber.context.mapUnsafe.values()) {
    if (!isLayer(service)) continue
    for (const entry of service.entries) {
      const { definition } = entry
      if (!running.includes(definition) && !found.has(definition)) found.set(definition, entry)
    }
  }
  return [...found.values()]
}

/** What a model is described by: a middleware's Layer brings its own, for the agents that the middleware runs. */
const ofModel: ReadonlySet<string> = new Set([
  LanguageModel.LanguageModel.key,
  Model.ProviderName.key,
  Model.ModelName.key,
  CurrentModel.key
])

/** The caller's context, with what the Layer was built with and the caller does not have, or has another model than. */
const insideOf = ({ built, definition }: Entry, caller: Context.Context<never>): Context.Context<never> => {
  if (built === undefined) return caller
  const known = built.contexts.get(caller)
  if (known !== undefined) return known
  const services = new Map(caller.mapUnsafe)
  for (const [key, service] of built.services.mapUnsafe) {
    if (!services.has(key) || ofModel.has(key)) services.set(key, service)
  }
  const running = Context.get(caller, Running)
  const inside = Context.add(Context.makeUnsafe<never>(services), Running, [...running, definition])
  built.contexts.set(caller, inside)
  return inside
}

/** The caller's context, with what a middleware that runs in `inside` has provided around its `next`. */
const outsideOf = (
  current: Context.Context<never>,
  inside: Context.Context<never>,
  caller: Context.Context<never>
): Context.Context<never> => {
  if (current === inside) return caller
  const services = new Map(caller.mapUnsafe)
  for (const [key, service] of current.mapUnsafe) {
    if (inside.mapUnsafe.get(key) !== service) services.set(key, service)
  }
  return Context.makeUnsafe(services)
}

/** The caller of a middleware, which takes what comes of it. */
export interface Caller {
  readonly path: ReadonlyArray<string>
  /** Where the runs that a middleware makes itself begin. */
  readonly placeOf: (entry: Entry) => Place
  /** What is wrong with a request that a middleware made; `undefined` for a good one. */
  readonly refuseRequest: (request: unknown, by: Entry) => string | undefined
  /** What is wrong with an answer that a middleware made; `undefined` for a good one. */
  readonly refuseAnswer: (answer: unknown) => string | undefined
  /** Called when a middleware calls `next` once more. */
  readonly onRepeat?: ((entry: Entry) => void) | undefined
  /** Called when a middleware gives another answer than it was given. */
  readonly onReplace?: ((entry: Entry) => void) | undefined
  /** Called when a middleware fails with something that does not come from further in. */
  readonly onFailure?: ((entry: Entry) => void) | undefined
}

/** The failure of a middleware. The agent adds the conversation on the way out. */
export const middlewareError = (
  path: ReadonlyArray<string>,
  middleware: string,
  cause: unknown
): RunError.MiddlewareError => new RunError.MiddlewareError({ path, middleware, cause, transcript: Prompt.empty })

const nothing = Symbol()

/** What one call of a middleware was given from further in. */
interface Inner {
  calls: number
  answer: unknown
  /** Failures and defects that are not the middleware's own. */
  failures: Array<unknown> | undefined
  /** Whether something further in was interrupted from within. */
  isInterrupted: boolean
}

/** Goes on with a request, in a fiber that has this context. */
export type Go = (request: unknown, context: Context.Context<never>) => AnyEffect

/** Calls one middleware. `next` goes on further in; every other failure is the middleware's own. */
export const enter =
  (entry: Entry, stage: Stage, caller: Caller, next: Go): Go =>
  (request, outside) => {
    const inside = Context.add(insideOf(entry, outside), CurrentPlace, caller.placeOf(entry))
    const inner: Inner = { calls: 0, answer: nothing, failures: undefined, isInterrupted: false }
    const goOn = (changed: unknown): AnyEffect =>
      Effect.withFiber((fiber) => {
        if (inner.calls++ > 0) caller.onRepeat?.(entry)
        const refusal = changed === request ? undefined : caller.refuseRequest(changed, entry)
        if (refusal !== undefined) return failWith(entry, caller, new Error(refusal))
        const context = outsideOf(fiber.context, inside, outside)
        const further = noting(next(changed, context), inner)
        return context === fiber.context ? further : Effect.updateContext(further as Inside, () => context)
      })
    const own = Effect.matchCauseEffect(called(stage, request, goOn), {
      onSuccess: (answer) => (answer === inner.answer ? Effect.succeed(answer) : taken(answer, entry, caller)),
      onFailure: (cause) => refused(cause, inner, entry, caller)
    })
    return Effect.updateContext(own as Inside, () => inside)
  }

const failWith = ({ definition }: Entry, { path }: Caller, cause: unknown): Effect.Effect<never, unknown> =>
  Effect.fail(middlewareError(path, definition.name, cause))

/** Takes an answer that a middleware has made itself. */
const taken = (answer: unknown, entry: Entry, caller: Caller): AnyEffect => {
  const refusal = refusalOf(answer, caller)
  if (refusal === undefined) {
    caller.onReplace?.(entry)
    return Effect.succeed(answer)
  }
  caller.onFailure?.(entry)
  return failWith(entry, caller, refusal)
}

/** Fails with what a middleware has failed with. One that goes to sleep has not failed. */
const refused = (cause: Cause.Cause<unknown>, inner: Inner, entry: Entry, caller: Caller): AnyEffect =>
  Effect.flatMap(isAsleep(Exit.failCause(cause)), (asleep) => {
    if (!asleep && hasOwn(cause, inner)) caller.onFailure?.(entry)
    return Effect.failCause(asleep ? cause : owned(cause, entry, caller.path, inner))
  })

/** Why an answer cannot be taken: it says nothing that can be used, or it throws when it is looked at. */
const refusalOf = (answer: unknown, caller: Caller): unknown => {
  try {
    const refusal = caller.refuseAnswer(answer)
    return refusal === undefined ? undefined : new Error(refusal)
  } catch (defect) {
    return defect ?? new Error("it returned something that throws when it is looked at")
  }
}

/** Notes what comes from further in. */
const noting = (effect: AnyEffect, inner: Inner): AnyEffect =>
  Effect.matchCauseEffect(effect, {
    onSuccess: (answer) => {
      inner.answer = answer
      return Effect.succeed(answer)
    },
    onFailure: (cause) => {
      const failures = (inner.failures ??= [])
      for (const reason of cause.reasons) {
        if (Cause.isFailReason(reason)) failures.push(reason.error)
        if (Cause.isDieReason(reason)) failures.push(reason.defect)
        if (Cause.isInterruptReason(reason)) inner.isInterrupted = true
      }
      return Effect.failCause(cause)
    }
  })

const called = (stage: Stage, request: unknown, next: (request: unknown) => AnyEffect): AnyEffect => {
  try {
    const made = stage(request as never, next as never)
    return Effect.isEffect(made)
      ? (made as AnyEffect)
      : Effect.die(
          new Error(`it returned ${kindOf(made)}, not an Effect; functions that do not are for Middleware.hooks`)
        )
  } catch (defect) {
    return Effect.die(defect)
  }
}

const isAgentError = (error: unknown): boolean => {
  if (!Predicate.hasProperty(error, "_tag") || typeof error._tag !== "string") return false
  const known: Readonly<Record<string, AnyClass>> = agentErrors
  return Object.hasOwn(known, error._tag) && error instanceof known[error._tag]!
}

type AnyClass = abstract new (...args: never) => unknown

const agentErrors: { readonly [Tag in AgentError["_tag"]]: AnyClass } = {
  ModelError: RunError.ModelError,
  MaxStepsExceeded: RunError.MaxStepsExceeded,
  MaxToolCallsExceeded: RunError.MaxToolCallsExceeded,
  InvalidOutput: RunError.InvalidOutput,
  OutputTruncated: RunError.OutputTruncated,
  ModelRefused: RunError.ModelRefused,
  EmptyTurn: RunError.EmptyTurn,
  ToolError: RunError.ToolError,
  RunSuspended: RunError.RunSuspended,
  InvalidApproval: RunError.InvalidApproval,
  CannotResume: RunError.CannotResume,
  InvalidTranscript: RunError.InvalidTranscript,
  AsyncToolError: RunError.AsyncToolError,
  MiddlewareError: RunError.MiddlewareError,
  MissingModel: RunError.MissingModel,
  MissingSyncEdge: RunError.MissingSyncEdge,
  NestedSyncEdge: RunError.NestedSyncEdge,
  StuckSyncEdge: RunError.StuckSyncEdge,
  ThreadsForbidden: RunError.ThreadsForbidden
}

/** Whether a cause has a failure that does not come from further in. */
const hasOwn = ({ reasons }: Cause.Cause<unknown>, { failures = [] }: Inner): boolean =>
  reasons.some(
    (reason) =>
      (Cause.isFailReason(reason) && !failures.includes(reason.error)) ||
      (Cause.isDieReason(reason) && !failures.includes(reason.defect))
  )

/** The cause with the middleware's own defects as errors, and with its own errors so too where no type knows them. */
const owned = (
  cause: Cause.Cause<unknown>,
  { built, definition }: Entry,
  path: ReadonlyArray<string>,
  { failures = [], isInterrupted }: Inner
): Cause.Cause<unknown> => {
  const wrap = (cause: unknown) => Cause.fail(middlewareError(path, definition.name, cause)).reasons
  return Cause.fromReasons(
    cause.reasons.flatMap((reason): ReadonlyArray<Cause.Reason<unknown>> => {
      if (Cause.isDieReason(reason) && !failures.includes(reason.defect)) return wrap(reason.defect)
      // Where the run is interrupted, nothing comes here.
      if (Cause.isInterruptReason(reason) && !isInterrupted) return wrap(new Error("it was interrupted from within"))
      const isForeign =
        built !== undefined &&
        Cause.isFailReason(reason) &&
        !failures.includes(reason.error) &&
        !isAgentError(reason.error)
      return isForeign ? wrap(reason.error) : [reason]
    })
  )
}
