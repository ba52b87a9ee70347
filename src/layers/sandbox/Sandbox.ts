/**
 * Places to work: files and commands of an agent, behind one port, `Sandbox`. `FileTools.feature`, `ShellTools.feature` and
 * scripts of skills stand on it; the Layer decides where that is, and says in `info.isolates` what it keeps apart.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { assertOptions, namesOf } from "../../internal/definition.ts"
import type { InvalidDefinition } from "../../RunError.ts"
import { Sandbox } from "../../services/Sandbox.ts"
import * as Node from "#sandbox"
import type * as Bubblewrap from "./internal/bubblewrap.ts"
import * as Copies from "./internal/copies.ts"
import type * as Docker from "./internal/docker.ts"
import * as Functions from "./internal/functions.ts"
import * as Hosted from "./internal/hosted.ts"
import type { Session } from "./internal/session.ts"
import type * as Local from "./internal/local.ts"
import * as MemoryFiles from "./internal/memoryFiles.ts"
import type * as Worktree from "./internal/worktree.ts"

export {
  type Change,
  type FolderContent,
  type Info,
  type Isolation,
  Sandbox,
  type Service,
  type Snapshot,
  type Snapshots,
  WorkspaceError
} from "../../services/Sandbox.ts"
export type { Options as BubblewrapOptions, ProcessLimits } from "./internal/bubblewrap.ts"
export type { Options as DockerOptions } from "./internal/docker.ts"
export type { Session, SessionProcess } from "./internal/session.ts"
export type { Call, Command, Wrote } from "./internal/functions.ts"
export type { Options as LocalOptions } from "./internal/local.ts"

/** Options of {@link worktree}. */
export interface WorktreeOptions extends Worktree.Options {
  /** The sandbox around the tree, given its directory. Default: {@link layerLocal}. */
  readonly within?: ((root: string) => Layer.Layer<Sandbox, InvalidDefinition>) | undefined
}

/** Options of {@link layerMemory}. */
export interface MemoryOptions {
  /** The files that are there in the beginning, by their paths. Default: none. */
  readonly files?: Readonly<Record<string, string | Uint8Array>> | undefined
  /** The commands, by their names. Default: none. */
  readonly commands?: Readonly<Record<string, Functions.Command>> | undefined
}

/**
 * Files in memory, and commands that are functions: for tests, and for agents that need no machine. Nothing of it reaches
 * a disk or a process; what a function does is up to it. Files have at most 256 MiB together, and there are no links.
 *
 * Interrupting a run interrupts the function. It works at both edges, when its functions do.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, FileTools, Sandbox, ShellTools } from "troupe"
 *
 * const coder = Agent.make("coder", { use: [FileTools.feature({ write: true }), ShellTools.feature({ allow: ["wc"] })] })
 * const Memory = Sandbox.layerMemory({
 *   files: { "/notes.md": "# Notes" },
 *   commands: { wc: (_args, { stdin }) => Effect.map(stdin, (text) => `${text.length}\n`) }
 * })
 * const answer = coder.run("What is in notes.md?").pipe(Effect.provide([DemoModel.layer, Memory]))
 */
export const layerMemory = (options: MemoryOptions = {}): Layer.Layer<Sandbox> => {
  assertOptions("Sandbox.layerMemory", options, knownOfMemory)
  return Layer.effect(
    Sandbox,
    Effect.sync(() => {
      const files = MemoryFiles.make(options.files ?? {})
      return {
        files,
        processes: Functions.make(options.commands ?? {}, files),
        info: {
          name: "memory",
          description: "Files in memory, and commands that are functions of the program.",
          cwd: "/",
          isolates: { files: true, network: true, processes: true },
          edges: "both"
        },
        snapshots: Copies.make(files)
      }
    })
  )
}

const knownOfMemory = namesOf<MemoryOptions>({ files: true, commands: true })

/**
 * The machine of the user, with `root` as the workspace. It isolates nothing: a command can do what the user can. Use it where
 * the program decides which commands run, and {@link layerMemory} or a Layer that isolates where a model does.
 *
 * File tools stay below `root`, also when links or directories are exchanged meanwhile (on Linux), and write nothing below a
 * `.git`. A command gets none of this process's variables but `PATH`, `LANG`, `TZ` and `TMPDIR`, a `HOME` that is an empty
 * directory of its own, and settings that keep git from programs that a repository names. It leads a process group: when it
 * ends, is interrupted, or this process dies, all of the group is ended, and on Linux what has left the group.
 *
 * Fails with `InvalidDefinition` when `root` is not a directory. It works at both edges.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, FileTools, Sandbox } from "troupe"
 *
 * const reader = Agent.make("reader", { use: [FileTools.feature()] })
 * const answer = reader.run("What is this about?").pipe(
 *   Effect.provide([DemoModel.layer, Sandbox.layerLocal({ root: "./docs" })])
 * )
 */
export const layerLocal = (options: Local.Options): Layer.Layer<Sandbox, InvalidDefinition> =>
  Layer.effect(Sandbox, Node.local(options))

/**
 * Commands in Linux namespaces of their own, by bubblewrap (`apt-get install bubblewrap`). They see the workspace as `/work`, the
 * system's programs (`/usr`) read-only, a `/tmp` and a `HOME` of their own, and nothing else of the machine: no other file, no
 * process, no network unless `network: "host"`, no `.git` that can be written, and none of this process's environment.
 *
 * A command that ends, is interrupted, or whose program dies takes with it all that it started. Root and every other user can
 * use it; as root, commands run as the owner of the workspace. What it does not keep apart: the kernel, which commands share,
 * and the workspace, whose files the user's own programs may run later.
 *
 * Fails with `InvalidDefinition` when bubblewrap is not there, or may not make namespaces here: a command is run once when the
 * Layer is built, and none ever runs without it. It works at both edges, and on Linux only.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, FileTools, Sandbox, ShellTools } from "troupe"
 *
 * const coder = Agent.make("coder", { use: [FileTools.feature({ write: true }), ShellTools.feature({ allow: ["ls", "make"] })] })
 * const answer = coder.run("Fix the failing test").pipe(
 *   Effect.provide([DemoModel.layer, Sandbox.layerBubblewrap({ root: "./repository", limits: { cpu: "60 seconds" } })])
 * )
 */
export const layerBubblewrap = (options: Bubblewrap.Options): Layer.Layer<Sandbox, InvalidDefinition> =>
  Layer.effect(Sandbox, Node.bubblewrap(options))

/**
 * A tree of files of its own for each one that provides it: a worktree of a git repository, in a temporary directory, removed
 * when the Layer's scope closes. So two agents that work at once do not see each other's files, and the user's stay as they are.
 *
 * What is in the tree when it is removed is gone: take what you want before, as a `Workspace.diff` with patches, or as a
 * `Workspace.snapshot`, which every other worktree of the repository can restore. Fails with `InvalidDefinition` when `repository`
 * is not one or git is not there.
 *
 * @example
 * import { Agent, FileTools, Parallel, Runner, Sandbox } from "troupe"
 *
 * const coder = (name: string) => Agent.make(name, { use: [FileTools.feature({ write: true })] })
 * const Tree = Sandbox.worktree({ repository: "./repository", within: (root) => Sandbox.layerBubblewrap({ root }) })
 * const both = Parallel.make("both", {
 *   careful: coder("careful").pipe(Runner.provide(Tree)),
 *   bold: coder("bold").pipe(Runner.provide(Tree))
 * })
 */
export const worktree = (options: WorktreeOptions): Layer.Layer<Sandbox, InvalidDefinition> => {
  const { within = (root) => layerLocal({ root }), ...tree } = options
  return Layer.fresh(Layer.unwrap(Effect.map(Node.worktree(tree), within)))
}

/**
 * Commands in a container of Docker, or of Podman (`docker: "podman"`), started when the Layer is built and removed with its scope.
 * They see the image, which they cannot change, and the workspace as `/work`; they have no capabilities, no network unless one is
 * named, 1 GiB of memory and 128 processes. A `.git` of the workspace is read-only. File tools work on this machine.
 *
 * Interruption ends the group of the command in the container. What was left when this program was killed is removed when the next
 * such Layer is built on the machine. Who may use Docker's socket can do all on the machine: the container does not get it, but this
 * program has it. Scripts of skills see a copy of their folder, read-only.
 *
 * Fails with `InvalidDefinition` when the container does not start. It works at both edges.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, Sandbox, ShellTools } from "troupe"
 *
 * const tester = Agent.make("tester", { use: [ShellTools.feature({ allow: [["npm", "test"]] })] })
 * const answer = tester.run("Do the tests pass?").pipe(
 *   Effect.provide([DemoModel.layer, Sandbox.layerDocker({ image: "node:24", root: "./repository" })])
 * )
 */
export const layerDocker = (options: Docker.Options): Layer.Layer<Sandbox, InvalidDefinition> =>
  Layer.effect(Sandbox, Node.docker(options))

/**
 * A hosted sandbox, by a session of the AI SDK's providers (`@ai-sdk/sandbox-vercel` and others), which the program makes and closes.
 * Its working directory is the workspace. What it keeps apart is the provider's to say; `info.isolates.network` is `false`, since
 * most have one.
 *
 * Links out of the workspace are refused, by asking the sandbox where a path leads: a command that exchanges a link at that moment
 * reaches other files of the sandbox. A file is written as a whole, and readers may see a part of it. Snapshots are copies. Scripts
 * of skills see a copy of their folder in the sandbox's `/tmp`, whose files are not writable, which a script can change. Its operations
 * are promises, so it works at the async edge only.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel, FileTools, Sandbox } from "troupe"
 *
 * const coder = Agent.make("coder", { use: [FileTools.feature({ write: true })] })
 * const work = (session: Sandbox.Session) =>
 *   coder.run("Write a page").pipe(Effect.provide([DemoModel.layer, Sandbox.layerAiSdk(session)]))
 */
export const layerAiSdk = (session: Session): Layer.Layer<Sandbox> =>
  Layer.effect(
    Sandbox,
    Effect.sync(() => Hosted.make(session))
  )
