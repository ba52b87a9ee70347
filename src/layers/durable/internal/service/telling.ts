/** What is sent to runs from outside: signals, decisions, answers, messages. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import { clientFailure } from "../../../../internal/suspension.ts"
import { DurableError } from "../../../../RunError.ts"
import type { Answer, Ref, Service } from "../engine.ts"
import { type Answered, decisionName, resultName } from "../journal.ts"
import { signalText, signalWake } from "../tables.ts"
import type * as Tables from "../tables.ts"
import type { Access } from "./access.ts"

/** The name under which messages are sent to runs. */
const mailbox = "~inbox"

/** The functions of the service that give a run what it waits for. */
export const deciding = (access: Access): Pick<Service, "signal" | "decide" | "answer"> => {
  const { ask, known, live, now, nudge, tables, wake } = access
  /** Keeps what is sent under a name, and wakes the run. A worker looks for what was kept and woke no run. */
  const send = (run: Tables.RunRow, name: string, value: Schema.Json) =>
    ask(run.key, tables.sendSignal(run.id, name, value, globalThis.crypto.randomUUID())).pipe(
      Effect.flatMap((seq) => Effect.ignore(wake(run, signalWake(name, seq)))),
      Effect.andThen(live(nudge(run.id)))
    )
  return {
    signal: (ref, signal, value) =>
      Effect.flatMap(known(ref), (run) =>
        run.ended === undefined
          ? Effect.mapError(send(run, signalText(signal), value), perhapsSent)
          : Effect.fail(hasEnded(ref, run))
      ),
    decide: (ref, id, value) => Effect.flatMap(known(ref), (run) => send(run, decisionName(id), value)),
    answer: (ref, step, answer) =>
      Effect.gen(function* () {
        const run = yield* known(ref)
        const isOfClient = run.waits.some(({ id, kind }) => kind === "client-tool" && id === step)
        if (isOfClient) return yield* send(run, resultName(step), resultOf(answer))
        const question = (yield* ask(ref.key, tables.stepsOf(run.id))).find(({ key }) => key === step)
        if (question?.state !== "unknown") return yield* notAsked(ref, step)
        const name = `answer/${step}/${question.epoch}`
        const isAnswered = yield* ask(
          ref.key,
          tables.answerAndWake(run, question, answer, { wake: name, at: yield* now })
        )
        if (!isAnswered) return yield* notAsked(ref, step)
        yield* wake(run, name)
        yield* ask(ref.key, tables.woken(run.id, name))
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
