/** Agents for servers, and the clients of other libraries on a server that is a function. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { DefaultChatTransport, readUIMessageStream, type UIMessage } from "ai"
import { Effect, type Layer, Schema, type Scope } from "effect"
import type { LanguageModel } from "effect/ai"
import OpenAI from "openai"
import { Agent, type AgentServer, AgentTool, Chain, Runner, TestModel } from "troupe"
import { assert } from "vitest"
import { handling } from "./agentServer.ts"
import { till } from "./till.ts"

const { paid, pay } = till()
/** What {@link payer} has paid. */
export { paid }
/** Has a tool that waits for approval. */
export const payer = Agent.make("payer", { tools: [pay] })
/** A model that calls the tool of {@link payer}, and answers `text` once it has a result. */
export const paying = (text: string) =>
  model(({ prompt }) =>
    prompt.content.some(({ role }) => role === "tool") ? text : TestModel.toolCall("pay", { amount: 5 })
  )

const look = AgentTool.fromFunction("look", {
  description: "Looks",
  parameters: Schema.Struct({ at: Schema.String }),
  execute: ({ at }) => `s3cr3t result at ${at}`
})
/** Has instructions and a tool whose results clients do not see. */
export const desk = Agent.make("desk", { tools: [look], instructions: "s3cr3t instructions" })

const locate = AgentTool.client("locate", {
  description: "Says where the user is",
  parameters: Schema.Struct({ exact: Schema.Boolean }),
  success: Schema.Struct({ city: Schema.String })
})
/** Has a tool that its client runs. */
export const guide = Agent.make("guide", { tools: [locate] })
/** A workflow, which has no text of its own. */
export const chain = Chain.make("chain", [Agent.make("first", {}), Agent.make("second", {})])

/** One of each. */
export const runners = { desk, payer, guide, chain }

/** A model that need not be asked for all that it has. */
export const model = (script: TestModel.Script) => TestModel.layer(script, { unused: "ignore" })

/** A runner that ends by interruption alone, and how often it began and ended. */
export const endless = () => {
  const state = { begun: 0, ended: 0 }
  const runner = Runner.make("endless", {
    run: (text: string) =>
      Effect.suspend(() => {
        state.begun++
        return Effect.as(Effect.never, text)
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => state.ended++)))
  })
  return { runner, state }
}

/** An agent whose tool `wait` ends by interruption alone, and what became of the call. */
export const waitingAgent = () => {
  const call = { isBegun: false, isStopped: false }
  const endless = Effect.suspend(() => {
    call.isBegun = true
    return Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (call.isStopped = true)))
  })
  const slow = Agent.make("slow", {
    tools: [AgentTool.fromFunction("wait", { description: "Waits", execute: () => endless })]
  })
  return { slow, call }
}

/** The handler of a server as a fetch. */
export const fetchOf = (handler: AgentServer.WebHandler["handler"]): typeof globalThis.fetch =>
  ((input: string | URL | Request, init?: RequestInit) => handler(new Request(input, init))) as typeof globalThis.fetch

/** The `openai` SDK, and the AI SDK's provider for servers like OpenAI's, on a server with `desk` and `guide`. */
export const openAiClients = (
  script: Layer.Layer<LanguageModel.LanguageModel>,
  options: AgentServer.ServerOptions = {}
) =>
  Effect.map(handling({ runners: { desk, guide }, ...options }, script), (handler) => {
    const fetch = fetchOf(handler)
    const openai = new OpenAI({ baseURL: "http://localhost/v1", apiKey: "k", fetch, maxRetries: 0 })
    const compatible = createOpenAICompatible({ name: "troupe", baseURL: "http://localhost/v1", fetch })
    return { openai, compatible }
  })

/** The error of the `openai` SDK that a request failed with. */
export const rejected = (promise: Promise<unknown>) =>
  promise.then(
    () => assert.fail("it was accepted"),
    (error: unknown) => error as InstanceType<typeof OpenAI.APIError>
  )

/** A chat of a page, as far as it has come: the AI SDK's own transport, and its own reader of the stream. */
export const chatOn = (
  name: keyof typeof runners,
  script: Layer.Layer<LanguageModel.LanguageModel>,
  options: AgentServer.ServerOptions = {}
): Effect.Effect<Chat, never, Scope.Scope> =>
  Effect.map(handling({ runners, ...options }, script), (handler) => {
    const transport = new DefaultChatTransport({ api: `http://localhost/ui/${name}`, fetch: fetchOf(handler) })
    const messages: Array<UIMessage> = []
    const send = async (abortSignal?: AbortSignal): Promise<UIMessage> => {
      const trigger = "submit-message"
      const stream = await transport.sendMessages({
        trigger,
        chatId: "c1",
        messageId: undefined,
        messages,
        abortSignal
      })
      const last = messages.at(-1)
      const goesOn = last?.role === "assistant" ? { message: last } : {}
      let answer: UIMessage | undefined
      for await (const message of readUIMessageStream({ stream, terminateOnError: true, ...goesOn })) answer = message
      return answer!
    }
    return {
      messages,
      say: async (text, abortSignal) => {
        messages.push({ id: `u${messages.length}`, role: "user", parts: [{ type: "text", text }] })
        const answer = await send(abortSignal)
        messages.push(answer)
        return answer
      },
      goOn: send
    }
  })

/** A chat of a page. */
export interface Chat {
  readonly messages: Array<UIMessage>
  readonly say: (text: string, abortSignal?: AbortSignal) => Promise<UIMessage>
  /** Sends the messages as they are. */
  readonly goOn: (abortSignal?: AbortSignal) => Promise<UIMessage>
}
