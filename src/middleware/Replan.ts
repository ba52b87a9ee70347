/**
 * Re-planning: in the middle of long work the agent reviews what the goal is, what is done, what remains and what comes next, in a
 * typed form, and goes on from that.
 */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import { memoize } from "effect/Function"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Agent from "../agents/Agent.ts"
import { assertFunction, assertOptions, countOf } from "../internal/definition.ts"
import { loopMessage } from "../internal/input.ts"
import { messageOf } from "../internal/message.ts"
import * as Notes from "../internal/notes.ts"
import { counting } from "../internal/resumption.ts"
import { type Count, CurrentState } from "../internal/runState.ts"
import * as Middleware from "../Middleware.ts"
import { emit } from "./internal/emit.ts"
import { render } from "./internal/rendered.ts"
import * as RunScoped from "./internal/runScoped.ts"

/** What an agent goes on from. */
export const Plan = Schema.Struct({
  goal: Schema.String.annotate({ description: "What the user wants, in one sentence" }),
  done: Schema.Array(Schema.String).annotate({ description: "What is done, one entry for each thing" }),
  remaining: Schema.Array(Schema.String).annotate({ description: "What is still to do, in order" }),
  next: Schema.String.annotate({ description: "What to do next, in one sentence" })
})
/** What an agent goes on from. */
export interface Plan extends Schema.Schema.Type<typeof Plan> {}

/** When the agent reviews its plan, and how often at most in one run. Default of `max`: 5. */
export type Options =
  | { readonly every: number; readonly max?: number | undefined }
  | { readonly when: (request: Middleware.ModelRequest) => boolean; readonly max?: number | undefined }

/** The name of the note. */
const note = "plan"

/**
 * Makes the middleware that has the agent review its plan: before each step that comes after `every` others, or whenever `when`
 * says so. The plan is made by the agent's own model, in a run that is nested in the agent's and counts there. It is sent in its
 * place of the conversation from then on, also in later runs, and is noted in the transcript. The event is `PlanRevised`.
 *
 * Where the model fails, the agent goes on without a plan. Throws `InvalidDefinition` for an `every` or `max` that is not a whole
 * number from 1.
 *
 * @example
 * import { Agent, Replan } from "troupe"
 *
 * const agent = Agent.make("agent", { maxSteps: 40, middleware: [Replan.make({ every: 4 })] })
 */
export const make = (options: Options): Middleware.Middleware<never, LanguageModel.LanguageModel> => {
  const { max = 5 } = options
  assertOptions("replan", options, new Set(["every", "when", "max"]))
  if ("when" in options) assertFunction("replan", "when", options.when)
  else countOf("replan", "every", options.every)
  countOf("replan", "max", max)
  const isDue = (request: Middleware.ModelRequest): boolean =>
    "when" in options ? options.when(request) : request.step > 1 && (request.step - 1) % options.every === 0
  const counts = RunScoped.make<Count>("replan")
  return Middleware.make("replan", {
    run: (run, next) =>
      Effect.flatMap(CurrentState, (state) =>
        counting("replan", run.prompt, state!, (count) => counts.provide(next(run), count))
      ),
    model: (given, next) =>
      Effect.gen(function* () {
        const count = (yield* counts.get) ?? { value: 0 }
        const request = withPlans(given)
        if (count.value >= max || !isDue(request)) return yield* next(request)
        count.value++
        const plan = yield* review(request)
        if (plan === undefined) return yield* next(request)
        yield* emit((events) => events.decide({ _tag: "PlanRevised", step: request.step, plan: { ...plan } }))
        const prompt = Prompt.fromMessages([...request.prompt.content, messageFor(plan)])
        const turn = yield* next({ ...request, prompt })
        return { ...turn, notes: { ...turn.notes, [note]: { ...plan } } }
      })
  })
}

const reviewer = Agent.make("replan", {
  description: "Reviews what was done and what is to be done",
  instructions:
    "You are given a conversation between a user and an assistant with tools, whose work is not finished. Review it for the assistant: what the goal is, what is done, what remains, and what to do next. What was tried and failed is not done. Do not answer the user.",
  output: Plan
})

/** How much of a conversation is reviewed, in characters. */
const maxReviewed = 200_000

/** The plan; `undefined` where none could be made. */
const review = ({
  prompt
}: Middleware.ModelRequest): Effect.Effect<Plan | undefined, never, LanguageModel.LanguageModel> =>
  reviewer.run(render(prompt.content, maxReviewed)).pipe(
    Effect.map((plan): Plan | undefined => plan),
    Effect.catch((error) => Effect.as(Effect.logWarning(`replan: no plan was made: ${messageOf(error)}`), undefined))
  )

const listed = (what: string, items: ReadonlyArray<string>): string =>
  `${what}: ${items.length === 0 ? "nothing" : items.map((item) => `\n- ${item}`).join("")}`

const messageFor = ({ done, goal, next, remaining }: Plan): Prompt.UserMessage => {
  const lines = [`Goal: ${goal}`, listed("Done", done), listed("Remaining", remaining), `Next: ${next}`]
  return loopMessage(`[Your plan, reviewed]\n${lines.join("\n")}\nGo on from it.`)
}

const decode = Schema.decodeUnknownOption(Plan)
/** By the answers that have notes: the same message in every request. */
const planBefore = memoize((answer: Prompt.Message): Prompt.UserMessage | null => {
  const found = answer.role === "assistant" ? Notes.noteOf(answer, note) : undefined
  return found === undefined ? null : Option.match(decode(found), { onNone: () => null, onSome: messageFor })
})

/** The request with the plans that were made earlier, each where it was. */
const withPlans = (request: Middleware.ModelRequest): Middleware.ModelRequest => {
  const { content } = request.prompt
  if (content.every((message) => planBefore(message) === null)) return request
  const all = content.flatMap((message) => {
    const plan = planBefore(message)
    return plan === null ? [message] : [plan, message]
  })
  return { ...request, prompt: Prompt.fromMessages(all) }
}
