/** What every handle of a process of ours has in addition to its own parts: its outputs, and no other file descriptors. */
import * as Effect from "effect/Effect"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type * as PlatformError from "effect/PlatformError"

type Output = Stream.Stream<Uint8Array, PlatformError.PlatformError>

/** These parts of a handle. A process ends with its scope, also when nothing else keeps this one alive. */
export const outputs = (stdout: Output, stderr: Output) => ({
  stdout,
  stderr,
  all: Stream.merge(stdout, stderr),
  getInputFd: () => Sink.drain,
  getOutputFd: () => Stream.empty,
  unref: Effect.succeed(Effect.void)
})
