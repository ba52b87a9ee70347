/** `troupe chat`: a conversation with one agent at the terminal. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import { messageOf } from "../internal/message.ts"
import * as Session from "../agents/Session.ts"
import { oneLine } from "../internal/text.ts"
import { approve, deny } from "../layers/approvals/Approvals.ts"
import * as SessionStore from "../layers/state/SessionStore.ts"
import * as TraceStore from "../layers/state/TraceStore.ts"
import * as Runner from "../Runner.ts"
import * as Transcript from "../Transcript.ts"
import { databaseOf } from "./database.ts"
import { execute } from "./execute.ts"
import { badInput, type CliFailure, failed } from "./failure.ts"
import { type Lines, lines } from "./lines.ts"
import { choose, findOrAbsent, type Model } from "./model.ts"
import { assertNameless, assistant, load } from "./run.ts"
import { err, out } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly agent: Option.Option<string>
  readonly name?: Option.Option<string>
  readonly model: Option.Option<string>
  readonly session: Option.Option<string>
  readonly db: Option.Option<string>
}

type Agent = Runner.Runner<Prompt.RawInput, string, unknown, LanguageModel.LanguageModel>

interface Chat {
  readonly agent: Agent
  readonly model: Model
  readonly store: SessionStore.Service
  /** The session that the next turn belongs to. */
  id: string
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const named = Option.getOrUndefined(input.agent)
    if (named === undefined) yield* assertNameless(input.name)
    const agent = (named === undefined ? assistant : yield* load(named, input.name)) as Agent
    const model = yield* (named === undefined ? choose : findOrAbsent)(input.model)
    const id = Option.getOrElse(input.session, () => `chat-${globalThis.crypto.randomUUID().slice(0, 8)}`)
    if (id.trim() === "" || id.length > 512) return yield* badInput("the id of a session has 1 to 512 characters.")
    const isKept = Option.isSome(input.session) || Option.isSome(input.db)
    const database = isKept ? yield* databaseOf(input.db) : undefined
    yield* Effect.gen(function* () {
      const store = yield* SessionStore.SessionStore
      yield* talk({ agent, model, store, id }, yield* lines)
    }).pipe(
      Effect.provide(database === undefined ? SessionStore.layerMemory : storesOn(database)),
      Effect.scoped,
      Effect.mapError(failed)
    )
  })

type Database = Effect.Success<ReturnType<typeof databaseOf>>

/** What is said in a session that is kept can be looked at with `troupe trace`, too. */
const storesOn = (database: Database) =>
  Layer.mergeAll(SessionStore.layerSql, TraceStore.record.pipe(Layer.provide(TraceStore.layerSql))).pipe(
    Layer.provide(database)
  )

const help = `/history           what was said so far
/session [id]      the session; with an id, go on with that one
/sessions          the sessions that are kept
/fork id           go on in a copy of the session
/pending           what the session waits for
y, n               let the calls that wait for approval run, or not
/approve [id]      let the call that waits run; without an id, all of them
/deny [id] [why]   do not let it run
/giveup            end the turn that waits
/exit              leave; Ctrl-D does as well
Ctrl-C stops the answer under way, and not the chat.
`

const talk = (chat: Chat, read: Lines): Effect.Effect<void, CliFailure> =>
  Effect.gen(function* () {
    yield* err(`troupe: session ${oneLine(chat.id)}. Type a question, or /help.\n`)
    yield* showPending(chat)
    for (;;) {
      const line = yield* read("> ")
      if (line === undefined) return yield* err("\n")
      const text = line.trim()
      if (text === "/exit" || text === "/quit") return
      if (text === "") continue
      const decision = decisionOf(text)
      if (decision !== undefined && (yield* approvalsOf(chat)).length > 0) yield* answer(chat, decision, [])
      else yield* text.startsWith("/") ? command(chat, text) : turn(chat, text)
    }
  })

/** What a person types who is asked for an approval. */
const decisionOf = (text: string): "/approve" | "/deny" | undefined => {
  if (/^y(es)?$/i.test(text)) return "/approve"
  return /^no?$/i.test(text) ? "/deny" : undefined
}

/** Takes a turn. What goes wrong is written, and the chat goes on. */
const turn = (chat: Chat, input: Prompt.RawInput): Effect.Effect<void> =>
  Effect.gen(function* () {
    const session = Session.of(chat.agent, chat.id, { onFailure: "keep" })
    const runner = Runner.provide(session, Layer.succeed(SessionStore.SessionStore)(chat.store))
    const fiber = yield* Effect.forkChild(execute(runner, input, chat.model, { json: false, live: true }))
    const exit = yield* stoppable(fiber)
    if (Exit.isSuccess(exit)) return
    if (Cause.hasInterruptsOnly(exit.cause)) return yield* err("troupe: stopped\n")
    const error = Cause.squash(exit.cause)
    yield* err(`troupe: ${oneLine(messageOf(error))}\n`)
    yield* showPending(chat)
  })

/** Waits for a turn. Ctrl-C interrupts it, and nothing else. */
const stoppable = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const others = process.listeners("SIGINT")
      process.removeAllListeners("SIGINT")
      process.on("SIGINT", () => fiber.interruptUnsafe())
      return others
    }),
    () => Fiber.await(fiber),
    (others) =>
      Effect.sync(() => {
        process.removeAllListeners("SIGINT")
        for (const other of others) process.on("SIGINT", other)
      })
  )

type Needs = SessionStore.SessionStore

const on = <A, E>(chat: Chat, effect: Effect.Effect<A, E, Needs>): Effect.Effect<A, E> =>
  Effect.provideService(effect, SessionStore.SessionStore, chat.store)

const pendingOf = (chat: Chat) => Effect.orElseSucceed(on(chat, SessionStore.pending(chat.id)), () => [])

const showPending = (chat: Chat): Effect.Effect<void> =>
  Effect.flatMap(pendingOf(chat), (waiting) =>
    waiting.length === 0
      ? Effect.void
      : err(
          waiting
            .map((one) => {
              const what = one.kind === "event" ? `the event ${one.name}` : `${one.tool} ${JSON.stringify(one.params)}`
              return `waits for ${one.kind}: ${oneLine(what)} (${one.id})\n`
            })
            .join("") +
            (waiting.some(({ kind }) => kind === "approval") ? "Let it run? y or n, or /approve or /deny it.\n" : "")
        )
  )

const approvalsOf = (chat: Chat) =>
  Effect.map(pendingOf(chat), (waiting) => waiting.filter(({ kind }) => kind === "approval"))

const command = (chat: Chat, text: string): Effect.Effect<void> => {
  const [name, ...words] = text.split(/\s+/)
  const [word = ""] = words
  const ran = Effect.gen(function* () {
    switch (name) {
      case "/help":
        return yield* out(help)
      case "/history":
        return yield* out(historyOf(yield* SessionStore.history(chat.id)))
      case "/session":
        if (word !== "") chat.id = word
        return yield* out(`${oneLine(chat.id)}\n`)
      case "/sessions": {
        const all = yield* SessionStore.list({ limit: 1000 })
        return yield* out(all.map(({ id, turns }) => `${oneLine(id)}  ${turns} turn(s)\n`).join(""))
      }
      case "/fork":
        if (word === "") return yield* err("troupe: name the new session: /fork id\n")
        yield* SessionStore.fork(chat.id, word)
        chat.id = word
        return yield* out(`${oneLine(chat.id)}\n`)
      case "/pending":
        return yield* showPending(chat)
      case "/giveup":
        return yield* SessionStore.giveUp(chat.id)
      case "/approve":
      case "/deny":
        return yield* answer(chat, name, words)
      default:
        return yield* err(`troupe: ${oneLine(name ?? "")} is not a command. /help lists them.\n`)
    }
  })
  return Effect.catch(on(chat, ran), (error) => err(`troupe: ${oneLine(error.message)}\n`))
}

const answer = (chat: Chat, name: string, words: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const waiting = yield* approvalsOf(chat)
    const chosen = waiting.filter(({ id }) => id === words[0])
    const all = chosen.length > 0 ? chosen : waiting
    if (all.length === 0) return yield* err("troupe: nothing waits for an approval\n")
    const reason = (chosen.length > 0 ? words.slice(1) : words).join(" ")
    const decision = name === "/approve" ? approve : deny(reason === "" ? "the person at the terminal said no" : reason)
    yield* turn(chat, Session.answers(Object.fromEntries(all.map(({ id }) => [id, decision]))))
  })

const historyOf = (history: Prompt.Prompt): string =>
  Transcript.turns(history)
    .map(({ answer, toolCalls, user }) => {
      const calls = toolCalls.map(({ status, tool }) => `  [${oneLine(tool)}: ${status}]\n`).join("")
      return `> ${oneLine(user)}\n${calls}${oneLine(answer)}\n`
    })
    .join("")
