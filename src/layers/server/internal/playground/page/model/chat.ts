/** A conversation with a runner: turns, each with the runs that it took. */
import type { Waiting } from "./events.ts"
import { type JsonSchema, takesMessages, takesText } from "./input.ts"
import type { RunModel } from "./run.ts"

/** A runner of the server. */
export interface RunnerInfo {
  readonly name: string
  readonly description: string | undefined
  readonly input: JsonSchema
}

/** A message for a run under way: taken before its next model call, or when it would end. */
export interface Sent {
  readonly key: number
  readonly text: string
  readonly delivery: "steer" | "queue"
  /** `refused`: the server did not take it, for which `problem` of the turn says why. */
  state: "waiting" | "delivered" | "undelivered" | "refused"
}

/** An input and what came of it. A run that waits for answers goes on as another run. */
export interface Turn {
  readonly key: number
  readonly input: unknown
  readonly runs: Array<RunModel>
  /** What was sent while it was under way. */
  readonly sent: Array<Sent>
  /** True while events come. */
  isStreaming: boolean
  /** Why it did not begin, or go on. */
  problem: string | undefined
}

/** A conversation. */
export interface Chat {
  readonly runner: RunnerInfo
  /** Its id at the server, where that keeps conversations. */
  readonly session: string | undefined
  turns: Array<Turn>
  /** How many turns are not kept. */
  dropped: number
}

/** How many turns a page keeps. */
export const maxTurns = 100

/** The run that a turn has come to. */
export const lastRun = ({ runs }: Turn): RunModel | undefined => runs.at(-1)

/** The text that an answer is. */
export const answerText = (turn: Turn): string => {
  const { output } = lastRun(turn) ?? {}
  return typeof output === "string" ? output : output === undefined ? "" : JSON.stringify(output)
}

/** What the last run of a turn waits for. */
export const waitingOf = (turn: Turn | undefined): ReadonlyArray<Waiting> => {
  const run = turn === undefined ? undefined : lastRun(turn)
  return run?.status === "suspended" && turn?.isStreaming === false ? run.waitingFor : []
}

/** The run of a turn that takes messages now. */
export const listening = (turn: Turn): string | undefined => {
  const run = lastRun(turn)
  return turn.isStreaming && run?.isOver === false ? run.runId : undefined
}

/** What is sent for an input: the whole conversation, where the runner takes one and the server does not keep it. */
export const wireInput = ({ runner, session, turns }: Chat, input: unknown): unknown => {
  if (session !== undefined || typeof input !== "string" || !takesMessages(runner.input)) return input
  const before = turns.flatMap((turn) => {
    const answer = answerText(turn)
    const taken = turn.sent.filter(({ state }) => state === "delivered")
    return typeof turn.input === "string" && lastRun(turn)?.status === "completed" && answer !== ""
      ? [
          { role: "user", content: turn.input },
          ...taken.map(({ text }) => ({ role: "user", content: text })),
          { role: "assistant", content: answer }
        ]
      : []
  })
  return before.length === 0 ? input : [...before, { role: "user", content: input }]
}

/** True for a runner that is talked to. */
export const isChat = ({ input }: RunnerInfo): boolean => takesText(input)

/** An answer to what a run waits for, as the server takes it. */
export type Answer =
  | { readonly approved: true; readonly params?: unknown }
  | { readonly approved: false; readonly reason?: string }
  | { readonly value: unknown }

/** Answers by the ids of what is waited for. */
export const wireAnswers = (answers: ReadonlyMap<string, Answer>): Readonly<Record<string, unknown>> =>
  Object.fromEntries([...answers].map(([id, answer]) => [id, "value" in answer ? answer.value : answer]))
