/** Why a program did not give a value. */
import * as Schema from "effect/Schema"

/** A call of a program that was done. `params` is the beginning of its JSON. */
export class DoneCall extends Schema.Class<DoneCall>("DoneCall")({ tool: Schema.String, params: Schema.String }) {}

/** How many calls a message names. */
const maxNamed = 20

/**
 * A program that did not give a value. `done` lists the calls that were done: the model sees them, so that it does not make
 * them twice.
 */
export class ProgramError extends Schema.TaggedError<ProgramError>()("ProgramError", {
  /**
   * `Threw`: an error of its own, or of its syntax. `Time`: it ran too long without awaiting. `Timeout`: it was not done in
   * time. `Memory`, `Calls`: it used more than it may. `Stuck`: it awaits what never comes. `Unawaited`: it ended before a call had
   * begun. `Diverged`: a run was made again with another program. `Lost`: its thread ended.
   */
  reason: Schema.Literals(["Threw", "Time", "Timeout", "Memory", "Calls", "Stuck", "Unawaited", "Diverged", "Lost"]),
  detail: Schema.String,
  done: Schema.Array(DoneCall),
  /** The end of what it wrote to `console`. */
  console: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const named = this.done.slice(-maxNamed).map(({ params, tool }) => `${tool}(${params})`)
    const more = this.done.length > maxNamed ? ` and ${this.done.length - maxNamed} before them` : ""
    const done = named.length === 0 ? "No call was done." : `Calls that were done: ${named.join(", ")}${more}.`
    const console = this.console === undefined ? "" : ` Its console: ${this.console}`
    return `The program failed: ${this.detail}. ${done}${console}`
  }
}
