/**
 * The port to a place to work: files, and processes that see the same files. `layers/sandbox/Sandbox.ts` has the Layers.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"

/** What a command or a file tool in it cannot reach. Each field is true only where the Layer enforces it. */
export const Isolation = Schema.Struct({
  /** Commands see no files but those of the workspace and the programs of the system. */
  files: Schema.Boolean,
  /** Commands have no network. */
  network: Schema.Boolean,
  /** Commands see no processes but their own, and none outlives its command. */
  processes: Schema.Boolean
})
/** What a command or a file tool in it cannot reach. */
export interface Isolation extends Schema.Schema.Type<typeof Isolation> {}

/** Describes a sandbox, for people, events and instructions of agents. */
export interface Info {
  /** What backs it, such as `"bubblewrap"`. */
  readonly name: string
  /** What it is and what it keeps apart, in a sentence. */
  readonly description: string
  /** The path of the workspace as commands see it. */
  readonly cwd: string
  readonly isolates: Isolation
  /** `"both"`: it works under `Effect.runSync` with `SyncEdge.layer` too. */
  readonly edges: "both" | "async"
}

/** The files of a workspace at one moment. The id can be kept as text. */
export interface Snapshot {
  readonly id: string
}

/** One file that differs. `patch` is a unified diff, where the workspace can make one. */
export interface Change {
  readonly path: string
  readonly change: "added" | "modified" | "removed"
  readonly patch?: string | undefined
}

/** Why a snapshot was not taken, compared or restored. */
export class WorkspaceError extends Schema.TaggedError<WorkspaceError>()("WorkspaceError", {
  /**
   * `Changed`: the files are not as expected, and nothing was restored. `Unknown`: there is no such snapshot here. `TooLarge`:
   * there are more or larger files than are kept. `Refused`: a person or a policy did not allow it. `System`: the sandbox failed.
   */
  reason: Schema.Literals(["Changed", "Unknown", "TooLarge", "Refused", "System"]),
  detail: Schema.String,
  /** Files that were changed meanwhile; at most 50 of them. */
  paths: Schema.optionalKey(Schema.Array(Schema.String))
}) {
  override get message(): string {
    const paths = this.paths === undefined ? "" : `: ${this.paths.join(", ")}`
    return `The workspace was not changed: ${this.detail}${paths}`
  }
}

/** Keeps and restores the files of a workspace. */
export interface Snapshots {
  /** Notes the files as they are; changes nothing. */
  readonly take: Effect.Effect<Snapshot, WorkspaceError>
  /** What is different in `to`; unset: in the files as they are. */
  readonly diff: (from: Snapshot, to?: Snapshot) => Effect.Effect<ReadonlyArray<Change>, WorkspaceError>
  /** Puts the files back, when they are as in `expected`. */
  readonly restore: (to: Snapshot, expected: Snapshot) => Effect.Effect<void, WorkspaceError>
}

/** The services of a sandbox. They are its fields, and not services of their own, so that they replace none of the program's. */
export interface Service {
  /** Files of the workspace, which is `/`. Relative paths begin there too. */
  readonly files: FileSystem.FileSystem
  /** Starts commands. `cwd` of a command is a path of the workspace, by default `/`; nothing of this process's environment is passed on. */
  readonly processes: ChildProcessSpawner["Service"]
  readonly info: Info
  readonly snapshots: Snapshots
  /**
   * Makes a folder of this machine readable for commands, and gives its path there. `location` is its path on this machine, and
   * `content` reads its files, for a sandbox that needs a copy. Unset: it cannot be done, and skills have no scripts.
   */
  readonly folder?:
    | ((
        name: string,
        location: string,
        content: Effect.Effect<FolderContent, WorkspaceError>
      ) => Effect.Effect<string, WorkspaceError>)
    | undefined
}

/** The files of a folder. */
export interface FolderContent {
  /** Differs where the files differ. */
  readonly mark: string
  readonly files: ReadonlyArray<{
    /** Below the folder, with `/` between names. */
    readonly path: string
    readonly bytes: Uint8Array
    readonly isExecutable: boolean
  }>
}

/** A place to work. */
export class Sandbox extends Context.Service<Sandbox, Service>()("troupe/Sandbox") {}
