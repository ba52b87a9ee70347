/** What is sent to runs from outside: signals, decisions, answers, messages. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { clientFailure } from "../../../../internal/suspension.ts"
import { DurableError } from "../../../../RunError.ts"
import type { Answer, Ref, Service } from "../engine.ts"
import type { Answered } from "../journal.ts"
import { signalText } from "../tables.ts"
import type * as Tables from "../tables.ts"
import type { Access } from "./access.ts"

/** The name under which messages are sent to runs. */
const mailbox = "~inbox"

/** The functions of the service that give a run what it waits for. */
export const deciding = (access: Access): Pick<Service, "signal" | "decide" | "answer"> => {
  const { ask, give, known, live, now, nudge, tables } = access
  return {
    signal: (ref, signal, value) =>
      Effect.gen(function* () {
        const run = yield* known(ref)
        if (run.ended !== undefined) return yield* hasEnded(ref, run)
        const name = signalText(signal)
        const sent = ask(ref.key, tables.sendSignal(run.id, name, value, globalThis.crypto.randomUUID()))
        const seq = yield* Effect.mapError(sent, perhapsSent)
        // It is kept: a worker looks for those that no one has woken their runs for.
        yield* Effect.ignore(give(run, `signal/${name}/${seq}`, null))
      }),
    decide: (ref, id, value) =>
      Effect.flatMap(known(ref), (run) => Effect.andThen(give(run, `decision/${id}`, value), live(nudge(run.id)))),
    answer: (ref, step, answer) =>
      Effect.gen(function* () {
        const run = yield* known(ref)
        const wait = run.waits.find(({ id, kind }) => kind === "client-tool" && id === step)
        if (wait !== undefined)
          return yield* Effect.andThen(give(run, wait.wake, resultOf(answer)), live(nudge(run.id)))
        const question = (yield* ask(ref.key, tables.stepsOf(run.id))).find(({ key }) => key === step)
        if (question?.state !== "unknown") return yield* notAsked(ref, step)
        const wake = `answer/${step}/${question.epoch}`
        const isAnswered = yield* ask(ref.key, tables.answerAndWake(run, question, answer, { wake, at: yield* now }))
        if (!isAnswered) return yield* notAsked(ref, step)
        yield* give(run, wake, null)
        yield* ask(ref.key, tables.woken(run.id, wake))
      })
  }
}

/** The functions of the service by which messages reach a run that is under way. */
export const mailing = (access: Access): Pick<Service, "post" | "mail"> => {
  const { ask, changes, known, live, nudge, tables } = access
  return {
    post: (ref, message) =>
      Effect.gen(function* () {
        const { id } = yield* known(ref)
        const seq = yield* ask(ref.key, tables.sendSignal(id, mailbox, message, globalThis.crypto.randomUUID()))
        yield* live(nudge(id, "mail"))
        while (true) {
          const isOver = (yield* known(ref)).ended !== undefined
          if (yield* ask(ref.key, tables.isTaken(id, mailbox, seq))) return true
          if (isOver) return false
          yield* live(changes(id, "mail"))
        }
      }),
    mail: (id, take) =>
      Effect.gen(function* () {
        const begun = new Set<number>()
        while (true) {
          for (const { seq, value } of yield* ask("", tables.sent(id, mailbox))) {
            if (begun.has(seq)) continue
            begun.add(seq)
            const done = Effect.andThen(ask("", tables.take(id, mailbox, seq)), live(nudge(id, "mail")))
            yield* Effect.forkChild(
              Effect.flatMap(take(value), (isTaken) => (isTaken ? Effect.ignore(done) : Effect.void))
            )
          }
          yield* live(changes(id, "mail"))
        }
      }).pipe(Effect.retry(Schedule.spaced("1 second")), Effect.orDie)
  }
}

/** Of two calls each is a signal of its own, so another call is not the same one again. */
const perhapsSent = ({ key, problem, reason }: DurableError): DurableError =>
  new DurableError({
    reason,
    key,
    problem,
    remedy:
      "Check that it can be reached. It is not known whether the signal was kept: Durable.pending shows whether the run still waits for it"
  })

/** The result of a tool that the client runs, as the run takes it. */
const resultOf = (answer: Answer): Answered => {
  switch (answer._tag) {
    case "Happened":
      return { result: answer.result }
    case "DidNotHappen":
      return { result: clientFailure("the client did not run it") }
    case "GiveUp":
      return { givenUp: true }
  }
}

const notAsked = ({ key }: Ref, step: string): DurableError =>
  new DurableError({
    reason: "unknown-run",
    key,
    problem: `no step "${step}" of this run waits for an answer`,
    remedy: "Durable.pending lists what a run waits for"
  })

const hasEnded = ({ key }: Ref, { state }: Tables.RunRow): DurableError =>
  new DurableError({
    reason: "unknown-run",
    key,
    problem: `this run has ended (${state}), so it waits for nothing`,
    remedy: "Start another run under another key"
  })
