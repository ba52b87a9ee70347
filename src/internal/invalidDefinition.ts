/** The error of a definition: apart from those of runs, which know the events that checks of definitions must not depend on. */
import * as Schema from "effect/Schema"

/** A definition that could never run: a duplicate tool name, a schema without a JSON form, an empty router. Thrown where it is defined. */
export class InvalidDefinition extends Schema.TaggedError<InvalidDefinition>()("InvalidDefinition", {
  /** The definition that is wrong, such as `agent "judge"`. */
  subject: Schema.String,
  problem: Schema.String,
  /** The next step. */
  remedy: Schema.String
}) {
  override get message(): string {
    return `${this.subject}: ${this.problem}. ${this.remedy}`
  }
}
