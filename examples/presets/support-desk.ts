/**
 * A support desk: a router reads the message and chooses who answers; the billing desk can look up an invoice. What no
 * desk is sure of goes to a person. The route that was taken is in the result and in the events.
 *
 *     node examples/presets/support-desk.ts "The app crashes when I open the settings."
 */
import { Effect, Schema } from "effect"
import { Agent, AgentTool, Router, Runner } from "troupe"
import { main } from "./model.ts"

const invoices = new Map([
  ["1042", { invoice: "1042", amount: "49 euros", status: "paid twice" }],
  ["1043", { invoice: "1043", amount: "12 euros", status: "open" }]
])

const findInvoice = AgentTool.fromFunction("find_invoice", {
  description: "Find an invoice by its number",
  parameters: Schema.Struct({ number: Schema.String.annotate({ description: "The number of the invoice" }) }),
  hints: { readOnly: true },
  execute: ({ number }) => invoices.get(number) ?? { invoice: number, status: "unknown" }
})

const billing = Agent.make("billing", {
  description: "Invoices, payments, refunds: somebody was charged or wants money back",
  instructions: "You answer questions on invoices. Look up the invoice before you answer.",
  tools: [findInvoice]
})

const guide = `Restart the app after an update. If the app crashes when it opens, delete its cache in the settings of the device.
To change your password, open the account page and choose Security. An error 503 means that our servers are down for maintenance.`

const technical = Agent.make("technical", {
  description: "Errors, crashes, passwords: the app does not work",
  instructions: "Answer the question from this guide, and only from it."
}).pipe(Runner.mapInput((message: string) => `${message}\n\nThe guide:\n${guide}`))

const person = Runner.make("person", {
  description: "Anything else",
  run: (message: string) => Effect.succeed(`A colleague will answer you: "${message}"`)
})

const desk = Router.make(
  "desk",
  { billing, technical, person },
  { description: "Answers a customer's message", threshold: 0.5, fallback: "person" }
)
export default desk

const answer = (message: string) =>
  Effect.map(desk.result(message), ({ decisions, output }) => ({ answer: output, decisions }))
await main(import.meta.main, answer, "I was charged twice for invoice 1042, I want a refund of my payment.")
