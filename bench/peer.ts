/** What every peer can do, and the work it is given. */
export interface Peer {
  readonly single: (prompt: string) => Promise<string>
  readonly tools: (prompt: string, rounds: number) => Promise<string>
  readonly stream: (prompt: string, tokens: number) => Promise<number>
  /** Requests that the server answers after so many milliseconds, at once. */
  readonly together?: (waits: ReadonlyArray<number>) => Promise<ReadonlyArray<string>>
}

export const baseURL = process.env["BENCH_URL"] ?? "http://127.0.0.1:1/v1"

/** The tool's work. */
export const sum = (a: number, b: number): number => a + b
