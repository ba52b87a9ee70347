/** What a command of the command line writes, and how it ends. */
import { NodeServices } from "@effect/platform-node"
import { Effect, type FileSystem, type Path, type Stdio } from "effect"
import { vi } from "vitest"
import type { CliFailure } from "../../src/cli/failure.ts"

/** Runs a command. `code` is 0, and `message` empty, where it does not fail. */
export const troupe = (
  command: Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path | Stdio.Stdio>
): Effect.Effect<{ readonly code: number; readonly stdout: string; readonly message: string }> =>
  Effect.gen(function* () {
    let stdout = ""
    const write = vi.spyOn(process.stdout, "write").mockImplementation(((text: string, done?: () => void) => {
      stdout += text
      done?.()
      return true
    }) as never)
    const [code, message] = yield* command.pipe(
      Effect.match({ onSuccess: () => [0, ""] as const, onFailure: (error) => [error.code, error.message] as const }),
      Effect.ensuring(Effect.sync(() => write.mockRestore()))
    )
    return { code, stdout, message }
  }).pipe(Effect.provide(NodeServices.layer))
