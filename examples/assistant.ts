/**
 * An assistant at home: one conversation, two channels and a schedule. It is talked to in the terminal and over HTTP or a WebSocket,
 * and it speaks by itself when the schedule says so; all of it is one session. `node examples/assistant.ts`, and Ctrl-D to end it.
 * Without a terminal it shows itself once, and ends.
 */
import { createInterface } from "node:readline"
import { NodeRuntime } from "@effect/platform-node"
import { Deferred, Effect, Layer, Schedule, Stream } from "effect"
import { Agent, AgentServer, DemoModel, RunEvent, Session, SessionStore } from "troupe"

const assistant = Agent.make("assistant", { description: "Helps at home", instructions: "Answer briefly." })
const chat = Session.of(assistant, "home")

const say = (text: string) => Effect.sync(() => process.stdout.write(text))

// Workdays at eight would be "0 8 * * 1-5"; here it is each second, since there are six fields.
const schedule = Schedule.cron(process.env["ASSISTANT_CRON"] ?? "* * * * * *")

/** Speaks when the schedule says so. What it finds is part of the conversation, so it can be asked about it later. */
const scheduled = (spoken: Deferred.Deferred<void>) =>
  chat.run("What is 12 + 30?").pipe(
    Effect.tap((answer) => say(`[schedule] ${answer}\n`)),
    Effect.tap(() => Deferred.succeed(spoken, undefined)),
    // A day without a model is not the end of the schedule.
    Effect.catch((error) => say(`[schedule] ${error.message}\n`)),
    Effect.schedule(schedule)
  )

/** The terminal: a line is a turn, whose text is written as it comes. */
const terminal = Effect.gen(function* () {
  yield* say("Ask me something. Ctrl-D ends me.\n")
  const lines = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(Stream.orDie(lines), (line) =>
    RunEvent.text(chat.stream(line)).pipe(
      Stream.runForEach(say),
      Effect.catch((error) => say(error.message)),
      Effect.andThen(say("\n"))
    )
  )
})

/** A client of the other channel, as a phone would be: a question over the WebSocket, and then the conversation so far. */
const phone = (url: string) =>
  Effect.promise(async () => {
    const socket = new WebSocket(`${url.replace("http", "ws")}/runners/assistant/ws`)
    socket.addEventListener("open", () => socket.send(JSON.stringify({ session: "home", input: "What is 2 + 40?" })))
    await new Promise((resolve) => socket.addEventListener("close", resolve))
    const { messages } = (await (await fetch(`${url}/sessions/home`)).json()) as {
      readonly messages: ReadonlyArray<{ readonly role: string; readonly text: string }>
    }
    return messages.map(({ role, text }) => `[phone] ${role}: ${text}\n`).join("")
  })

const program = Effect.gen(function* () {
  const { url } = yield* AgentServer.Listening
  yield* say(`Also at ${url}/runners/assistant, with { "session": "home", "input": "..." }\n`)
  const spoken = yield* Deferred.make<void>()
  yield* Effect.forkChild(scheduled(spoken))
  if (process.stdin.isTTY) return yield* terminal
  yield* Deferred.await(spoken)
  yield* Effect.flatMap(phone(url), say)
})

const Server = AgentServer.serve({ runners: { assistant }, port: 0 })
program.pipe(
  Effect.provide(Server),
  // One store and one model for both channels: in a file and of a provider, to outlive the program.
  Effect.provide(Layer.merge(SessionStore.layerMemory, DemoModel.layer)),
  NodeRuntime.runMain
)
