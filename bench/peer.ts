/** What every peer can do, and the work it is given. */
export interface Peer {
  readonly single: (prompt: string) => Promise<string>
  readonly tools: (prompt: string, rounds: number) => Promise<string>
  /** How many tokens came of an answer that the server writes so many tokens at a time. */
  readonly stream: (prompt: string, tokens: number, perWrite: number) => Promise<number>
  /** One single-turn agent over many items, at most `concurrency` at a time; answers in the order of the items. */
  readonly map?: (items: ReadonlyArray<string>, concurrency: number) => Promise<ReadonlyArray<string>>
  /** One agent over many prompts, all at once. */
  readonly agents?: (prompts: ReadonlyArray<string>, rounds: number) => Promise<ReadonlyArray<string>>
  /** An agent for each of the instructions, all at once on one prompt; fails when one of them fails. */
  readonly fanOut?: (instructions: ReadonlyArray<string>, prompt: string) => Promise<ReadonlyArray<string>>
  /** Requests that the server answers after so many milliseconds, at once. */
  readonly together?: (waits: ReadonlyArray<number>) => Promise<ReadonlyArray<string>>
}

export const baseURL = process.env["BENCH_URL"] ?? "http://127.0.0.1:1/v1"

/** The tool's work. */
export const sum = (a: number, b: number): number => a + b

/** What a program without a framework for it does: as many loops as may run at once, over the same items. */
export const pool = async <A, B>(
  items: ReadonlyArray<A>,
  concurrency: number,
  f: (item: A) => Promise<B>
): Promise<ReadonlyArray<B>> => {
  const results: Array<B> = Array.from({ length: items.length })
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const at = next++
      results[at] = await f(items[at]!)
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker))
  return results
}
