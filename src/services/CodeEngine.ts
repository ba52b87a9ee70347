/**
 * The port to an engine for programs that a model writes. An engine knows no tools: it runs JavaScript in which the names that it is
 * given are functions, reports the calls of these functions, and goes on when they are answered. `layers/code/CodeMode.ts` has the
 * Layer.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/** What a program may use. */
export interface Limits {
  /** The memory of its values, in bytes. */
  readonly memory: number
  /** How long it may run without awaiting anything, in milliseconds. */
  readonly turnMs: number
}

/** A program to run. */
export interface Program {
  /** The body of an async function. */
  readonly source: string
  /** The functions of `tools` in it. */
  readonly names: ReadonlyArray<string>
  /** What its clock says all the time, in milliseconds since 1970; its random numbers follow from it. */
  readonly now: number
  readonly limits: Limits
}

/** A call that a program makes. They are counted from 0. */
export interface Called {
  readonly n: number
  readonly name: string
  /** The argument, as JSON. */
  readonly params: string
}

/** How a program ended. `value`: what it returned, as JSON; `error`: what it threw. */
export type End =
  | { readonly _tag: "Returned"; readonly value: string }
  | { readonly _tag: "Threw"; readonly error: string }
  /** `Time`: it ran too long without awaiting. `Memory`: it used more than it may. `Lost`: its thread ended. */
  | { readonly _tag: "Stopped"; readonly reason: "Time" | "Memory" | "Lost"; readonly error: string }

/** What a program did until it awaited or ended. */
export interface Turn {
  readonly calls: ReadonlyArray<Called>
  /** What it wrote to `console`. */
  readonly console: string
  readonly end: End | undefined
}

/** A program that runs. */
export interface Running {
  /** Waits for the next turn: one after the start, and one after each answer. */
  readonly next: Effect.Effect<Turn>
  /** Answers a call with JSON: its result, or `{ name, message }` of the error that it throws. */
  readonly answer: (n: number, isFailure: boolean, json: string) => Effect.Effect<void>
}

/** An engine that cannot start programs. */
export class CodeEngineError extends Schema.TaggedError<CodeEngineError>()("CodeEngineError", {
  problem: Schema.String,
  remedy: Schema.String
}) {
  override get message(): string {
    return `The code engine cannot be used: ${this.problem}. ${this.remedy}`
  }
}

/** Runs programs. A program ends with its scope. */
export class CodeEngine extends Context.Service<
  CodeEngine,
  { readonly start: (program: Program) => Effect.Effect<Running, CodeEngineError, Scope.Scope> }
>()("troupe/CodeEngine") {}
