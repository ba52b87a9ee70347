/** A worktree of a git repository, for as long as a scope is open. */
import * as fs from "node:fs"
import { devNull, tmpdir } from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { assertOptions, assertText, namesOf } from "../../../internal/definition.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import { checked, rootOf } from "./local.ts"
import { output } from "./program.ts"

/** Which tree. */
export interface Options {
  /** The repository. Its own files, branches and index stay as they are. */
  readonly repository: string | URL
  /** The commit that the tree begins with. Default `"HEAD"`. */
  readonly from?: string | undefined
}

const subject = "Sandbox.worktree"
const known = namesOf<Options>({ repository: true, from: true })

/** Makes a worktree in a temporary directory, and removes it when the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options) {
  yield* checked(() => {
    assertOptions(subject, options, known)
    assertText(subject, "from", options.from)
  })
  const { from = "HEAD", repository } = options
  const root = yield* rootOf(subject, repository)
  if (from.startsWith("-")) return yield* invalid(`it cannot begin with ${JSON.stringify(from)}`)
  const above = yield* Effect.acquireRelease(
    Effect.try({
      try: () => fs.realpathSync(fs.mkdtempSync(path.join(tmpdir(), "troupe-worktree-"))),
      catch: (cause) => invalid(String(cause))
    }),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  )
  // Its name is the name of the worktree in the repository.
  const tree = path.join(above, path.basename(above))
  yield* Effect.acquireRelease(git(root, ["worktree", "add", "--quiet", "--detach", tree, from]), () =>
    Effect.ignore(git(root, ["worktree", "remove", "--force", tree]))
  )
  return tree
})

const invalid = (problem: string) =>
  new InvalidDefinition({ subject, problem, remedy: "Give the directory of a git repository, and a commit of it" })

const git = (cwd: string, args: ReadonlyArray<string>): Effect.Effect<void, InvalidDefinition> =>
  output("git", ["-c", `core.hooksPath=${devNull}`, ...args], { cwd, env: {} }).pipe(
    Effect.mapError((detail) => invalid(`git: ${detail}`)),
    Effect.asVoid
  )
