/**
 * What a program that waits is kept as: what it was, and the ends of its calls in the order in which it received them. Run again from
 * its start with them, it comes to the same place, because nothing else can differ.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { hash, mark } from "../../../internal/fingerprint.ts"
import type { Called } from "../../../services/CodeEngine.ts"

/** The end of a call that a program has received. */
const Received = Schema.Struct({
  n: Schema.Int,
  /** What was called, with what: a mark of both. */
  call: Schema.String,
  isFailure: Schema.Boolean,
  /** The result, or the error that was thrown. */
  json: Schema.String
})
/** The end of a call that a program has received. */
export type Received = typeof Received.Type

const Ledger = Schema.Struct({
  version: Schema.Literal(1),
  /** SHA-256 of the program. */
  source: Schema.String,
  now: Schema.Finite,
  /** The functions that it had. */
  names: Schema.Array(Schema.String),
  received: Schema.Array(Received),
  /** The calls that wait. */
  waiting: Schema.Array(Schema.Struct({ n: Schema.Int, call: Schema.String }))
})
/** A program that waits. */
export type Ledger = typeof Ledger.Type

/** How much of the ends of its calls is kept of a program, in characters of JSON. */
export const maxKept = 4_000_000

const decode = Schema.decodeUnknownOption(Ledger)

/** Reads what is kept of a program. Returns what is wrong with it where it is not of this program. */
export const read = (json: Schema.Json, source: string): Ledger | string => {
  const ledger = Option.getOrUndefined(decode(json))
  if (ledger === undefined) return "what is kept of the program cannot be read"
  return ledger.source === hash(source) ? ledger : "the program is not the one that was suspended"
}

/** Names what is called, with what. */
export const markOf = ({ name, params }: Pick<Called, "name" | "params">): string => mark([name, params])

/** Writes down what a program receives, as long as that is not too much. */
export class Log {
  readonly #received: Array<Received> = []
  #size = 0

  get isFull(): boolean {
    return this.#size > maxKept
  }

  add(one: Received): void {
    this.#size += one.json.length
    if (this.isFull) this.#received.length = 0
    else this.#received.push(one)
  }

  /** What is kept of the program, with its calls that wait. */
  kept(
    program: { readonly source: string; readonly names: ReadonlyArray<string>; readonly now: number },
    waiting: Ledger["waiting"]
  ): Schema.Json {
    const { names, now, source } = program
    const ledger: Ledger = { version: 1, source: hash(source), names, now, received: this.#received, waiting }
    // It is plain JSON by its schema, although its type is wider.
    return ledger as unknown as Schema.Json
  }
}
