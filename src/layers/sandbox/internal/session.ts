/** What is used of the session that the AI SDK's providers give. */

/** How an operation on a path is called. */
export interface PathOptions {
  readonly path: string
  readonly abortSignal?: AbortSignal
}

interface CommandOptions {
  readonly command: string
  readonly workingDirectory?: string
  readonly env?: Record<string, string>
  readonly abortSignal?: AbortSignal
}

/** A process of a {@link Session}. */
export interface SessionProcess {
  readonly pid?: number
  readonly stdout: ReadableStream<Uint8Array>
  readonly stderr: ReadableStream<Uint8Array>
  readonly stdin?: WritableStream<Uint8Array>
  readonly wait: () => PromiseLike<{ exitCode: number }>
  readonly kill: () => PromiseLike<void>
}

/** What is used of a `SandboxSession` of the AI SDK. Relative paths begin at its working directory, which is the workspace. */
export interface Session {
  readonly description: string
  readonly readBinaryFile: (options: PathOptions) => PromiseLike<Uint8Array | null>
  readonly writeBinaryFile: (options: PathOptions & { readonly content: Uint8Array }) => PromiseLike<void>
  readonly stat: (options: PathOptions) => PromiseLike<{ type: "file" | "directory" | "other"; size: number } | null>
  readonly listDirectory: (
    options: PathOptions
  ) => PromiseLike<Array<{ name: string; type: "file" | "directory" | "symlink" | "other" }> | null>
  readonly spawn: (options: CommandOptions & { readonly stdin?: boolean }) => PromiseLike<SessionProcess>
  readonly run: (options: CommandOptions) => PromiseLike<{ exitCode: number; stdout: string; stderr: string }>
}

/** A word of a shell's command line. */
export const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`
