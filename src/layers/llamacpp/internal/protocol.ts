/** What is said to a model of llama.cpp, in forms that can be sent to another process. */
import type { ChatHistoryItem, GbnfJsonSchema } from "node-llama-cpp"

/** What runs the model: `false` is the processor alone. */
export type Gpu = "auto" | "cuda" | "metal" | "vulkan" | false

/** A file, and what runs it. */
export interface Source {
  readonly modelPath: string
  readonly gpu: Gpu
}

/** The same for the same file on the same hardware. */
export const keyOf = ({ gpu, modelPath }: Source): string => `${String(gpu)} ${modelPath}`

/** How a context is made. */
export interface ContextOptions {
  readonly threads: number
  readonly contextTokens: number | undefined
  readonly sequences: number
}

/** A tool, as the model sees it. */
export interface Described {
  readonly description: string
  readonly params: GbnfJsonSchema
}

/** What an answer is made of. */
export interface Task {
  readonly history: ReadonlyArray<ChatHistoryItem>
  /** The schema that the answer is held to. */
  readonly grammar: GbnfJsonSchema | undefined
  readonly functions: Readonly<Record<string, Described>> | undefined
  /** True where the answer is a call, in a form of ours: no piece of it is shown. */
  readonly isCall: boolean
  readonly maxTokens: number
  readonly temperature: number
  readonly topP: number | undefined
  readonly topK: number | undefined
  readonly seed: number | undefined
  readonly thoughtTokens: number | undefined
}

/** A piece of an answer as it is made. */
export interface Chunk {
  readonly kind: "text" | "thought"
  readonly text: string
}

/** A part of an answer. */
export type Item = Chunk | { readonly kind: "call"; readonly name: string; readonly params: unknown }

/** An answer. */
export interface Reply {
  readonly items: ReadonlyArray<Item>
  /** The whole of it as it was written. */
  readonly response: string
  readonly wasCut: boolean
  readonly inputTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
}

/** The vector of a text, and how many tokens it has. */
export interface Embedded {
  readonly vector: ReadonlyArray<number>
  readonly tokens: number
}

/** What went wrong there. */
export interface Failure {
  readonly message: string
  readonly name?: string | undefined
  readonly code?: string | undefined
}

/** What a file that is loaded is asked. */
export type Question =
  | { readonly type: "context"; readonly options: ContextOptions }
  | { readonly type: "embedding"; readonly options: Omit<ContextOptions, "sequences"> }
  | { readonly type: "generate"; readonly context: number; readonly sequence: number; readonly task: Task }
  | { readonly type: "embed"; readonly context: number; readonly text: string }
  | { readonly type: "free"; readonly context: number }

/** What each question is answered with. Contexts are known by numbers. */
export interface Answers {
  readonly context: { readonly id: number; readonly size: number }
  readonly embedding: { readonly id: number }
  readonly generate: Reply
  readonly embed: Embedded
  readonly free: undefined
}

/** A message to a process that runs a file. Each has an answer with its number, but for `abort`, which is the end of one. */
export type ToModel = { readonly id: number } & (
  | Question
  | { readonly type: "load"; readonly library: string; readonly source: Source }
  | { readonly type: "abort" }
)

/** A message of the process: a piece of an answer, and last the answer itself. */
export type FromModel = { readonly id: number } & (
  | { readonly type: "chunk"; readonly chunk: Chunk }
  | { readonly type: "done"; readonly value: unknown }
  | { readonly type: "failed"; readonly failure: Failure }
)
