/** Random middleware: what a program can do around runs, model calls and tool calls. */
import { Effect, Schema } from "effect"
import { Prompt } from "effect/ai"
import { Middleware } from "troupe"

/** Failed with by middleware that fails. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", { by: Schema.String }) {}

const kinds = [
  "looks on",
  "looks on with hooks",
  "copies everything",
  "shortens the prompt",
  "hides the tools",
  "shouts",
  "mutes the text",
  "mutes the reasoning",
  "replaces turns",
  "drops calls",
  "answers for the model",
  "calls the model twice",
  "calls the model twice at once",
  "recovers from the model",
  "fails before the model",
  "dies after the model",
  "changes arguments",
  "replaces outcomes",
  "answers for tools",
  "calls tools twice",
  "recovers from tools",
  "fails after tools",
  "dies before tools",
  "changes the input",
  "replaces the output",
  "answers for the agent",
  "runs twice",
  "recovers from the run",
  "fails after the run"
] as const

/** One random middleware. */
export const Kind = Schema.Literals(kinds)
/** Up to three of them. */
export const Kinds = Schema.Array(Kind).check(Schema.isMaxLength(3))

const fail = (by: string) => Effect.fail(new Refused({ by }))
const made = "made by a middleware"

const around: Record<
  (typeof kinds)[number],
  Middleware.Functions<
    Effect.Effect<Middleware.RunOutput, Refused | Middleware.Failure>,
    Effect.Effect<Middleware.Turn, Refused | Middleware.Failure>,
    Effect.Effect<Middleware.Outcome, Refused | Middleware.Failure>
  >
> = {
  "looks on": {
    run: (run, next) => next(run),
    model: (request, next) => Effect.tap(next(request), () => Effect.void),
    tool: (call, next) => next(call),
    part: (part) => part
  },
  "looks on with hooks": {},
  "copies everything": {
    run: (run, next) => Effect.map(next({ ...run }), (output) => ({ ...output })),
    model: (request, next) =>
      Effect.map(next({ ...request, tools: [...request.tools] }), (turn) => ({
        ...turn,
        toolCalls: [...turn.toolCalls]
      })),
    tool: (call, next) => Effect.map(next({ ...call, params: { ...call.params } }), (outcome) => ({ ...outcome })),
    part: (part) => ({ ...part })
  },
  "shortens the prompt": {
    model: (request, next) => next({ ...request, prompt: Prompt.fromMessages(request.prompt.content.slice(0, 1)) })
  },
  "hides the tools": {
    model: (request, next) => next({ ...request, tools: request.tools.slice(1), toolChoice: "auto" })
  },
  shouts: { part: (part) => (part.type === "text-delta" ? { ...part, delta: part.delta.toUpperCase() } : part) },
  "mutes the text": { part: (part) => (part.type === "text-delta" ? undefined : part) },
  "mutes the reasoning": { part: (part) => (part.type === "reasoning-delta" ? undefined : part) },
  "replaces turns": {
    model: (request, next) => Effect.map(next(request), (turn) => ({ ...turn, text: `${turn.text}!` }))
  },
  "drops calls": {
    model: (request, next) => Effect.map(next(request), (turn) => ({ ...turn, toolCalls: turn.toolCalls.slice(1) }))
  },
  "answers for the model": { model: () => Effect.succeed(Middleware.turn(made)) },
  "calls the model twice": { model: (request, next) => Effect.andThen(next(request), next(request)) },
  "calls the model twice at once": {
    model: (request, next) =>
      Effect.map(Effect.all([next(request), next(request)], { concurrency: 2 }), ([first]) => first)
  },
  "recovers from the model": {
    model: (request, next) => Effect.catch(next(request), () => Effect.succeed(Middleware.turn(made)))
  },
  "fails before the model": { model: () => fail("model") },
  "dies after the model": { model: (request, next) => Effect.andThen(next(request), Effect.die("model")) },
  "changes arguments": { tool: (call, next) => next({ ...call, params: { ...call.params, n: 2 } }) },
  "replaces outcomes": {
    tool: (call, next) => Effect.map(next(call), ({ isFailure }) => Middleware.outcome(made, { isFailure }))
  },
  "answers for tools": { tool: () => Effect.succeed(Middleware.outcome(made)) },
  "calls tools twice": { tool: (call, next) => Effect.andThen(next(call), next(call)) },
  "recovers from tools": {
    tool: (call, next) => Effect.catch(next(call), () => Effect.succeed(Middleware.outcome(made, { isFailure: true })))
  },
  "fails after tools": { tool: (call, next) => Effect.andThen(next(call), fail("tool")) },
  "dies before tools": { tool: () => Effect.die("tool") },
  "changes the input": {
    run: (run, next) => next({ ...run, prompt: Prompt.concat(run.prompt, "Be quick.") })
  },
  "replaces the output": { run: (run, next) => Effect.as(next(run), { output: made }) },
  "answers for the agent": { run: () => Effect.succeed({ output: made }) },
  "runs twice": { run: (run, next) => Effect.andThen(next(run), next(run)) },
  "recovers from the run": { run: (run, next) => Effect.catch(next(run), () => Effect.succeed({ output: made })) },
  "fails after the run": { run: (run, next) => Effect.andThen(next(run), fail("run")) }
}

/** The middleware of a kind. */
export const middlewareOf = (kind: typeof Kind.Type): Middleware.Middleware<Refused> =>
  kind === "looks on with hooks"
    ? Middleware.hooks(kind, {
        beforeAgent: () => {},
        afterAgent: () => Effect.void,
        beforeModel: () => {},
        afterModel: () => Effect.void,
        beforeTool: () => {},
        afterTool: () => undefined
      })
    : Middleware.make(kind, around[kind])

/** Kinds that change nothing. */
export const idle = ["looks on", "looks on with hooks", "copies everything"] as const
/** Kinds after which what was streamed is not the output, or is of another run. */
export const replacesOutput = (kind: typeof Kind.Type): boolean =>
  kind === "replaces the output" || kind === "answers for the agent" || kind === "recovers from the run"
