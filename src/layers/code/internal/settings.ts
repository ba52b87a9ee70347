/** The options of code mode, checked. */
import type * as ByteSize from "effect/ByteSize"
import * as Bytes from "effect/ByteSize"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { assertOptions, countOf, durationOf, inWords, timerOf } from "../../../internal/definition.ts"
import { InvalidDefinition } from "../../../RunError.ts"

/** Limits of a program. */
export interface LimitOptions {
  /** How long a program may take, with its calls, and without the time that approvers take. Default 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** How long it may run without awaiting anything. Default 1 second. */
  readonly turnTimeout?: Duration.Input | undefined
  /** The memory of its values. Default `"32 MiB"`. */
  readonly memory?: ByteSize.Input | undefined
  /** How many calls it may make. Default 256. */
  readonly maxCalls?: number | undefined
  /** How many of its calls are under way at once. Default 16. */
  readonly concurrency?: number | undefined
}

/** The limits, in plain numbers. */
export interface Settings {
  readonly timeout: Duration.Duration
  readonly timeoutText: string
  readonly turnMs: number
  readonly memory: number
  readonly maxCalls: number
  readonly concurrency: number
}

const defaultMemory = Bytes.fromInputUnsafe("32 MiB")
const limits = ["timeout", "turnTimeout", "memory", "maxCalls", "concurrency"]

/** Reads the limits. Throws `InvalidDefinition` for one that is not what it should be. */
export const settingsOf = (options: LimitOptions, others: ReadonlyArray<string> = []): Settings => {
  const subject = "code mode"
  assertOptions(subject, options, new Set([...limits, ...others]))
  const { concurrency = 16, maxCalls = 256, timeout = "30 seconds", turnTimeout = "1 second" } = options
  const refuse = (problem: string, remedy: string) => new InvalidDefinition({ subject, problem, remedy })
  countOf(subject, "concurrency", concurrency)
  countOf(subject, "maxCalls", maxCalls)
  const { memory } = options
  const bytes = memory === undefined ? Option.some(defaultMemory) : Bytes.fromInput(memory)
  if (Option.isNone(bytes) || bytes.value < 1_000_000n || bytes.value > 2_000_000_000n) {
    throw refuse(`memory is ${inWords(memory)}`, 'Use a size from 1 MB to 2 GB, such as "32 MiB"')
  }
  const whole = durationOf(subject, "timeout", timeout)
  return {
    timeout: whole,
    timeoutText: Duration.format(whole),
    turnMs: timerOf(subject, "turnTimeout", turnTimeout),
    memory: Number(bytes.value),
    maxCalls,
    concurrency
  }
}
