/** A server with a playground: its runners, and a model over the wire that answers by what it is asked. */
import { Effect, Layer, Redacted, Schema } from "effect"
import { Agent, AgentTool, Handoffs, OpenAi, Parallel, RunEvent, Runner, SessionStore, TraceStore } from "troupe"
import { listen } from "./agentServer.ts"
import { make, reasoning, type Reply, type Seen, text, toolCalls } from "./openAiServer.ts"

const lookUp = AgentTool.fromFunction("look_up", {
  description: "Looks an order up",
  parameters: Schema.Struct({ order: Schema.String }),
  execute: ({ order }) => Effect.delay(Effect.succeed({ order, item: "Teapot", price: 40 }), "60 millis")
})

/** The amounts that were paid back. */
export const paid: Array<number> = []

const refund = AgentTool.fromFunction("refund", {
  description: "Pays money back",
  parameters: Schema.Struct({ order: Schema.String, amount: Schema.Finite }),
  needsApproval: true,
  execute: ({ amount }) => {
    paid.push(amount)
    return { paid: amount }
  }
})

const desk = Agent.make("desk", {
  description: "Answers questions about orders, and pays money back",
  instructions: "You are the desk.",
  tools: [lookUp, refund]
})
const legal = Agent.make("legal", { instructions: "You are legal." })
const finance = Agent.make("finance", { instructions: "You are finance." })
const chair = Agent.make("chair", { instructions: "You are the chair." })
const panel = Parallel.make("panel", { legal, finance }, { combine: chair })
const area = Runner.make("area", {
  run: ({ height, width }: { readonly width: number; readonly height: number }) => Effect.succeed(width * height)
})

/** Three who hand over to each other: what each is asked decides to whom. */
const team = Handoffs.make(
  "team",
  {
    triage: Agent.make("triage", {
      instructions: "You are triage.",
      tools: [Handoffs.to("billing"), Handoffs.to("technical")]
    }),
    billing: Agent.make("billing", { instructions: "You are billing.", tools: [Handoffs.to("technical")] }),
    technical: Agent.make("technical", { instructions: "You are technical.", tools: [Handoffs.to("triage")] })
  },
  { start: "triage" }
)

export const runners = {
  desk,
  panel,
  team,
  area: { runner: area, input: Schema.Struct({ width: Schema.Finite, height: Schema.Finite }) }
}

/** What tries to run: each would set `document.title` or `window.ran`. */
export const hostile = [
  '<script>window.ran = 1</script><img src=x onerror="window.ran = 2"><svg onload="window.ran = 3">',
  "[link](javascript:window.ran=4) [data](data:text/html,<script>window.ran=5</script>)",
  '![image](http://127.0.0.1:9/pixel.png) <a href="javascript:window.ran=6" onclick="window.ran=7">go</a>',
  "```html\n</code></pre><script>window.ran = 8</script>\n```",
  '| <b>a</b> | b |\n|---|---|\n| <iframe srcdoc="<script>parent.ran = 9</script>"> | [ok](https://example.com) |'
].join("\n\n")

const name = '<img src=x onerror="window.ran = 10">'

/** A run that was kept, of which every name and every text tries to run. */
export const hostileEvents: ReadonlyArray<RunEvent.RunEvent> = (() => {
  const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } }
  const spent = { usage, steps: 1, text: hostile, toolCalls: [] }
  const of = { step: 1, toolCallId: name, tool: name }
  const nested = { runId: "run_hostile/1", path: [name, `${name}2`] }
  const events = [
    { _tag: "RunStarted" },
    { _tag: "StepStarted", step: 1 },
    { _tag: "ReasoningDelta", step: 1, delta: hostile },
    { _tag: "TextDelta", step: 1, delta: hostile },
    { _tag: "ToolCalled", ...of, params: { [name]: hostile } },
    { _tag: "RunStarted", parentId: "run_hostile", ...nested },
    { _tag: "RouteTaken", routes: [name], confidence: 1, fallback: false, ...nested },
    { _tag: "RunCompleted", spent, durationMs: 5, output: hostile, ...nested },
    { _tag: "HandedOff", from: `${name}2`, to: `${name}3`, reason: hostile },
    { _tag: "ToolCompleted", ...of, result: hostile, durationMs: 5 },
    { _tag: "StepCompleted", step: 1, finishReason: "stop", usage },
    { _tag: "RunFailed", spent, durationMs: 10, error: { _tag: name, message: hostile }, message: hostile }
  ]
  return events.map((event, seq) =>
    Schema.decodeUnknownSync(RunEvent.RunEvent)({
      v: RunEvent.version,
      seq,
      at: 1_700_000_000_000 + seq * 10,
      runId: "run_hostile",
      path: [name],
      ...event
    })
  )
})()

const answer = `The **teapot** of order \`A-17\` is refunded:

1. The order was *looked up*.
2. The amount was paid back.

| order | paid |
|---|---|
| A-17 | 25 |
`

/** An answer of some length. */
export const long = Array.from({ length: 40 }, (_, n) => `word${n}`).join(" ")

let opening: (() => void) | undefined
let opened: Promise<void> = Promise.resolve()

/** Holds answers of the model before their last event, so that a test can look at runs that are under way. */
export const gate = {
  close: (): void => {
    opened = new Promise((resolve) => {
      opening = resolve
    })
  },
  open: (): void => opening?.()
}

const paced: Reply = { paceMs: 4, beforeLast: () => opened }

/** The last message, and who is asked. */
const reply = ({ body }: Seen): Reply => {
  const messages = body["messages"] as ReadonlyArray<{ readonly role: string; readonly content: unknown }>
  const last = messages.at(-1)!
  const said = JSON.stringify(last.content)
  const system = JSON.stringify(messages[0]!.content)
  if (system.includes("legal"))
    return text("There is **no** legal objection to it, as far as the contract goes.", paced)
  if (system.includes("finance")) return text("It costs 40 a month, which the budget has room for.", paced)
  if (system.includes("chair")) return text("Do it: neither law nor money speaks against it.", paced)
  if (system.includes("triage")) {
    return toolCalls([{ name: "transfer_to_technical", args: { reason: "a fault", message: "Help." }, id: "call-h" }])
  }
  if (system.includes("technical")) return text("Turn it off and on again.", paced)
  if (said.includes("shorter")) return text("Short.", paced)
  if (last.role === "tool" && said.includes("paid")) return text(answer, paced)
  if (last.role === "tool" && said.includes("Teapot")) {
    return toolCalls([{ name: "refund", args: { order: "A-17", amount: 40 }, id: "call-2" }])
  }
  if (said.includes("hostile")) return text(hostile, paced)
  if (said.includes("long")) return text(long, paced)
  if (said.includes("endless")) return text("This answer never comes to its end.", { ...paced, hangAfter: 4 })
  if (said.includes("refund")) {
    const thought = "The customer wants the money back. I look the order up first, to know what was paid."
    return reasoning(thought, { ...toolCalls([{ name: "look_up", args: { order: "A-17" }, id: "call-1" }]), ...paced })
  }
  return text("Good morning. Ask me about an order.", paced)
}

/** Listens until the scope closes. The traces are kept in memory. */
export const playground = Effect.gen(function* () {
  const model = yield* make(reply)
  const layers = Layer.mergeAll(
    OpenAi.layer({ model: "gpt-4.1-mini", api: "chat", baseUrl: model.url, apiKey: Redacted.make("key") }),
    TraceStore.layerMemory,
    SessionStore.layerMemory
  )
  const expose = ["arguments", "results", "reasoning", "nested", "errors"] as const
  const url = yield* listen({ runners, playground: true, expose, reconnect: "10 seconds" }, layers)
  return { url, model }
})
