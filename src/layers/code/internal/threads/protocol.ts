/** What the thread of a program, the I/O thread that watches it, and ours say to one another. */
import type { Program, Turn } from "../../../../services/CodeEngine.ts"

/** What the thread of a program begins with. */
export interface Given {
  readonly program: Program
  /** The module of quickjs-wasi, and its WebAssembly. */
  readonly module: string
  readonly wasm: string
}

/** The argument of the program in the I/O thread. */
export interface HostArgs {
  readonly given: Given
  /** The text of the program's thread. */
  readonly source: string
}

/** From us to the thread of a program. */
export type ToProgram = { readonly n: number; readonly isFailure: boolean; readonly json: string }

/** From the I/O thread to us. `unusable`: the engine could not be loaded. */
export type FromHost =
  | { readonly type: "turn"; readonly turn: Turn }
  | { readonly type: "unusable"; readonly message: string }

/**
 * From the thread of a program to the I/O thread. `ready`: from now on its time counts. `worked` says how long it has worked so far,
 * in milliseconds, where the platform can tell.
 */
export type FromProgram = (FromHost | { readonly type: "ready" }) & { readonly worked: number | undefined }
