/** Teams: a leader who assigns tasks, members who work on them at once, a board and mailboxes between them. */
import * as Duration from "effect/Duration"
import { assertOptions, countOf, durationOf, invalid, limitOf, namesOf } from "../internal/definition.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import type { TextRunnerSlot } from "../internal/wiring.ts"
import type { BudgetExceeded } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import * as TeamRun from "./internal/teamRun.ts"
import { leaderName } from "./internal/teamTools.ts"

type Members = Readonly<Record<string, unknown>>
type AnyRunner = Runner.Runner<unknown, unknown, unknown, unknown>

/** The members of a team. */
export interface Crew<L, M extends Members> {
  /** Creates and assigns tasks, gets the results, and gives the team's answer. An agent, which takes a text. */
  readonly leader: L & TextRunnerSlot<L>
  /** Those who work, by name: runners that take a text. A description tells the leader what a member is good for. */
  readonly members: M & { readonly [K in keyof M]: TextRunnerSlot<M[K]> }
}

/** Options of {@link make}. */
export interface Options {
  readonly description?: string | undefined
  /** What the team may use in all, see `Runner.withBudget`. Default: no limit. */
  readonly budget?: Runner.Budget | undefined
  /** How often the leader is run: once for the input, and once more each time that there is news for it. Default 20. */
  readonly maxRounds?: number | undefined
  /** After how much time without any event of a member at work its leader has news of it. Default 5 minutes. */
  readonly stuckAfter?: Duration.Input | undefined
  /** How many messages wait for a member, or for the leader, before those who send more have to wait. Default 16. */
  readonly mailbox?: number | undefined
}

const known = namesOf<Options>({ description: true, budget: true, maxRounds: true, stuckAfter: true, mailbox: true })

const knownMembers = namesOf<Crew<unknown, Members>>({ leader: true, members: true })

/**
 * Makes a team. Its leader gets tools to create, assign, release and cancel tasks, and to send messages; members get tools to claim
 * and finish tasks, and to send messages. Members work at once, each on one task at a time, as soon as the tasks that block it are
 * done; the answer of a member is the result of its task, unless it has given one with its tool. When the leader has answered and
 * tasks are left, it is run again with the news: results, failures, messages, a member that is stuck, or that all are idle. Its
 * answer when all tasks have ended, or that of its last round, is the output.
 *
 * An agent keeps its conversation from task to task, and takes messages before its next model call; an idle member is run for
 * them. A mailbox is limited: a sender waits for room, at most 30 seconds. Every change of a task is a `TaskChanged` event, every
 * message a `MessageSent`. All run in one scope: when the leader ends, fails, or the team is interrupted, everyone is
 * interrupted, and all finalizers have run.
 *
 * Fails with what the leader fails with; what a member fails with goes to the leader, except that a run which waits for an approval
 * fails the team, because it cannot be resumed in its middle. With a `budget` it fails with `BudgetExceeded`. Throws
 * `InvalidDefinition` for a team without members, a member called "leader" or "all", or limits below 1.
 *
 * @example
 * import { Agent, Team } from "troupe"
 *
 * const leader = Agent.make("lead", { instructions: "Divide the work into tasks. Answer with what came of it." })
 * const coder = Agent.make("coder", { description: "Writes code" })
 * const tester = Agent.make("tester", { description: "Tests code" })
 * const release = Team.make("release", { leader, members: { coder, tester } }, { budget: { steps: 200 }, maxRounds: 10 })
 */
export const make = <L, const M extends Members>(
  name: string,
  crew: Crew<L, M>,
  options: Options = {}
): Runner.Runner<
  string,
  Runner.Output<L>,
  Runner.Error<L | M[keyof M]> | BudgetExceeded,
  Runner.Services<L | M[keyof M]>
> => {
  const subject = `team "${name}"`
  assertOptions(subject, options, known)
  const { budget, description, mailbox = 16, maxRounds = 20, stuckAfter = Duration.minutes(5) } = options
  Runner.assertMembers(subject, crew)
  assertOptions(`the members of ${subject}`, crew, knownMembers)
  limitOf(subject, "maxRounds", maxRounds)
  countOf(subject, "mailbox", mailbox)
  const [[, leader]] = Runner.membersOf(subject, { [leaderName]: crew.leader }) as [readonly [string, AnyRunner]]
  const members = Runner.namedMembersOf(subject, crew.members) as ReadonlyArray<readonly [string, AnyRunner]>
  if (members.length === 0) throw invalid(subject, "it has no members", "Give it at least one")
  const taken = members.find(([name]) => name === leaderName || name === "all")
  if (taken !== undefined) throw invalid(subject, `a member is called "${taken[0]}"`, "Give it another name")
  const plan = { leader, members, maxRounds, mailbox, stuckAfter: durationOf(subject, "stuckAfter", stuckAfter) }
  const team = Runner.erasedWorkflow(name, {
    description,
    converses: true,
    structure: () => ({
      kind: "team",
      members: [
        { name: leaderName, role: "leader", runner: leader },
        ...members.map(([key, runner]) => ({ name: key, role: "member", runner }))
      ]
    }),
    output: () => Schemas.outputOf(leader),
    blocked: "what its members are doing is not kept",
    run: (input: string, state) => TeamRun.run(plan, input, state)
  })
  return budget === undefined ? team : Runner.withBudget(team, budget)
}
