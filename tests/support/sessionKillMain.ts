/**
 * A process that takes turns of sessions until it is killed or has no more to do: `node sessionKillMain.ts DATABASE LOG NAME`.
 * It reads the id of a session for each turn from standard input, and writes a line when the turn was kept: its id and the
 * answer; or the id and nothing, when the turn was refused and left nothing. Its tool writes a line to the log for each call.
 */
import * as fs from "node:fs"
import * as readline from "node:readline"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as RunError from "troupe/RunError"
import * as Session from "troupe/Session"
import * as SessionStore from "troupe/SessionStore"
import * as Sqlite from "troupe/Sqlite"
import * as Telemetry from "troupe/Telemetry"
import * as TestModel from "troupe/TestModel"
import * as Transcript from "troupe/Transcript"

const [database, log, name] = process.argv.slice(2) as [string, string, string]

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

const clientOf = async () => {
  if (!database.startsWith("postgres://")) return Sqlite.layer({ filename: database, synchronous: "normal" })
  const { PgClient } = await import("@effect/sql-pg")
  return PgClient.layer({ url: Redacted.make(database), maxConnections: 8, connectTimeout: "30 seconds" })
}

let count = 0
const turn = (id: string) =>
  Effect.suspend(() => Session.of(agent, id).run(`${id}/${name}-${process.pid}-${count++}`)).pipe(
    // On a busy machine a process can be stopped for longer than its leases.
    Effect.catchIf(
      (error) => error instanceof RunError.SessionConflict,
      () => Effect.succeed("")
    ),
    Effect.map((answer) => void fs.writeSync(1, `${id} ${answer}\n`))
  )

// Read from when all is ready: lines that come between the making of the interface and its first reading are lost.
const lines = Stream.suspend(() =>
  Stream.fromAsyncIterable(readline.createInterface({ input: process.stdin }), (cause) => cause)
)
const turns = lines.pipe(Stream.mapEffect(turn, { concurrency: "unbounded" }), Stream.runDrain)

await Effect.runPromise(
  turns.pipe(
    Effect.provide([SessionStore.layerSql.pipe(Layer.provide(await clientOf())), model]),
    Effect.provideService(SessionStore.Lease, "1 second"),
    Effect.provideService(Telemetry.LogFailures, false)
  )
)
