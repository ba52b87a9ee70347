/** In which order models are asked. */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Random from "effect/Random"
import { digest } from "../../../internal/fingerprint.ts"
import { makeUsage } from "../../../internal/usage.ts"
import { CurrentRun } from "../../../services/CurrentRun.ts"
import { CurrentSettings } from "../../../services/ModelInfo.ts"
import { CurrentPrices } from "../../../services/Prices.ts"
import { lacking } from "./capable.ts"
import type { Member } from "./members.ts"

/** An order, made by the functions of `Fallback`. */
export type Order =
  | { readonly _tag: "InOrder" }
  | { readonly _tag: "RoundRobin" }
  | { readonly _tag: "Weighted"; readonly weights: ReadonlyArray<number> }
  | { readonly _tag: "Cheapest" }
  | { readonly _tag: "Sticky" }

/** The members in the order in which the next call asks them. */
export const make = (order: Order): ((members: ReadonlyArray<Member>) => Effect.Effect<ReadonlyArray<Member>>) => {
  let calls = 0
  return (members) => {
    switch (order._tag) {
      case "InOrder":
        return Effect.succeed(members)
      case "RoundRobin":
        return Effect.sync(() => from(members, calls++ % members.length))
      case "Weighted":
        return Effect.withFiber((fiber) =>
          Effect.succeed(drawn(members, order.weights, () => fiber.getRef(Random.Random).nextDoubleUnsafe()))
        )
      case "Cheapest":
        return Effect.map(CurrentPrices, (prices) => {
          const costs = new Map(members.map((member) => [member, prices.cost({ ...member, usage: sample })]))
          return members.toSorted(
            (a, b) => (costs.get(a) ?? Infinity) - (costs.get(b) ?? Infinity) || a.index - b.index
          )
        })
      case "Sticky":
        return Effect.map(CurrentRun, (run) =>
          run === undefined
            ? members
            : from(members, Number.parseInt(digest(run.conversationId).slice(-8), 36) % members.length)
        )
    }
  }
}

/** Those from one on, and then those before it. */
const from = (members: ReadonlyArray<Member>, first: number): ReadonlyArray<Member> => [
  ...members.slice(first),
  ...members.slice(0, first)
]

/** A request with about three times as many tokens as its answer, as those of agents are. */
const sample = makeUsage({ inputTokens: { total: 3000 }, outputTokens: { total: 1000 } })

/** Members drawn one after the other, each as likely as its weight among those that are left. */
const drawn = (
  members: ReadonlyArray<Member>,
  weights: ReadonlyArray<number>,
  random: () => number
): ReadonlyArray<Member> => {
  const left = [...members]
  const order: Array<Member> = []
  while (left.length > 0) {
    const total = left.reduce((sum, { index }) => sum + weights[index]!, 0)
    let at = random() * total
    const chosen = left.findIndex(({ index }) => (at -= weights[index]!) < 0)
    order.push(...left.splice(chosen < 0 ? left.length - 1 : chosen, 1))
  }
  return order
}

/** The members that are not known to lack what a request asks for; all of them where each lacks something. */
export const capable = (
  members: ReadonlyArray<Member>,
  request: LanguageModel.ProviderOptions
): Effect.Effect<ReadonlyArray<Member>> =>
  Effect.map(CurrentSettings, ({ reasoning }) => {
    const fitting = members.filter(({ info }) => lacking(request, info?.capabilities ?? {}, reasoning) === undefined)
    return fitting.length === 0 ? members : fitting
  })
