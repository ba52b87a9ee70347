/**
 * Orchestrators: an agent whose workers are its tools, known beforehand or spawned while it runs, within limits.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as Agent from "../agents/Agent.ts"
import * as AgentTool from "../AgentTool.ts"
import type * as Budgets from "../internal/budget.ts"
import { lenient, readBy } from "../internal/reading.ts"
import { countsOf, nextIn } from "../internal/resumption.ts"
import { type Count, CurrentState, type RunState } from "../internal/runState.ts"
import { assertOptions, invalid, limitOf, namesOf } from "../internal/definition.ts"
import { annotate, define, delegation } from "../internal/toolDefinition.ts"
import { Resumable } from "../internal/toolMarks.ts"
import type { TextRunnerSlot, ToolSlots } from "../internal/wiring.ts"
import { within as withinBudget } from "../internal/withinBudget.ts"
import type { BudgetExceeded } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import { type Limits, withRoom, type WorkerRoom } from "./internal/workerRoom.ts"

type Workers = Readonly<Record<string, unknown>>
type AnyWorker = Runner.Runner<string, unknown, unknown, unknown>

type TakesText<Roster extends Workers> = { readonly [K in keyof Roster]: TextRunnerSlot<Roster[K]> }

/** How agents are spawned while the orchestrator runs. */
export interface Spawn<Tools extends ReadonlyArray<unknown>> {
  /** Tools that a spawned agent can be given; the agent that spawns it names them. */
  readonly tools?: (Tools & ToolSlots<Tools>) | undefined
  /** Put before the instructions that the spawning agent writes. */
  readonly instructions?: string | undefined
  /** The depth of spawning: with 1 (default) only the orchestrator spawns, with 2 also its agents, and so on. */
  readonly maxDepth?: number | undefined
  /** How many agents one agent may spawn. Default 8. */
  readonly maxBreadth?: number | undefined
  /** How many agents may be spawned in a run of the orchestrator, at all depths. Default 16. */
  readonly maxTotal?: number | undefined
  /** How many steps a spawned agent may take. Default 16. */
  readonly maxSteps?: number | undefined
  /** Hints for approvers about spawning. Default as for {@link WorkerOptions.hints}. */
  readonly hints?: AgentTool.Hints | undefined
  /** Whether spawning an agent needs approval, see `Approvals`. Default `false`. */
  readonly needsApproval?: boolean | undefined
}

/** How a worker is shown to the orchestrator's model and to approvers. */
export interface WorkerOptions {
  /**
   * Hints about a call of the worker. Default: not destructive and not open-world, because the worker's own tools are
   * decided on by themselves.
   */
  readonly hints?: AgentTool.Hints | undefined
  /** Whether a call of the worker needs approval, see `Approvals`. Default `false`. */
  readonly needsApproval?: boolean | ((params: { readonly input: string }) => boolean) | undefined
}

/** The error of a budget that limits more than how often workers are called. */
type Exceeded<O> = O extends { readonly budget: infer B }
  ? [Exclude<keyof B, "runs" | "reserve">] extends [never]
    ? never
    : BudgetExceeded
  : never

/** The options of an orchestrator in addition to those of an agent. */
export interface OrchestratorOptions<Roster extends Workers, SpawnTools extends ReadonlyArray<unknown>> {
  /** Hints and approval of workers, by their names. */
  readonly workerOptions?: { readonly [K in keyof Roster]?: WorkerOptions | undefined } | undefined
  /** Lets the model make agents of its own, by a tool called `spawn`. If unset, it cannot. */
  readonly spawn?: Spawn<SpawnTools> | undefined
  /**
   * What one run may use, its workers included. A worker that has no room in it does not begin, and when it is used up the workers
   * under way are interrupted; the orchestrator's model sees that in the results of the calls, and answers with what it has. With
   * `onExceeded: "fail"` the run fails with `BudgetExceeded`. Default: no limit.
   */
  readonly budget?: Budget | undefined
}

/** The budget of an orchestrator: that of any runner, see `Runner.withBudget`, and limits of its workers. */
export interface Budget extends Runner.Budget {
  /** How many times workers may be called, at all depths. */
  readonly runs?: number | undefined
  /**
   * How many tokens are set aside for a worker before it begins; what it does not use is given back. Default: the most
   * that a worker of its name has used so far, or any worker while none of its name has ended. Before that the cost is
   * unknown, and they begin one after the other; with `reserve` the first ones work at once too. Without a limit of tokens it
   * means nothing.
   */
  readonly reserve?: number | undefined
  /** What happens when a limit is reached. Default `"answer"`: the orchestrator answers with what it has. */
  readonly onExceeded?: "fail" | "answer" | undefined
}

type OwnOptions = keyof OrchestratorOptions<{}, readonly []>

/**
 * Makes an orchestrator: an agent that divides the work among `workers` and puts the results together. `workers` are runners
 * that take a text, by the name that the model calls them by; each needs a description. Workers that are called in one
 * step run at once (`toolConcurrency`), but for the first one within a budget of tokens. What a worker fails with goes
 * to the orchestrator's model; interrupting the orchestrator interrupts every worker. All other options are those of
 * `Agent.make`.
 *
 * Throws `InvalidDefinition` for an orchestrator with neither workers nor `spawn`, a worker without a description or with
 * a name that no tool can have, and limits below 1. After the orchestrator-workers pattern of Anthropic's "Building
 * effective agents" (2024).
 *
 * @example
 * import { Agent, Orchestrator } from "troupe"
 *
 * const research = Agent.make("research", { description: "Finds facts on a question" })
 * const write = Agent.make("write", { description: "Writes a text from notes" })
 * const lead = Orchestrator.make("lead", { research, write }, {
 *   instructions: "Divide the work among your workers.",
 *   spawn: { maxDepth: 2, maxTotal: 10 },
 *   budget: { runs: 20, tokens: 200_000 }
 * })
 */
export const make = <
  const Roster extends Workers,
  const O extends Agent.Given & { readonly [K in OwnOptions]?: unknown } = {},
  const SpawnTools extends ReadonlyArray<unknown> = readonly [],
  Instructions extends Agent.AnyInstructions = string,
  Stops extends Agent.AnyStops = boolean
>(
  name: string,
  workers: Roster & TakesText<Roster>,
  options?: OrchestratorOptions<Roster, SpawnTools> & Agent.Checked<O, Instructions, Stops, OwnOptions>
): Agent.Agent<
  Agent.Output<O>,
  Agent.Failure<O, Instructions | Stops> | Exceeded<O>,
  | Agent.Services<O, Instructions | Stops>
  | Runner.Services<Roster[keyof Roster]>
  | AgentTool.Services<SpawnTools[number]>
> => {
  // `Checked` and `ToolSlots` have checked them.
  const given = (options ?? {}) as Agent.Options & OrchestratorOptions<Roster, ReadonlyArray<AgentTool.Any>>
  const { budget, spawn, workerOptions, ...own } = given
  const subject = `orchestrator "${name}"`
  // `TakesText` has checked what they take.
  const roster = Runner.namedMembersOf(subject, workers) as ReadonlyArray<readonly [string, AnyWorker]>
  if (roster.length === 0 && spawn === undefined) {
    throw invalid(subject, "it has no workers", "Give it workers, or let it spawn some")
  }
  if (spawn !== undefined) assertOptions(`spawn of ${subject}`, spawn, knownOfSpawn)
  assertLimits(subject, { runs: budget?.runs, tokens: budget?.tokens, reserve: budget?.reserve, ...limitsOf(spawn) })
  if (budget?.reserve !== undefined && budget.reserve > (budget.tokens ?? budget.reserve)) {
    throw invalid(
      subject,
      `it sets aside ${budget.reserve} of ${budget.tokens} tokens for a worker, so none could begin`,
      "Lower reserve or raise tokens"
    )
  }
  const ownTools = [
    ...roster.map(([key, worker]) =>
      budgeted(AgentTool.fromRunner(Runner.named(worker, key), { ...workerOptions?.[key], name: key }))
    ),
    ...(spawn === undefined ? [] : [budgeted(spawnTool(name, spawn))])
  ]
  const agent = Agent.erased(name, { ...own, tools: [...(given.tools ?? []), ...ownTools] })
  // Workers and spawned agents are erased in the list of tools; this is where their services come back.
  return managing(agent, ownTools, withinOf(subject, budget)) as Agent.Agent<never, never, never>
}

/** The budget of a run, and what is set aside of it for workers. */
interface Within {
  readonly limits: Budgets.Limits | undefined
  readonly room: Limits
}

const knownOfSpawn = namesOf<Spawn<[]>>({
  tools: true,
  instructions: true,
  maxDepth: true,
  maxBreadth: true,
  maxTotal: true,
  maxSteps: true,
  hints: true,
  needsApproval: true
})

const knownOfBudget = namesOf<Budget>({
  tokens: true,
  cost: true,
  steps: true,
  toolCalls: true,
  time: true,
  onExceeded: true,
  runs: true,
  reserve: true
})

const withinOf = (subject: string, budget: Budget | undefined): Within => {
  if (budget === undefined) return { limits: undefined, room: {} }
  assertOptions(`the budget of ${subject}`, budget, knownOfBudget)
  const { reserve, runs, ...own } = budget
  const limits = Runner.limitsOf(subject, { onExceeded: "answer", ...own })
  const isLimited = Object.entries(own).some(([limit, value]) => limit !== "onExceeded" && value !== undefined)
  return { limits: isLimited ? limits : undefined, room: { runs, reserve, tokens: own.tokens } }
}

/** The agent as a manager of workers: `workers` stay its tools even if its other tools are replaced. */
const managing = (
  agent: Agent.Agent<unknown, unknown, unknown>,
  workers: ReadonlyArray<AgentTool.Any>,
  within: Within
): Agent.Agent<unknown, unknown, unknown> => {
  const { definition, description, name, output } = agent
  return Agent.fromDefinition(
    name,
    description,
    {
      ...definition,
      structure: () => ({ ...definition.structure(), kind: "orchestrator" }),
      body: (input: Prompt.RawInput, state: RunState) =>
        Effect.flatMap(countsOf(input, state), (countOf) => {
          const [spawned, children] = [countOf("spawned"), countOf("children")]
          const body = withRoom(state, within.room, countOf("worker runs"), (room) =>
            definition
              .body(input, state)
              .pipe(Effect.provideService(CurrentSpawnState, { room, spawned, children, depth: 0 }))
          )
          return within.limits === undefined ? body : withinBudget(state, within.limits, body)
        })
    },
    {
      output,
      vary: (others) => {
        const tools = others.tools === undefined ? undefined : [...others.tools, ...workers]
        return managing(agent.vary(tools === undefined ? others : { ...others, tools }), workers, within)
      }
    }
  )
}

const limitsOf = (spawn: Spawn<ReadonlyArray<AgentTool.Any>> | undefined) => ({
  maxDepth: spawn?.maxDepth,
  maxBreadth: spawn?.maxBreadth,
  maxTotal: spawn?.maxTotal
})

const assertLimits = (subject: string, limits: Readonly<Record<string, number | undefined>>): void => {
  for (const [limit, value] of Object.entries(limits)) {
    if (value !== undefined) limitOf(subject, limit, value)
  }
}

/** The state of one orchestrator run, as seen by one of its agents. */
interface SpawnState {
  readonly room: WorkerRoom
  /** How many agents were spawned in the whole run. */
  readonly spawned: Count
  readonly depth: number
  /** How many this agent has spawned. */
  readonly children: Count
}

const CurrentSpawnState: Context.Reference<SpawnState | undefined> = Context.Reference<SpawnState | undefined>(
  "troupe/Orchestrator/SpawnState",
  {
    defaultValue: () => undefined
  }
)

const budgeted = (tool: AgentTool.Any): AgentTool.Any => ({
  ...tool,
  execute: (params, context, onPromise) =>
    Effect.flatMap(CurrentSpawnState, (spawning) => {
      const work = tool.execute(params, context, onPromise)
      return spawning === undefined ? work : spawning.room.within(tool.name, work)
    })
})

const Name = Schema.String.annotate({ description: "A short name for the agent, for the record" })
const Wanted = Schema.Struct({
  name: Name,
  instructions: Schema.String.annotate({ description: "What the agent is and how it should work" }),
  task: Schema.String.annotate({
    description: "The task, with everything needed to do it: the agent knows nothing else"
  })
})
/** The name is optional: an agent without one is numbered. */
const Nameless = lenient(Schema.String, "")

/** What the model asks for. */
interface Wish extends Omit<typeof Wanted.Type, "name"> {
  readonly name?: string
  readonly tools?: ReadonlyArray<string> | null
}

interface SpawnLimits {
  readonly maxBreadth: number
  readonly maxDepth: number
  readonly maxTotal: number
}

/** Why no agent can be spawned; `undefined` where one can. */
const refusal = (
  { children, depth, spawned }: SpawnState,
  { maxBreadth, maxDepth, maxTotal }: SpawnLimits
): string | undefined => {
  if (depth >= maxDepth) return `agents at this depth cannot spawn others (the limit is ${maxDepth})`
  if (children.value >= maxBreadth) return `you have spawned ${children.value} agents, which is the limit`
  return spawned.value >= maxTotal ? `${spawned.value} agents were spawned, which is the limit` : undefined
}

/** The agent as one that was spawned, which may spawn others. */
const spawnedBy = <E, R>(
  { depth, room, spawned }: SpawnState,
  { definition, description, name }: Runner.Runner<Prompt.RawInput, string, E, R>
): Runner.Runner<Prompt.RawInput, string, E, R> =>
  Runner.fromDefinition(name, description, {
    ...definition,
    body: (input: Prompt.RawInput, state: RunState) =>
      Effect.flatMap(countsOf(input, state), (countOf) =>
        Effect.provideService(definition.body(input, state), CurrentSpawnState, {
          room,
          spawned,
          children: countOf("children"),
          depth: depth + 1
        })
      )
  })

const spawnTool = (orchestrator: string, spawn: Spawn<ReadonlyArray<AgentTool.Any>>): AgentTool.Any => {
  const { maxBreadth = 8, maxDepth = 1, maxTotal = 16, tools = [] } = spawn
  const limits = { maxBreadth, maxDepth, maxTotal }
  const names = tools.map(({ name }) => name)
  const Tools = Schema.Array(Schema.Literals(names)).annotate({
    description: "The tools it needs, of those there are"
  })
  const fields = { ...Wanted.fields, ...(names.length === 0 ? {} : { tools: Tools }) }
  const parameters = readBy(
    Schema.Struct(fields),
    Schema.Struct({
      ...fields,
      name: Nameless,
      ...(names.length === 0 ? {} : { tools: Schema.optionalKey(Schema.NullOr(Tools)) })
    })
  )
  const description = `Make an agent for a task of its own, and get its answer. Several can be made at once. At most ${maxBreadth} by one agent, ${maxTotal} in all.`
  const defined = define("spawn", description, parameters, Schema.String, "return")
  const hints = { ...delegation, ...spawn.hints }
  // The same call makes the same agent, which goes on where it was suspended.
  const tool = annotate(defined, { hints, needsApproval: spawn.needsApproval }).annotate(Resumable, true)
  const self: AgentTool.Any = AgentTool.make("spawn", "effect", tool, (params) =>
    Effect.withFiber((fiber): Effect.Effect<unknown, unknown, unknown> => {
      const spawning = fiber.getRef(CurrentSpawnState)
      if (spawning === undefined) return Effect.fail("only an orchestrator can spawn agents")
      const wanted = params as Wish
      const state = fiber.getRef(CurrentState)
      // One that goes on was counted when it began, and has its name.
      const before = state === undefined ? undefined : nextIn(fiber, state)
      const refused = before === undefined ? refusal(spawning, limits) : undefined
      if (refused !== undefined) return Effect.fail(refused)
      if (before === undefined) {
        spawning.children.value++
        spawning.spawned.value++
      }
      const agent = Agent.make(before ?? nameOf(wanted.name, spawning.spawned.value), {
        instructions: [spawn.instructions ?? "", wanted.instructions].filter((text) => text !== "").join("\n\n"),
        tools: [
          ...tools.filter(({ name }) => wanted.tools?.includes(name) === true),
          ...(spawning.depth + 1 < maxDepth ? [budgeted(self)] : [])
        ],
        maxSteps: spawn.maxSteps
      })
      return spawnedBy(spawning, agent).run(wanted.task)
    })
  )
  // What no spawned agent could be made of is refused now.
  Agent.make(`spawned by ${orchestrator}`, {
    tools: [...tools, ...(maxDepth > 1 ? [self] : [])],
    maxSteps: spawn.maxSteps
  })
  return self
}

const nameOf = (wanted: string | undefined, count: number): string => {
  const name = (wanted ?? "").replace(/\s+/g, " ").trim().slice(0, 64)
  return name === "" ? `agent ${count}` : name
}
