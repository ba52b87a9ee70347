/**
 * The port to the threads that run tools of `WorkerTool.fromModule`, which `WorkerPool.layer` provides, and its
 * failures. If unset, the process's own pool is used.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** One call of a tool in a module. */
export interface WorkerCall {
  readonly tool: string
  /** The module's address. */
  readonly module: string
  /** The name of the module's export. */
  readonly export: string
  /** The arguments of the call, as JSON. */
  readonly params: unknown
  /** The tool's context, as JSON. */
  readonly context: object
  readonly progress: (result: unknown) => Effect.Effect<void>
}

/** Runs tools outside of the program's own thread. */
export interface ToolWorkers {
  /**
   * Returns the tool's result as JSON. Interruption fires the tool's signal, ends its thread if the tool ignores it, and
   * is done when the thread is free or gone.
   */
  readonly call: (call: WorkerCall) => Effect.Effect<Schema.Json, ModuleToolFailed | ModuleUnusable | WorkerCrashed>
}

/** Set by `WorkerPool.layer`. */
export const ToolWorkers: Context.Reference<ToolWorkers | undefined> = Context.Reference<ToolWorkers | undefined>(
  "troupe/ToolWorkers",
  { defaultValue: () => undefined }
)

const place = { tool: Schema.String, module: Schema.String }

/** A tool in a worker thread threw, rejected or failed. Only data crosses threads: this is what it said. */
export class ModuleToolFailed extends Schema.TaggedError<ModuleToolFailed>()("ModuleToolFailed", {
  ...place,
  /** The name and the message of the error. */
  errorName: Schema.String,
  errorMessage: Schema.String,
  /** What the model sees: the same as for a tool in this thread. */
  failure: Schema.Json
}) {
  override get message(): string {
    return this.errorMessage
  }
}

/** The thread of a tool ended in the middle of a call. Only that call has failed; the next one gets another thread. */
export class WorkerCrashed extends Schema.TaggedError<WorkerCrashed>()("WorkerCrashed", {
  ...place,
  /** `exit`: `process.exit`. `memory`: out of memory. `uncaught`: an uncaught error. `io`: the I/O thread ended. */
  reason: Schema.Literals(["exit", "memory", "uncaught", "io"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `the worker thread of tool "${this.tool}" ended before it had answered: ${this.detail}. ${remedyOf(this)}`
  }
}

const remedyOf = ({ module, reason }: WorkerCrashed): string => {
  switch (reason) {
    case "memory":
      return "Give it less to do, or raise resourceLimits of WorkerPool.layer"
    case "io":
      return "Call it again"
    default:
      return `Fix ${module}`
  }
}

/** A tool's module cannot be loaded in a worker thread, or does not have the tool. */
export class ModuleUnusable extends Schema.TaggedError<ModuleUnusable>()("ModuleUnusable", {
  ...place,
  problem: Schema.String
}) {
  override get message(): string {
    return `the module of tool "${this.tool}" cannot be used in a worker thread: ${this.problem}. See ${this.module}`
  }
}
