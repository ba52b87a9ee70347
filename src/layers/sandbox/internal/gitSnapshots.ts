/**
 * Snapshots that are trees of a git repository: made with an index of their own, so that neither the user's index, nor a
 * branch, nor the stash changes. git runs on this machine, and runs no program that the repository names.
 */
import * as fs from "node:fs"
import { devNull, tmpdir } from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { type Change, type Snapshot, type Snapshots, WorkspaceError } from "../../../services/Sandbox.ts"
import { changedMeanwhile, unknownSnapshot } from "./copies.ts"
import { type Output, output } from "./program.ts"

const prefix = "git:"

/** Snapshots of a directory that has a `.git` itself. */
export const make = (root: string): Snapshots => {
  const take = Effect.scoped(Effect.flatMap(ownIndex, (index) => treeOf(root, index)))
  const diff = (from: Snapshot, to?: Snapshot) =>
    Effect.gen(function* () {
      const before = yield* knownTree(root, from)
      return yield* changes(root, before, yield* knownTree(root, to ?? (yield* take)))
    })
  const restore = (to: Snapshot, expected: Snapshot) =>
    Effect.scoped(
      Effect.gen(function* () {
        const target = yield* knownTree(root, to)
        const index = yield* ownIndex
        const now = yield* treeOf(root, index)
        if (now.id !== expected.id) return yield* changedMeanwhile(yield* diff(expected, now))
        yield* git(root, ["read-tree", "-u", "--reset", target], index)
      })
    )
  return { take, diff, restore }
}

const ownIndex = Effect.map(
  Effect.acquireRelease(
    Effect.try({
      try: () => fs.mkdtempSync(path.join(tmpdir(), "troupe-index-")),
      catch: () => failed("no temporary directory can be made")
    }),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  ),
  (directory) => path.join(directory, "index")
)

const failed = (detail: string) => new WorkspaceError({ reason: "System", detail })

const treeOf = (root: string, index: string): Effect.Effect<Snapshot, WorkspaceError> =>
  Effect.andThen(
    git(root, ["add", "--all", "--", "."], index),
    Effect.map(git(root, ["write-tree"], index), (id) => ({ id: `${prefix}${id.trim()}` }))
  )

/** The tree of a snapshot, when the repository has it. */
const knownTree = (root: string, snapshot: Snapshot): Effect.Effect<string, WorkspaceError> => {
  const tree = snapshot.id.slice(prefix.length)
  if (!snapshot.id.startsWith(prefix) || !/^[0-9a-f]{40,64}$/.test(tree)) return Effect.fail(unknownSnapshot(snapshot))
  return Effect.mapError(Effect.as(git(root, ["cat-file", "-e", `${tree}^{tree}`]), tree), () =>
    unknownSnapshot(snapshot)
  )
}

const changes = Effect.fnUntraced(function* (root: string, from: string, to: string) {
  const compare = ["diff-tree", "-r", "--no-renames", "--no-ext-diff", "--no-textconv"]
  const fields = (yield* git(root, [...compare, "--name-status", "-z", from, to])).split("\0")
  const { isCut, text } = yield* outputOf(root, [...compare, "-p", from, to])
  const patches = text.split(/^(?=diff --git )/m)
  // The last one is not whole.
  if (isCut) patches.pop()
  const found: Array<Change> = []
  for (let n = 0; n + 1 < fields.length; n += 2) {
    const change = fields[n] === "A" ? "added" : fields[n] === "D" ? "removed" : "modified"
    // A file that has become a link, or the other way round, has two.
    const parts = fields[n] === "T" ? 2 : 1
    const own = patches.splice(0, parts)
    found.push({ path: fields[n + 1]!, change, ...(own.length < parts ? {} : { patch: own.join("") }) })
  }
  return found
})

/** Runs git; hooks and external programs are off by `environment` and these settings. */
const outputOf = (root: string, args: ReadonlyArray<string>, index?: string): Effect.Effect<Output, WorkspaceError> =>
  output("git", ["-c", `core.hooksPath=${devNull}`, "-c", "advice.addEmbeddedRepo=false", ...args], {
    cwd: root,
    env: { GIT_OPTIONAL_LOCKS: "0", ...(index === undefined ? {} : { GIT_INDEX_FILE: index }) }
  }).pipe(Effect.mapError((detail) => failed(`git ${args[0]}: ${detail}`)))

/** All that git writes. */
const git = (root: string, args: ReadonlyArray<string>, index?: string): Effect.Effect<string, WorkspaceError> =>
  Effect.flatMap(outputOf(root, args, index), ({ isCut, text }) =>
    isCut
      ? Effect.fail(new WorkspaceError({ reason: "TooLarge", detail: `git ${args[0]} says more than is read of it` }))
      : Effect.succeed(text)
  )
