/** The tools that the leader and the members of a team have. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../AgentTool.ts"
import { CurrentState, type RunState } from "../../internal/runState.ts"
import { delegation } from "../../internal/toolDefinition.ts"
import * as ToolSource from "../../ToolSource.ts"
import type { TeamTask } from "../../RunEvent.ts"
import type { Board } from "./taskBoard.ts"

/** What the tools work on. */
export interface Desk {
  readonly board: Board
  readonly members: ReadonlyArray<{ readonly name: string; readonly description: string | undefined }>
  /** How each member stands. */
  readonly standing: () => ReadonlyArray<{ readonly name: string; readonly status: string }>
  /** Gives a task to a member, as it was given before the team was made again. */
  readonly give: (
    id: string,
    member: string,
    given: Effect.Effect<TeamTask | string>
  ) => Effect.Effect<TeamTask | string>
  /** Sends a text to a member, the leader or all; fails with why it cannot. */
  readonly send: (from: string, to: string, text: string) => Effect.Effect<string, string>
}

/** The name of the leader in messages. */
export const leaderName = "leader"

const Message = Schema.String.check(Schema.isMaxLength(20_000))
const Id = Schema.String.annotate({ description: "The id of a task" })
const orFail = <A>(effect: Effect.Effect<A | string>): Effect.Effect<A, string> =>
  Effect.flatMap(effect, (made) => (typeof made === "string" ? Effect.fail(made) : Effect.succeed(made)))
const hints = { ...delegation, idempotent: false }

const shown = ({ description: _description, ...task }: TeamTask) => task

type Named = (name: string) => string

/** Tools that everyone has. */
const common = (desk: Desk, own: string, named: Named): ReadonlyArray<AgentTool.AgentTool<string, never>> => {
  const others = [leaderName, ...desk.members.map(({ name }) => name)].filter((name) => name !== own)
  return [
    AgentTool.fromFunction(named("list_tasks"), {
      description: "Lists the tasks of the team.",
      hints: { ...hints, readOnly: true },
      execute: () => Effect.sync(() => desk.board.tasks.map(shown))
    }),
    AgentTool.fromFunction(named("list_members"), {
      description: "Lists the members of the team, and whether each works or is idle.",
      hints: { ...hints, readOnly: true },
      execute: () => Effect.sync(desk.standing)
    }),
    AgentTool.fromFunction(named("send_message"), {
      description: "Sends a message to one of the team, or to all others.",
      parameters: Schema.Struct({ to: Schema.Literals([...others, "all"]), text: Message }),
      hints,
      execute: ({ text, to }) => desk.send(own, to, text)
    })
  ]
}

/** The tools of the leader. */
const ofLeader = (desk: Desk, named: Named): ReadonlyArray<AgentTool.AgentTool<string, never>> => {
  const { board, members } = desk
  const roster = members.map(({ description, name }) => (description === undefined ? name : `${name} (${description})`))
  const Member = Schema.Literals(members.map(({ name }) => name)).annotate({
    description: `One of: ${roster.join(", ")}`
  })
  return [
    AgentTool.fromFunction(named("create_task"), {
      description:
        "Gives the team a task. Members work at once; you get the results as messages after you have answered, so create all tasks, then answer. A task without an assignee is taken by any member that is idle.",
      parameters: Schema.Struct({
        title: Schema.String,
        description: Schema.String.annotate({ description: "What to do, with everything needed to do it" }),
        assignee: Schema.optionalKey(Member),
        blockedBy: Schema.optionalKey(
          Schema.Array(Id).annotate({ description: "Tasks that have to be done before; their results are passed on" })
        ),
        priority: Schema.optionalKey(
          Schema.Int.annotate({ description: "Of tasks that can begin, those with more begin first. Default 0" })
        )
      }),
      hints,
      execute: ({ assignee, blockedBy = [], description, priority, title }) =>
        Effect.map(orFail(board.create({ title, description, assignee, blockedBy, priority })), shown)
    }),
    AgentTool.fromFunction(named("assign_task"), {
      description: "Gives an open task to a member.",
      parameters: Schema.Struct({ id: Id, assignee: Member }),
      hints,
      execute: ({ assignee, id }) => Effect.map(orFail(desk.give(id, assignee, board.assign(id, assignee))), shown)
    }),
    AgentTool.fromFunction(named("release_task"), {
      description: "Stops the member that works on a task, and opens the task again.",
      parameters: Schema.Struct({ id: Id }),
      hints,
      execute: ({ id }) => Effect.map(orFail(board.release(id)), shown)
    }),
    AgentTool.fromFunction(named("cancel_task"), {
      description: "Cancels a task; a member that works on it is stopped.",
      parameters: Schema.Struct({ id: Id }),
      hints,
      execute: ({ id }) => Effect.map(orFail(board.end(id, "cancelled")), shown)
    }),
    ...common(desk, leaderName, named)
  ]
}

/** The tools of a member. */
const ofMember = (desk: Desk, own: string, named: Named): ReadonlyArray<AgentTool.AgentTool<string, never>> => {
  const { board } = desk
  return [
    AgentTool.fromFunction(named("claim_task"), {
      description: "Takes an open task that is no one's, to work on after this one.",
      parameters: Schema.Struct({ id: Id }),
      hints,
      execute: ({ id }) => Effect.map(orFail(desk.give(id, own, board.claim(id, own))), shown)
    }),
    AgentTool.fromFunction(named("finish_task"), {
      description: "Ends the task that you work on with its result. Without it your answer is the result.",
      parameters: Schema.Struct({ id: Id, result: Schema.String }),
      hints,
      execute: ({ id, result }) =>
        Effect.suspend(() =>
          board.get(id)?.assignee === own
            ? Effect.map(orFail(board.end(id, "done", result)), shown)
            : Effect.fail(`task ${id} is not yours`)
        )
    }),
    ...common(desk, own, named)
  ]
}

/**
 * Gives the agent that is the leader, or the member `own`, its tools; agents inside of it get none. Where the agent has a tool
 * of such a name, all of them have one that begins with `team_`.
 */
export const seat = (desk: Desk, team: RunState, own: string | undefined): ToolSource.ToolSource<never> => {
  const make = (named: Named) =>
    (own === undefined ? ofLeader(desk, named) : ofMember(desk, own, named)).map(AgentTool.inMemory)
  const plain = make((name) => name)
  let prefixed: typeof plain | undefined
  const none: typeof plain = []
  const source = ToolSource.make("team", (taken) =>
    Effect.withFiber((fiber) => {
      if (fiber.getRef(CurrentState)?.parent !== team) return Effect.succeed(none)
      const isTaken = plain.some(({ name }) => taken.has(name))
      return Effect.succeed(isTaken ? (prefixed ??= make((name) => `team_${name}`)) : plain)
    })
  )
  return ToolSource.holding(source, () => plain.map(({ tool }) => tool))
}
