/**
 * Limits on what servers may ask of our model, and the person who may be asked before: how many requests, how many at once,
 * how many tokens. What a request spends is counted in the run whose call the server works on.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Response from "effect/ai/Response"
import { memoize } from "effect/Function"
import * as Semaphore from "effect/Semaphore"
import { assertOptions, namesOf, numberOf } from "../../../internal/definition.ts"
import { hash } from "../../../internal/fingerprint.ts"
import { toJson } from "../../../internal/json.ts"
import { CurrentState } from "../../../internal/runState.ts"
import { type Approver, CurrentApprover, floorsOf, type Request } from "../../../services/Approver.ts"
import type { Call } from "./askingContext.ts"

/** Limits on the requests of one server for answers of the model. */
export interface SamplingLimits {
  /** How many it may make in one call of a tool, and in all outside of calls. Default 10. */
  readonly maxRequests?: number | undefined
  /** How many are answered at once; others wait. Default 1. */
  readonly maxConcurrent?: number | undefined
  /** How many tokens, of input and output, they may use in one call of a tool. Default 100,000. */
  readonly maxTokens?: number | undefined
}

/** Throws `InvalidDefinition` for limits that are not numbers, or let no request through to its end. */
export const check = (limits: SamplingLimits = {}): void => {
  const subject = "samplingLimits of Mcp"
  assertOptions(subject, limits, known)
  const { maxConcurrent = 1, maxRequests = 1, maxTokens = 1 } = limits
  for (const [name, limit, least] of [
    ["maxRequests", maxRequests, 0],
    ["maxConcurrent", maxConcurrent, 1],
    ["maxTokens", maxTokens, 0]
  ] as const) {
    numberOf(subject, name, limit, least)
  }
}

const known = namesOf<SamplingLimits>({ maxRequests: true, maxConcurrent: true, maxTokens: true })

/** Requests and tokens of one call. */
interface Account {
  requests: number
  tokens: number
}

/** The tokens that answers of the model may use. */
export interface Budget {
  /** How many are left. */
  readonly left: () => number
  /** Counts what an answer has used. */
  readonly spend: (usage: Response.Usage) => void
}

/** The tokens for the request that is answered; without a limit where a handler is called by hand. */
export const Budget: Context.Reference<Budget> = Context.Reference<Budget>("troupe/layers/mcp/SamplingBudget", {
  defaultValue: () => ({ left: () => Infinity, spend: () => {} })
})

/** The server that asks; absent where a handler is called by hand. */
export const AskingServer: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "troupe/layers/mcp/AskingServer",
  { defaultValue: () => undefined }
)

/** The requests of one server, within limits. */
export interface Sampling {
  /** `calls`: those that the request may belong to; `context`: the services that it is answered with. */
  readonly limit: <A>(
    calls: ReadonlyArray<Call>,
    context: Context.Context<never>,
    answer: Effect.Effect<A, string>
  ) => Effect.Effect<A, string>
}

/** Starts to count the requests of a server. */
export const make = (server: string, limits: SamplingLimits = {}): Sampling => {
  const { maxConcurrent = 1, maxRequests = 10, maxTokens = 100_000 } = limits
  const permits = Semaphore.makeUnsafe(maxConcurrent)
  const open = (): Account => ({ requests: 0, tokens: 0 })
  const outside = open()
  const accountOf: (call: Call) => Account = memoize(open)
  /** The first call that may still ask, of those that a request may belong to. */
  const accountFor = (calls: ReadonlyArray<Call>): Account => {
    const all = calls.map(accountOf)
    return all.find(({ requests, tokens }) => requests < maxRequests && tokens < maxTokens) ?? all[0] ?? outside
  }
  return {
    limit: (calls, context, answer) =>
      Effect.suspend(() => {
        const account = accountFor(calls)
        const where = calls.length === 0 ? "" : " in one call of a tool"
        if (account.requests >= maxRequests) return Effect.fail(`at most ${maxRequests} requests are answered${where}`)
        account.requests++
        const state = Context.get(context, CurrentState)
        const budget: Budget = {
          left: () => maxTokens - account.tokens,
          spend: (usage) => {
            const tokens = (usage.inputTokens.total ?? 0) + (usage.outputTokens.total ?? 0)
            account.tokens += tokens
            state?.bill.addUsage(usage)
            state?.budget?.charge({ tokens, cost: 0, isUnpriced: true }, state.info.path)
          }
        }
        const own = Context.make(Budget, budget).pipe(Context.add(AskingServer, server))
        const within = Effect.suspend(() =>
          account.tokens >= maxTokens
            ? Effect.fail(`the ${maxTokens} tokens for answers of the model are used up${where}`)
            : Effect.provideContext(answer, own)
        )
        return permits.withPermits(1)(within)
      })
  }
}

/** Asks the approvers that are provided, if any, whether a server gets an answer of the model. Fails with a reason. */
export const approveSampling = Effect.fnUntraced(function* (params: unknown): Effect.fn.Return<void, string> {
  const context = yield* Effect.context<never>()
  const approvers: ReadonlyArray<Approver> = [Context.get(context, CurrentApprover), ...floorsOf(context)].filter(
    (approver) => approver !== undefined
  )
  if (approvers.length === 0) return
  const request = requestOf(
    Context.get(context, AskingServer),
    params,
    Context.get(context, CurrentState)?.info.path ?? [],
    yield* Clock.currentTimeMillis
  )
  for (const approver of approvers) {
    const rule = approver.rule(request, true)
    if (typeof rule !== "string") return yield* Effect.fail(rule.reason)
    if (rule === "allow") continue
    const decision = yield* approver.decide(request)
    if (decision._tag === "Denied") return yield* Effect.fail(decision.reason)
    if (decision._tag === "Later") return yield* Effect.fail("no one can approve the request now")
  }
})

const requestOf = (server: string | undefined, given: unknown, path: ReadonlyArray<string>, now: number): Request => {
  const tool = "sampling/createMessage"
  const params = toJson(given)
  const fingerprint = hash([server ?? null, tool, params])
  return {
    id: `${tool}/${fingerprint.slice(0, 16)}/${now}`,
    path,
    step: 0,
    toolCallId: tool,
    tool,
    ...(server === undefined ? {} : { server }),
    description: "An MCP server asks for an answer of the model, and gets what the model says",
    params,
    hints: { readOnly: false, destructive: false, idempotent: false, openWorld: true },
    fingerprint
  }
}
