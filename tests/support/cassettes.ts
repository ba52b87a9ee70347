/** What the tests of a cassette's file share: a model on one, and what failed. */
import { inspect } from "node:util"
import { assert } from "@effect/vitest"
import { Cause, Exit, Layer, Redacted } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, Cassette, OpenAi } from "troupe"

export const secret = "sk-very-secret-0123456789"
export const talker = Agent.make("talker", { retry: "none" })

export const model = (
  url: string | undefined,
  cassette: Cassette.Options,
  options: Partial<OpenAi.Options> = {}
): Layer.Layer<LanguageModel.LanguageModel | Cassette.Cassette, unknown> =>
  OpenAi.layer({
    model: "m",
    baseUrl: url,
    api: "chat",
    retry: "none",
    ...(cassette.mode === "replay" ? {} : { apiKey: Redacted.make(secret) }),
    ...options
  }).pipe(Layer.provideMerge(Cassette.layer(cassette)))

export const failureOf = <E>(exit: Exit.Exit<unknown, E>): E =>
  Exit.isSuccess(exit) ? assert.fail(`succeeded with ${inspect(exit.value)}`) : (Cause.squash(exit.cause) as E)
