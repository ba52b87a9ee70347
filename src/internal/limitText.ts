/** What a limit of a budget allows, in words: for errors, for models and for events. */
import * as Duration from "effect/Duration"

/** What a budget can limit. */
export type Limit = "tokens" | "cost" | "steps" | "toolCalls" | "time"

/** An amount of what a limit counts: US dollars for `cost`, milliseconds for `time`. */
export const limitText = (limit: Limit, amount: number): string => {
  switch (limit) {
    case "cost":
      return `$${Number(amount.toPrecision(6))}`
    case "time":
      return Duration.format(Duration.millis(amount))
    case "toolCalls":
      return `${amount} tool ${amount === 1 ? "call" : "calls"}`
    default:
      return `${amount} ${amount === 1 ? limit.slice(0, -1) : limit}`
  }
}
