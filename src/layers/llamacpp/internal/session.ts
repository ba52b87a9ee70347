/**
 * The weights of one file in the memory of one process, by the package `node-llama-cpp`, and the contexts on them. It knows nothing of
 * Effect: on the sync edge it runs in a process of its own.
 */
import type {
  ChatModelFunctions,
  Llama,
  LlamaChatResponse,
  LlamaChatResponseChunk,
  LlamaContext,
  LlamaContextSequence,
  LlamaEmbeddingContext,
  LlamaGrammar
} from "node-llama-cpp"
import type { Answers, Chunk, Gpu, Item, Question, Reply, Source, Task } from "./protocol.ts"

/** The package. */
export type Package = typeof import("node-llama-cpp")

/** One answer that is being made. */
export interface Making {
  readonly onChunk: (chunk: Chunk) => void
  /** Stops it after the token that is being made. */
  readonly signal: AbortSignal
}

/** A file that is loaded. */
export interface Session {
  /** Rejects with what the package throws. */
  readonly ask: (question: Question, making: Making) => Promise<Answers[keyof Answers]>
  readonly dispose: () => Promise<void>
}

const libraries = new Map<Gpu, Promise<Llama>>()

/** The library, loaded once for each kind of hardware. Nothing is built or downloaded. */
const libraryFor = ({ getLlama, LlamaLogLevel }: Package, gpu: Gpu): Promise<Llama> => {
  let found = libraries.get(gpu)
  if (found === undefined) {
    found = getLlama({
      build: "never",
      skipDownload: true,
      progressLogs: false,
      logLevel: LlamaLogLevel.error,
      gpu
    })
    libraries.set(gpu, found)
    found.catch(() => libraries.delete(gpu))
  }
  return found
}

/** Loads a file. Rejects with what the package throws. */
export const load = async (library: Package, { gpu, modelPath }: Source): Promise<Session> => {
  const llama = await libraryFor(library, gpu)
  const model = await llama.loadModel({ modelPath })
  const contexts = new Map<number, { readonly of: LlamaContext; readonly sequences: Array<LlamaContextSequence> }>()
  const embeddings = new Map<number, LlamaEmbeddingContext>()
  let count = 0
  const ask: Session["ask"] = async (question, making) => {
    switch (question.type) {
      case "context": {
        const { contextTokens, sequences, threads } = question.options
        const of = await model.createContext({ sequences, threads, contextSize: contextTokens ?? { max: 8192 } })
        const id = count++
        contexts.set(id, { of, sequences: Array.from({ length: sequences }, () => of.getSequence()) })
        return { id, size: of.contextSize }
      }
      case "generate": {
        const contextSequence = contexts.get(question.context)!.sequences[question.sequence]!
        return generate(new library.LlamaChat({ contextSequence }), llama, question.task, making)
      }
      case "embedding": {
        const { contextTokens, threads } = question.options
        const contextSize = contextTokens === undefined ? {} : { contextSize: contextTokens }
        const id = count++
        embeddings.set(id, await model.createEmbeddingContext({ threads, ...contextSize }))
        return { id }
      }
      case "embed": {
        const { vector } = await embeddings.get(question.context)!.getEmbeddingFor(question.text)
        return { vector, tokens: model.tokenize(question.text).length }
      }
      case "free": {
        const of = contexts.get(question.context)?.of ?? embeddings.get(question.context)
        contexts.delete(question.context)
        embeddings.delete(question.context)
        return of?.dispose() as Promise<undefined>
      }
    }
  }
  return { ask, dispose: () => model.dispose() }
}

type Response = LlamaChatResponse<ChatModelFunctions>

const generate = async (
  chat: InstanceType<Package["LlamaChat"]>,
  llama: Llama,
  task: Task,
  { onChunk, signal }: Making
): Promise<Reply> => {
  const { sequence } = chat
  const before = sequence.tokenMeter.getState()
  try {
    const { functions, grammar, isCall, thoughtTokens } = task
    const common = {
      signal,
      maxTokens: task.maxTokens,
      temperature: task.temperature,
      ...(task.topP === undefined ? {} : { topP: task.topP }),
      ...(task.topK === undefined ? {} : { topK: task.topK }),
      ...(task.seed === undefined ? {} : { seed: task.seed }),
      ...(thoughtTokens === undefined ? {} : { budgets: { thoughtTokens } }),
      ...(isCall ? {} : { onResponseChunk: shown(onChunk) })
    }
    const form =
      grammar === undefined
        ? functions === undefined
          ? {}
          : { functions, maxParallelFunctionCalls: 8 }
        : { grammar: await grammarFor(llama, grammar) }
    const result: Response = await chat.generateResponse<ChatModelFunctions>([...task.history], {
      ...common,
      ...form
    } as typeof common)
    const used = sequence.tokenMeter.diff(before)
    const total = Math.max(used.usedInputTokens, sequence.contextTokens.length - used.usedOutputTokens)
    return {
      items: itemsOf(result),
      response: result.response,
      wasCut: result.metadata.stopReason === "maxTokens",
      inputTokens: total,
      cachedTokens: total - used.usedInputTokens,
      outputTokens: used.usedOutputTokens
    }
  } finally {
    chat.dispose()
  }
}

/** The package types the value by a schema that is written out; ours is made at run time, and its value is read as text. */
const grammarFor = (llama: Llama, schema: NonNullable<Task["grammar"]>): Promise<LlamaGrammar> =>
  llama.createGrammarForJsonSchema(schema as { readonly type: "string" })

/** Passes on texts and thoughts; other segments are comments of the model's template. */
const shown =
  (onChunk: (chunk: Chunk) => void) =>
  ({ segmentType, text, type }: LlamaChatResponseChunk): void => {
    if (text === "" || (type === "segment" && segmentType !== "thought")) return
    onChunk({ kind: type === "segment" ? "thought" : "text", text })
  }

const itemsOf = ({ fullResponse, functionCalls = [] }: Response): ReadonlyArray<Item> => [
  ...fullResponse.flatMap((item): ReadonlyArray<Item> => {
    if (typeof item === "string") return [{ kind: "text", text: item }]
    return item.segmentType === "thought" ? [{ kind: "thought", text: item.text }] : []
  }),
  ...functionCalls.map(({ functionName: name, params }): Item => ({ kind: "call", name, params }))
]
