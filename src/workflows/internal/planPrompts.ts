/** The prompts of planners, workers and judges. */
import * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import { textOfJson, toJson } from "../../internal/json.ts"
import { isMessage } from "../../internal/input.ts"
import type { DoneStep, DoneSteps, Plan, PlanLike, Step } from "./plan.ts"

/** A goal, with a text after it. It stays a text where it was one, and a conversation where it was one. */
export const after = (goal: unknown, text: string): Prompt.RawInput => {
  if (typeof goal === "string") return `${goal}\n\n${text}`
  if (Prompt.isPrompt(goal)) return Prompt.concat(goal, text)
  return isConversation(goal) ? [...goal, { role: "user", content: text }] : `${textOfJson(toJson(goal))}\n\n${text}`
}

/** The goal alone. */
export const alone = (goal: unknown): Prompt.RawInput =>
  typeof goal === "string" || Prompt.isPrompt(goal) || isConversation(goal) ? goal : textOfJson(toJson(goal))

const isConversation = (goal: unknown): goal is ReadonlyArray<Prompt.MessageEncoded> =>
  Array.isArray(goal) && goal.every(isMessage)

const json = (value: unknown): string => JSON.stringify(toJson(value))

/** One worker a line. */
export const workersText = (
  workers: Iterable<readonly [name: string, runner: { readonly description: string | undefined }]>
): string =>
  [
    "The workers:",
    ...Array.from(
      workers,
      ([name, { description }]) => `- ${name}${description === undefined ? "" : `: ${description}`}`
    )
  ].join("\n")

/** The instructions of the planner that is made where none is given. */
export const plannerInstructions = (own: string | undefined, workers: string | undefined, maxSteps: number): string =>
  [
    "Plan the work that reaches the user's goal. Others do it: you only plan.",
    [
      "A plan has steps.",
      "- id: a short name, unique in the plan.",
      "- task: what is to be done. Only the goal, this task and the results of the steps it depends on are known when it is done.",
      "- dependsOn: the ids of the steps whose results it needs, and no more, because steps that do not depend on one another are done at the same time. No step may need itself, directly or through others.",
      ...(workers === undefined ? [] : ["- worker: who does it."]),
      `There may be at most ${maxSteps} steps. Do not plan more than the goal needs.`
    ].join("\n"),
    ...(workers === undefined ? [] : [workers]),
    ...(own === undefined ? [] : [own])
  ].join("\n\n")

/** The prompt of a step's worker, after the goal. */
export const stepText = (step: Step, inputs: ReadonlyArray<DoneStep>): string =>
  [
    ...(inputs.length === 0 ? [] : ["This was done before:", resultsText(inputs)]),
    `Do this step of the work towards the goal, and nothing else: ${step.task}`
  ].join("\n\n")

/** The prompt of a judge, or of the runner that makes the last output, after the goal. */
export const doneText = (steps: Iterable<DoneStep>): string =>
  `This was done towards the goal, step by step:\n\n${resultsText(steps)}`

const resultsText = (steps: Iterable<DoneStep>): string =>
  Array.from(
    steps,
    ({ encoded, step }) =>
      `<step id=${JSON.stringify(step.id)}>\nTask: ${step.task}\nResult: ${textOfJson(encoded)}\n</step>`
  ).join("\n\n")

/** How the last round went, for a new plan. */
export interface Report {
  readonly plan: Plan
  /** The errors of failed steps, in words. */
  readonly failures: ReadonlyArray<{ readonly step: string; readonly error: string }>
  /** The ids of steps that were interrupted or never began. */
  readonly open: ReadonlyArray<string>
  /** The judge's verdict; none when steps failed. */
  readonly verdict: { readonly encoded: Schema.Json } | undefined
}

/** The prompt of a planner for the next round, after the goal. */
export const replanText = ({ failures, open, plan, verdict }: Report, done: DoneSteps): string =>
  [
    `There was a plan before:\n${json(plan)}`,
    ...(done.size === 0
      ? []
      : [`These steps are done, in this plan or an earlier one:\n\n${resultsText(done.values())}`]),
    ...failures.map(({ error, step }) => `Step "${step}" failed: ${error}`),
    ...(open.length === 0 ? [] : [`Not done, because of the failure: ${open.join(", ")}`]),
    ...(verdict === undefined ? [] : [`The results were not accepted. The verdict: ${textOfJson(verdict.encoded)}`]),
    "Make a new plan. A step that is done keeps its result and is not done again as long as its id, its task and what it depends on stay the same; other steps can depend on it even if the new plan leaves it out. Give a step that must be done again another task."
  ].join("\n\n")

/** The continuation of that prompt when the plan cannot be carried out. */
export const repairText = (plan: PlanLike, problems: ReadonlyArray<string>): string =>
  [
    `You gave this plan:\n${json(plan)}`,
    `It cannot be carried out:\n${problems.map((problem) => `- ${problem}`).join("\n")}`,
    "Give a whole plan without these problems."
  ].join("\n\n")
