/**
 * A process that takes turns of many sessions until it is killed or its time is over: `node sessionKillMain.ts FILE LOG NAME
 * SESSIONS CONCURRENCY MS`. It writes a line for each turn that was kept; its tool writes one to the log for each call.
 */
import * as fs from "node:fs"
import { Effect, Layer, Schema } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Session from "troupe/Session"
import * as SessionStore from "troupe/SessionStore"
import * as Sqlite from "troupe/Sqlite"
import * as Telemetry from "troupe/Telemetry"
import * as TestModel from "troupe/TestModel"
import * as Transcript from "troupe/Transcript"

const [file, log, name, sessions, concurrency, ms] = process.argv.slice(2) as [string, string, string, ...Array<string>]

const note = AgentTool.fromFunction("note", {
  description: "Notes",
  parameters: Schema.Struct({ text: Schema.String }),
  execute: ({ text }) => {
    fs.appendFileSync(log, `${text}\n`)
    return `noted ${text}`
  }
})
const agent = Agent.make("agent", { tools: [note] })
/** Answers with the number of the turn, as far as the model was sent the ones before it. */
const model = TestModel.layer(
  ({ prompt }) => {
    const turns = Transcript.turns(prompt)
    const { user } = turns.at(-1)!
    return prompt.content.at(-1)?.role === "tool"
      ? `${turns.length}:${user}`
      : TestModel.toolCall("note", { text: user })
  },
  { unused: "ignore" }
)

const until = Date.now() + Number(ms)
let count = 0
const worker = Effect.gen(function* () {
  while (Date.now() < until) {
    const id = `s${Math.floor(Math.random() * Number(sessions))}`
    const text = `${id}/${name}-${process.pid}-${count++}`
    const answer = yield* Session.of(agent, id).run(text)
    fs.writeSync(1, `${answer}\n`)
    // So that others have their turn.
    yield* Effect.sleep(0)
  }
})
const Store = SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: file, synchronous: "normal" })))

await Effect.runPromise(
  Effect.all(
    Array.from({ length: Number(concurrency) }, () => worker),
    { concurrency: "unbounded", discard: true }
  ).pipe(
    Effect.provide([Store, model]),
    Effect.provideService(SessionStore.Lease, "1 second"),
    Effect.provideService(Telemetry.LogFailures, false)
  )
)
