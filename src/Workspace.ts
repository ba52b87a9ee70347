/**
 * The files of a sandbox over time: noted, compared and put back. What commands changed counts like what tools wrote.
 */
import * as Effect from "effect/Effect"
import { assertOptions, namesOf } from "./internal/definition.ts"
import { hash } from "./internal/fingerprint.ts"
import { CurrentState } from "./internal/runState.ts"
import { type Approver, CurrentApprover, type Denied, floorsOf, type Request } from "./services/Approver.ts"
import { type Change, Sandbox, type Service, type Snapshot, WorkspaceError } from "./services/Sandbox.ts"

export { type Change, type Snapshot, WorkspaceError } from "./services/Sandbox.ts"

/**
 * Notes the files as they are. Nothing of them changes, nor the index, a branch or the stash of a repository: where the
 * workspace is a git repository, the snapshot is a tree in it, and its id is good for as long as git keeps that (two weeks at
 * least, and in other worktrees of it). Elsewhere it is a copy in memory, of at most 10,000 files and 32 MiB, which ends with the
 * Layer. Files that `.gitignore` names, what is below a `.git`, and empty directories are not in it.
 *
 * @example
 * import { Effect } from "effect"
 * import { Sandbox, Workspace } from "troupe"
 *
 * const program = Effect.gen(function* () {
 *   const before = yield* Workspace.snapshot
 *   const { files } = yield* Sandbox.Sandbox
 *   yield* files.writeFileString("/notes.md", "# Notes")
 *   return yield* Workspace.diff(before)
 * }).pipe(Effect.provide(Sandbox.layerMemory()))
 */
export const snapshot: Effect.Effect<Snapshot, WorkspaceError, Sandbox> = Effect.flatMap(
  Sandbox,
  ({ snapshots }) => snapshots.take
)

/** The files that are different in `to`; unset: as they are now. Patches are there where the workspace is a git repository. */
export const diff = (from: Snapshot, to?: Snapshot): Effect.Effect<ReadonlyArray<Change>, WorkspaceError, Sandbox> =>
  Effect.flatMap(Sandbox, ({ snapshots }) => snapshots.diff(from, to))

/** Options of {@link restore}. */
export interface RestoreOptions {
  /**
   * The files as they should be now, such as a snapshot that was taken when the agent was done: when they are not, a person or
   * another program has changed them, and nothing is restored. Unset: they may be as they are.
   */
  readonly expected?: Snapshot | undefined
  /** True when the program has asked the user itself. Default `false`: the approver around is asked. */
  readonly approved?: boolean | undefined
}

/**
 * Puts the files back as they were, and gives what that changed. Files that came since are removed, others are written.
 *
 * It is asked for like a call of a destructive tool `restore_files` that needs approval, with the paths that change as its
 * arguments: an `Approvals` Layer answers, and without one it is refused. Inside of a run the event `FilesRestored` is emitted. Fails
 * with `WorkspaceError`: `Changed` when the files are not as `expected`, `Refused`, `Unknown` for a snapshot that is not here.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Approvals, Workspace } from "troupe"
 *
 * const coder = Agent.make("coder", {})
 * const attempt = Effect.gen(function* () {
 *   const before = yield* Workspace.snapshot
 *   yield* coder.run("Fix the test")
 *   const after = yield* Workspace.snapshot
 *   return yield* Workspace.restore(before, { expected: after })
 * }).pipe(Effect.provide(Approvals.layer(() => Effect.succeed(Approvals.approve))))
 */
export const restore = (
  to: Snapshot,
  options: RestoreOptions = {}
): Effect.Effect<ReadonlyArray<Change>, WorkspaceError, Sandbox> => {
  assertOptions("Workspace.restore", options, known)
  return Effect.flatMap(Sandbox, (sandbox) => restoreIn(sandbox, to, options))
}

const known = namesOf<RestoreOptions>({ approved: true, expected: true })

/** @internal {@link restore} in a sandbox that is at hand. */
export const restoreIn = Effect.fnUntraced(function* (
  sandbox: Pick<Service, "snapshots">,
  to: Snapshot,
  options: RestoreOptions
): Effect.fn.Return<ReadonlyArray<Change>, WorkspaceError> {
  const { changes, now } = yield* agreeTo(sandbox, to, options)
  if (changes.length === 0) return changes
  yield* sandbox.snapshots.restore(to, now)
  const state = yield* CurrentState
  const paths = changes.slice(0, maxPaths).map(({ change, path }) => ({ path, change }))
  yield* (
    state?.events.emit({ _tag: "FilesRestored", snapshot: to.id, changes: paths, total: changes.length }) ?? Effect.void
  )
  return changes
})

/** @internal What {@link restoreIn} does before it changes anything: it looks, and asks. */
export const agreeTo = Effect.fnUntraced(function* (
  { snapshots }: Pick<Service, "snapshots">,
  to: Snapshot,
  { approved = false, expected }: RestoreOptions
): Effect.fn.Return<{ readonly now: Snapshot; readonly changes: ReadonlyArray<Change> }, WorkspaceError> {
  const now = yield* snapshots.take
  if (expected !== undefined && expected.id !== now.id) {
    const paths = (yield* snapshots.diff(expected, now)).slice(0, maxPaths).map(({ path }) => path)
    const detail = "files were changed meanwhile, and putting others in their place would lose that"
    return yield* new WorkspaceError({ reason: "Changed", detail, paths })
  }
  const changes = yield* snapshots.diff(now, to)
  if (changes.length > 0 && !approved) yield* ask(to, changes)
  return { now, changes }
})

/** How many paths approvers and events are shown. */
const maxPaths = 50

/** Without an approver no person can have agreed. */
const refusing: Approver = {
  rule: (): Denied => ({
    _tag: "Denied",
    reason: "no approver is provided to ask; provide an Approvals Layer, or say that it is approved"
  }),
  decide: () => Effect.succeed({ _tag: "Later" })
}

/** Asks every approver that counts, as for a tool that needs approval. */
const ask = Effect.fnUntraced(function* (to: Snapshot, changes: ReadonlyArray<Change>) {
  const approvers = yield* Effect.withFiber((fiber) =>
    Effect.succeed([fiber.getRef(CurrentApprover) ?? refusing, ...floorsOf(fiber.context)])
  )
  const state = yield* CurrentState
  const request = requestOf(to, changes, state?.info.path ?? [])
  for (const approver of approvers) {
    const rule = approver.rule(request, true)
    if (rule === "allow") continue
    const decision = rule === "ask" ? yield* approver.decide(request) : rule
    if (decision._tag === "Denied") return yield* new WorkspaceError({ reason: "Refused", detail: decision.reason })
    if (decision._tag === "Later") {
      return yield* new WorkspaceError({
        reason: "Refused",
        detail: "the approver decides later, and this cannot wait"
      })
    }
  }
})

const requestOf = (to: Snapshot, changes: ReadonlyArray<Change>, path: ReadonlyArray<string>): Request => {
  const params = {
    snapshot: to.id,
    changes: changes.slice(0, maxPaths).map(({ change, path }) => `${change} ${path}`),
    total: changes.length
  }
  return {
    id: `restore/${hash(params)}`,
    path,
    step: 0,
    toolCallId: "restore",
    tool: "restore_files",
    description: "Puts the files of the workspace back as they were",
    params,
    hints: { readOnly: false, destructive: true, idempotent: true, openWorld: false },
    fingerprint: hash(["restore_files", params])
  }
}
