/** What clients of servers share: requests, answers up to a size, and bills that can be true. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Response from "effect/ai/Response"
import * as Stream from "effect/Stream"
import type { Bill } from "../../../internal/bill.ts"
import { makeUsage } from "../../../internal/usage.ts"

/** How a server is asked. */
export interface Asking {
  readonly token?: Redacted.Redacted<string> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly fetch?: typeof globalThis.fetch | undefined
}

/** A request: a `POST` of JSON where it has a body, else a `GET`. */
export interface Request {
  readonly url: string
  readonly accept: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string | undefined
}

/** Sends a request. The signal ends it when the run is interrupted. */
export const send = <E>(
  { fetch = globalThis.fetch, headers, token }: Asking,
  { accept, body, headers: own, url }: Request,
  unreachable: () => E
): Effect.Effect<globalThis.Response, E> =>
  Effect.tryPromise({
    try: (signal) =>
      fetch(url, {
        method: body === undefined ? "GET" : "POST",
        // A redirect would take the token, the headers and the input elsewhere.
        redirect: "error",
        headers: {
          accept,
          ...own,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(token === undefined ? {} : { authorization: `Bearer ${Redacted.value(token)}` }),
          ...headers
        },
        ...(body === undefined ? {} : { body }),
        signal
      }),
    catch: unreachable
  })

/** How many characters an answer may have where nothing else is said. */
export const defaultLimit = 16 * 1024 * 1024

/** The text of an answer as it comes. Fails where it breaks off, and with more than `limit` characters. */
export const texts = <E>(
  { body }: globalThis.Response,
  limit: number,
  failure: (reason: "unreachable" | "too-large", detail: string) => E
): Stream.Stream<string, E> => {
  if (body === null) return Stream.empty
  let size = 0
  return Stream.fromReadableStream({
    evaluate: () => body,
    onError: () => failure("unreachable", "The answer broke off.")
  }).pipe(
    Stream.decodeText(),
    Stream.mapEffect((text) => {
      size += text.length
      return size > limit
        ? Effect.fail(failure("too-large", `The answer has more than ${limit} characters.`))
        : Effect.succeed(text)
    })
  )
}

/** A number of a bill. Nothing takes less than nothing. */
const known = (value: number | undefined): number | undefined => (value !== undefined && value >= 0 ? value : undefined)

/** A usage without the counts that cannot be true. */
export const usageOf = ({ inputTokens, outputTokens }: Response.Usage): Response.Usage =>
  makeUsage({
    inputTokens: {
      uncached: known(inputTokens.uncached),
      total: known(inputTokens.total),
      cacheRead: known(inputTokens.cacheRead),
      cacheWrite: known(inputTokens.cacheWrite)
    },
    outputTokens: {
      total: known(outputTokens.total),
      text: known(outputTokens.text),
      reasoning: known(outputTokens.reasoning)
    }
  })

/** The price of a usage as a field of an event, where it is known. */
export const priceOf = (cost: number | undefined): { readonly cost?: number } => {
  const price = known(cost)
  return price === undefined ? {} : { cost: price }
}

/** Adds what a run elsewhere has taken in sum to the bill of the run here that stands for it. */
export const charge = (
  bill: Bill,
  { cost, steps, usage }: { readonly usage: Response.Usage; readonly cost?: number | undefined; readonly steps: number }
): void => {
  bill.addStep(Math.max(0, steps - bill.steps))
  bill.addUsage(usageOf(usage), known(cost))
}
