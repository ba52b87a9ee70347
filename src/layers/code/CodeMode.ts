/**
 * Code mode: the model writes one program that calls tools, in place of a call for each step and each item. The program runs in
 * QuickJS, a JavaScript engine in WebAssembly, in a thread of its own, in which there is nothing but its tools and `console`: no
 * files, no network, no clock. Only what it returns enters the conversation.
 *
 * Each call that a program makes goes the way of the model's own calls: approval, middleware, budgets, journal, events with the
 * `parentToolCallId` of the program, interruption. The idea is Cloudflare's code mode.
 */
import * as QuickJs from "#code-engine"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../AgentTool.ts"
import * as Feature from "../../Feature.ts"
import { assertOneOf, assertOptions, assertText, countOf, kindOf, namesOf } from "../../internal/definition.ts"
import { listAll, type Listed } from "../../internal/toolListing.ts"
import { CurrentRoom, type RoomFailure, type RoomSuspension, type RoomWait } from "../../internal/toolRoom.ts"
import { delegation } from "../../internal/toolDefinition.ts"
import { InvalidDefinition } from "../../RunError.ts"
import * as Runner from "../../Runner.ts"
import { CodeEngine, CodeEngineError } from "../../services/CodeEngine.ts"
import * as ToolSource from "../../ToolSource.ts"
import { asking } from "./internal/asking.ts"
import { alone, callAlone } from "./internal/callAlone.ts"
import { declarations } from "./internal/declarations.ts"
import * as Inline from "./internal/inline.ts"
import * as Program from "./internal/program.ts"
import { DoneCall, ProgramError } from "./internal/programError.ts"
import { type LimitOptions, type Settings, settingsOf } from "./internal/settings.ts"

export { CodeEngine, CodeEngineError, DoneCall, type LimitOptions, ProgramError }

/**
 * What programs can call: a tool, a runner that has a description, a source of tools such as `Mcp.tools()`, or the tools of a feature
 * such as `FileTools.feature()`.
 */
export type Member = AgentTool.Any | ToolSource.Any | Runner.Any | Feature.Member
/** The services that a member needs. */
export type Services<T> = AgentTool.Services<T> | ToolSource.Services<T> | Runner.Services<T> | Feature.Services<T>

/** Options of {@link feature}. */
export interface Options extends LimitOptions {
  /** The name of the tool that runs programs. Default `"run_program"`. */
  readonly name?: string | undefined
  /** The names of tools that the model can also call directly. Default: none. */
  readonly direct?: ReadonlyArray<string> | undefined
  /**
   * Whether a call in a program of a tool that says that it destroys, or that an MCP server brings and does not only read, needs
   * approval where it would need none elsewhere: a program makes hundreds of calls where a person would have seen one.
   * Default `"ask"`.
   */
  readonly destructive?: "ask" | "allow" | undefined
  /** How much of a result the model sees, in characters of JSON. Default 20,000. */
  readonly maxResultChars?: number | undefined
}

/**
 * Lets an agent's model write programs that call these tools. It is shown one tool, with declarations of the others. Of a feature among
 * them the agent has the instructions and the middleware too.
 *
 * A program that fails is a failed call: the model sees why, what was written to `console`, and which calls were done. A
 * tool with `failureMode: "error"` fails the run from inside of a program too. Interrupting the run interrupts the calls and ends
 * the thread.
 *
 * Calls inside can wait as calls of the model do: for an approval from elsewhere, for a tool of the caller (`AgentTool.client`), in a
 * runner that waits. The others go on; once all that is left of a program waits, the run is suspended, and `Runner.answer` makes the
 * input that it goes on with. The program is then run again from its start with what its calls gave before, in the order in which it
 * received that, and without a call made again. `Approvals.signing` signs all of it. A run that goes on with another program fails with
 * `InvalidApproval`.
 *
 * Throws `InvalidDefinition` for a limit that is not a number from 1, for what is not a tool, and for a runner without a description.
 *
 * @example
 * import { Agent, AgentTool, CodeMode } from "troupe"
 * import { Schema } from "effect"
 *
 * const weather = AgentTool.fromFunction("weather", {
 *   description: "Tells the temperature of a city",
 *   parameters: Schema.Struct({ city: Schema.String }),
 *   success: Schema.Struct({ temp: Schema.Finite }),
 *   execute: ({ city }) => ({ temp: city.length })
 * })
 * const analyst = Agent.make("analyst", { use: [CodeMode.feature([weather])] })
 */
export const feature = <const T extends ReadonlyArray<Member>>(
  tools: T,
  options: Options = {}
): Feature.Feature<Feature.Error<T[number]>, Services<T[number]> | CodeEngine> => {
  const { destructive = "ask", direct = [], maxResultChars = 20_000, name = "run_program" } = options
  const settings = settingsOf(options, ["name", "direct", "destructive", "maxResultChars"])
  assertOneOf("code mode", "destructive", destructive, ["ask", "allow"])
  assertText("code mode", "name", name)
  countOf("code mode", "maxResultChars", maxResultChars)
  const members = membersOf(tools)
  let last:
    | { readonly given: ReadonlyArray<AgentTool.Any>; readonly engine: unknown; readonly shown: Listed }
    | undefined
  const list = (taken: ReadonlySet<string>): Effect.Effect<Listed, never, unknown> =>
    Effect.gen(function* () {
      const engine = yield* CodeEngine
      const given = (yield* listAll(members.own, members.sources, new Set([...taken, name]))).flat()
      const known = last
      const isSame =
        known !== undefined &&
        known.engine === engine &&
        known.given.length === given.length &&
        known.given.every((one, at) => one === given[at])
      if (isSame) return known.shown
      const callable = destructive === "ask" ? given.map(asking) : given
      const program = Effect.provideService(CodeEngine, engine)
      const tool = programTool(name, callable, settings, maxResultChars, program)
      const all: ReadonlyArray<AgentTool.Any> = [...given.filter((one) => direct.includes(one.name)), tool]
      const shown = all as Listed
      last = { given, engine, shown }
      return shown
    })
  const source = ToolSource.make("programs", list as ToolSource.List<Services<T[number]> | CodeEngine>, {
    names: [name, ...members.sources.flatMap(({ names }) => names)]
  })
  const holding = {
    ...source,
    from: members.sources.flatMap(({ from }) => from),
    holds: () => [...members.own.map(({ tool }) => tool), ...members.sources.flatMap(({ holds }) => holds())]
  }
  const instructions = (input: Prompt.RawInput) =>
    Effect.map(
      Effect.forEach(members.features, (one) => one.instructions(input)),
      (all) => all.filter((text) => text !== "").join("\n\n")
    )
  const middleware = members.features.flatMap((one) => one.middleware)
  return Feature.make("code mode", {
    tools: [holding],
    instructions,
    middleware
  } as Feature.Options) as Feature.Feature<Feature.Error<T[number]>, Services<T[number]> | CodeEngine>
}

/**
 * Runs a program without a model: the body of an async function that may call `tools.NAME(input)` and returns JSON. Its calls are made
 * directly: a tool that needs approval is refused.
 *
 * Fails with `ProgramError` for a program that gives no value, and with `CodeEngineError` where the engine is not installed.
 * Interruption interrupts the calls and ends the thread.
 *
 * @example
 * import { AgentTool, CodeMode } from "troupe"
 * import { Effect, Schema } from "effect"
 *
 * const double = AgentTool.fromFunction("double", {
 *   description: "Doubles a number",
 *   parameters: Schema.Struct({ n: Schema.Finite }),
 *   execute: ({ n }) => n * 2
 * })
 * const program = CodeMode.run("return await tools.double({ n: 21 })", [double]).pipe(Effect.provide(CodeMode.layerQuickJs))
 */
export const run = <const T extends ReadonlyArray<Member>>(
  source: string,
  tools: T,
  options: LimitOptions = {}
): Effect.Effect<Schema.Json, ProgramError | CodeEngineError, Services<T[number]> | CodeEngine> => {
  const settings = settingsOf(options)
  const members = membersOf(tools)
  const whole: Effect.Effect<Schema.Json, ProgramError | CodeEngineError, unknown> = Effect.gen(function* () {
    const given = (yield* listAll(members.own, members.sources, new Set())).flat()
    const context = yield* Effect.context<never>()
    const call = (_: number, tool: AgentTool.Any, params: Schema.Json) =>
      Effect.provideContext(callAlone(tool, params), context)
    const { value } = yield* Program.run(source, given, { ...alone, call }, settings)
    return value
  })
  return whole as Effect.Effect<Schema.Json, ProgramError | CodeEngineError, Services<T[number]> | CodeEngine>
}

/**
 * Runs programs by the package `quickjs-wasi`, each in a thread of its own with a memory of its own, on both edges. A thread that does
 * not end by itself is ended at most 50 ms after its limit. Fails with `CodeEngineError` where the package is not installed.
 */
export const layerQuickJs: Layer.Layer<CodeEngine, CodeEngineError> = Layer.effect(
  CodeEngine,
  Effect.map(QuickJs.find, (files) => ({ start: (program) => QuickJs.start(files, program) }))
)

/** Options of {@link layerQuickJsInline}. */
export interface InlineOptions {
  /** The file `quickjs-wasi/quickjs.wasm`: its bytes, or compiled, which is what Cloudflare's Workers give. */
  readonly wasm: Inline.Wasm
}

/**
 * Runs programs by the package `quickjs-wasi` in the thread of your own program: for browsers and workers, where
 * {@link layerQuickJs} has no threads. Limits are kept all the same, with these differences: while a program computes, your
 * program stands still, for at most `turnTimeout`; code of the engine's own, such as the sort of a huge array, can take longer, because
 * nothing can end it; time counts by the wall. Asynchronous edge only. Fails with `CodeEngineError` where the package is not installed.
 *
 * @example
 * import { CodeMode } from "troupe"
 * import { Effect } from "effect"
 *
 * const program = (wasm: ArrayBuffer) =>
 *   CodeMode.run("return 6 * 7", []).pipe(Effect.provide(CodeMode.layerQuickJsInline({ wasm })))
 */
export const layerQuickJsInline = (options: InlineOptions): Layer.Layer<CodeEngine, CodeEngineError> => {
  assertOptions("CodeMode.layerQuickJsInline", options, knownOfInline)
  return Layer.effect(
    CodeEngine,
    Effect.map(Inline.load(options.wasm), (engine) => ({ start: (program) => Inline.start(engine, program) }))
  )
}

const knownOfInline = namesOf<InlineOptions>({ wasm: true })

interface Members {
  readonly own: ReadonlyArray<AgentTool.Any>
  readonly sources: ReadonlyArray<ToolSource.Any>
  readonly features: ReadonlyArray<Feature.Any>
}

const membersOf = (given: ReadonlyArray<unknown>): Members => {
  const own: Array<AgentTool.Any> = []
  const sources: Array<ToolSource.Any> = []
  const features = given.filter(Feature.isFeature)
  const tools = given.flatMap((one): ReadonlyArray<unknown> => (Feature.isFeature(one) ? one.tools : [one]))
  for (const [at, one] of tools.entries()) {
    if (AgentTool.isAgentTool(one)) own.push(one)
    else if (ToolSource.isToolSource(one)) sources.push(one)
    else if (Runner.isRunner(one))
      own.push(AgentTool.fromRunner(one as Runner.Runner<string, unknown, unknown, unknown>))
    else {
      const problem = `tools[${at}] is ${kindOf(one)}, neither a tool, a runner, a source of tools nor a feature`
      throw new InvalidDefinition({
        subject: "code mode",
        problem,
        remedy: "Write CodeMode.feature([tool, Mcp.tools()])"
      })
    }
  }
  return { own, sources, features }
}

const programTool = (
  name: string,
  tools: ReadonlyArray<AgentTool.Any>,
  settings: Settings,
  maxResultChars: number,
  withEngine: <A, E>(effect: Effect.Effect<A, E, CodeEngine>) => Effect.Effect<A, E>
): AgentTool.Any => {
  const { left, text } = declarations(tools)
  const others = left.length === 0 ? "" : `\nThere was no room to declare these: ${left.join(", ").slice(0, 2_000)}`
  const tool = AgentTool.fromFunction(name, {
    description: `Run a JavaScript program that calls tools. Write the body of an async function, without types. Await every call; make calls that do not depend on one another at once, with Promise.all. Return what you need as JSON: nothing else comes back. A failed call throws. It cannot use a network, files or a clock.\n\n${text}${others}`,
    parameters: Schema.Struct({ program: Schema.String.annotate({ description: "The body of an async function" }) }),
    hints: delegation,
    // The program has a limit of its own, which says what was done, and does not count the time of people.
    timeout: Duration.infinity,
    execute: ({ program }) => withEngine(runInRoom(program, tools, settings, maxResultChars))
  })
  // What its calls give is kept by themselves; the program is run again.
  return AgentTool.goesOn(
    AgentTool.inMemory(tool),
    tools.map(({ tool }) => tool)
  )
}

const runInRoom = Effect.fnUntraced(function* (
  program: string,
  tools: ReadonlyArray<AgentTool.Any>,
  settings: Settings,
  maxResultChars: number
) {
  const room = yield* CurrentRoom
  if (room === undefined)
    return yield* Effect.fail("programs can be run only by an agent; use CodeMode.run without one")
  const calls: Program.Calls<RoomFailure | RoomSuspension, RoomWait> = room
  const { console, value } = yield* Program.run(program, tools, calls, settings)
  const written = console === "" ? {} : { console }
  const text = JSON.stringify(value)
  return text.length <= maxResultChars
    ? { result: value, ...written }
    : {
        result: text.slice(0, maxResultChars),
        cut: `The result has ${text.length} characters, and these are the first ${maxResultChars}. Return less.`,
        ...written
      }
})
