/**
 * Works on a stream of inputs, several at a time: never more than `concurrency` of them between the inputs and the
 * reader of the outputs. Gather's streams use it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { at, type Place } from "../../internal/place.ts"
import { placesHere } from "../../internal/runState.ts"
import { isAsleep, sleep } from "../../internal/sleep.ts"
import { interruptAfterRegion } from "../../internal/trueExit.ts"
import type { WaitingMember } from "../../internal/workflowSuspension.ts"
import { type BranchFailure, errorsOf, type Known, ParallelError, suspensionIn } from "./branchGroup.ts"

/** The outcome of one input. */
export type Status = "completed" | "failed" | "interrupted"

export interface Settings {
  /** The runner's name, for errors. */
  readonly name: string
  readonly concurrency: number
  /** Whether a failure is an output, as a `Result`, or ends it all. */
  readonly settles: boolean
  /** Whether outputs come in the order of the inputs, or as they are made. */
  readonly ordered: boolean
  /** Set where a run that waits has not failed. Unset: it has. */
  readonly holding?: Holding | undefined
  /** Called for each input that has ended, with the number that have ended. */
  readonly onItem?: ((index: number, status: Status, done: number) => Effect.Effect<void>) | undefined
}

/** Holds runs that wait in their places, while the others go on alongside them. */
export interface Holding {
  /** What is known of inputs that have ended before the run was suspended, by their index; they are not worked on again. */
  readonly known: ReadonlyMap<string, Known>
  /** Called for each input that ends. */
  readonly onEnd: (key: string, known: Known) => void
  /** Called when nothing can go on without those that wait. The stream is interrupted then. */
  readonly onWaiting: (suspended: readonly [WaitingMember, ...ReadonlyArray<WaitingMember>]) => void
}

/**
 * The outputs of `work` for each of the inputs. An input is pulled only while fewer than `concurrency` are worked on or
 * wait, done, to be read. Memory is bounded, so the input stream may be infinite.
 *
 * When an item fails, everything else is interrupted, and is over before the error is seen. So it is when the inputs
 * fail, unless failures are outputs: then what has begun is finished and read first. So it is when the reader stops.
 */
export const make = <I, A, E, R, E2, R2>(
  inputs: Stream.Stream<I, E2, R2>,
  work: (input: I, key: string) => Effect.Effect<A, E, R>,
  settings: Settings
): Stream.Stream<unknown, ParallelError<E> | E2, R | R2> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const window = new BoundedStream<I, A, E, R, E2>(work, settings, yield* placesHere)
      // Registered before anything is begun, so that it cannot be left running.
      yield* Effect.addFinalizer((exit) => window.close(exit))
      yield* window.begin(inputs)
      return Stream.fromPull(Effect.succeed(window.pull))
    })
  )

class BoundedStream<I, A, E, R, E2> {
  readonly #work: (input: I, key: string) => Effect.Effect<A, E, R>
  readonly #settings: Settings
  readonly #placeOf: ((key: string) => Place) | undefined
  #pulling: Fiber.Fiber<void, E2> | undefined
  readonly #running = new Map<number, Fiber.Fiber<unknown, unknown>>()
  /** Outputs that have not been read, in the order they were made. */
  readonly #ready = new Map<number, unknown>()
  readonly #failures: Array<BranchFailure<E>> = []
  readonly #interrupted: Array<string> = []
  /** How the inputs have ended; our own interruption of them does not count. */
  #inputsExit: Exit.Exit<void, E2> | undefined
  #begun = 0
  #read = 0
  #done: number
  #stopped = false
  /** Whether an item sleeps. It keeps its place, and the others go on alongside it. */
  #isAsleep = false
  /** The items that wait. They keep their places too. */
  readonly #suspended: Array<WaitingMember> = []
  /** Whether the reader has got the failures. */
  #reported = false
  /** Open while an input may be pulled. */
  readonly #room = Latch.makeUnsafe(true)
  /** Opened when something has changed for the reader. */
  readonly #news = Latch.makeUnsafe(false)

  constructor(
    work: (input: I, key: string) => Effect.Effect<A, E, R>,
    settings: Settings,
    placeOf: ((key: string) => Place) | undefined
  ) {
    this.#work = work
    this.#settings = settings
    this.#placeOf = placeOf
    this.#done = settings.holding?.known.size ?? 0
  }

  begin<R2>(inputs: Stream.Stream<I, E2, R2>): Effect.Effect<void, never, R | R2> {
    const pulling = Effect.onExit(
      Stream.runForEach(inputs, (input) => this.#beginItem(input)),
      (exit) => Effect.sync(() => this.#endInputs(exit))
    )
    return Effect.uninterruptible(
      Effect.map(Effect.forkDetach(pulling), (fiber) => {
        this.#pulling = fiber
        fiber.addObserver(() => this.#news.openUnsafe())
      })
    )
  }

  #endInputs(exit: Exit.Exit<void, E2>): void {
    if (this.#stopped) return
    this.#inputsExit = exit
    if (Exit.isFailure(exit) && !this.#settings.settles) this.#interrupt()
  }

  #beginItem(input: I): Effect.Effect<void, never, R> {
    return Effect.suspend(() => {
      if (this.#stopped) return Effect.never
      const index = this.#begun++
      const key = String(index)
      if (this.#begun - this.#read >= this.#settings.concurrency) this.#room.closeUnsafe()
      const known = this.#settings.holding?.known.get(key)
      if (known !== undefined) {
        this.#ready.set(index, known._tag === "output" && !this.#settings.settles ? known.output : resultOf(known))
        this.#news.openUnsafe()
        return this.#room.await
      }
      const item = Effect.withFiber<A, E, R>((fiber) => {
        // The first thing it does, before it can yield: what runs is always known.
        this.#running.set(index, fiber)
        fiber.addObserver(() => {
          this.#running.delete(index)
          this.#news.openUnsafe()
        })
        const work = this.#work(input, key)
        return this.#placeOf === undefined ? work : at(work, this.#placeOf(key))
      })
      return Effect.andThen(
        Effect.forkDetach(
          Effect.onExit(item, (exit) => this.#endItem(index, exit)),
          { startImmediately: true }
        ),
        this.#room.await
      )
    })
  }

  #endItem(index: number, exit: Exit.Exit<A, E>): Effect.Effect<void> {
    return Effect.flatMap(this.#stopped ? Effect.succeed(false) : isAsleep(exit), (asleep) => {
      if (asleep) {
        this.#isAsleep = true
        return Effect.void
      }
      const { holding } = this.#settings
      const suspended = holding === undefined || this.#stopped ? undefined : suspensionIn(exit)
      if (suspended !== undefined) {
        this.#suspended.push({ key: String(index), error: suspended })
        return Effect.void
      }
      holding?.onEnd(String(index), knownOf(exit))
      const status = this.#note(index, exit)
      const reporting = this.#settings.onItem?.(index, status, ++this.#done) ?? Effect.void
      if (this.#stopped) return reporting
      if (status !== "completed" && !this.#settings.settles) {
        this.#stopped = true
        // Alongside the report, which may have to wait for observers of the run, but after it has begun.
        const stopping = Effect.sync(() => this.#interrupt(index))
        return Effect.andThen(Effect.forkDetach(stopping), reporting)
      }
      return Effect.map(reporting, () => {
        this.#ready.set(
          index,
          this.#settings.settles ? resultOf(knownOf(exit)) : Exit.isSuccess(exit) ? exit.value : undefined
        )
      })
    })
  }

  #note(index: number, exit: Exit.Exit<A, E>): Status {
    if (Exit.isSuccess(exit)) return "completed"
    const branch = String(index)
    const interrupted = Cause.hasInterruptsOnly(exit.cause)
    if (interrupted && this.#stopped) this.#interrupted.push(branch)
    else if (this.#stopped || !this.#settings.settles) {
      for (const error of errorsOf(exit.cause)) this.#failures.push({ branch, error })
    }
    return interrupted ? "interrupted" : "failed"
  }

  /** Interrupts everything at once, but for one item that has ended, and waits for nothing. */
  #interrupt(except?: number): void {
    this.#stopped = true
    this.#pulling?.interruptUnsafe()
    for (const [index, fiber] of this.#running) if (index !== except) interruptAfterRegion(fiber)
  }

  /** The next output, as soon as there is one. */
  readonly pull: Pull.Pull<readonly [unknown], ParallelError<E> | E2> = Effect.suspend(() => {
    this.#news.closeUnsafe()
    if (this.#stopped) {
      if (this.#isOver) {
        this.#reported = true
        return Effect.failCause(this.#failure())
      }
    } else {
      const index = this.#settings.ordered ? this.#read : this.#ready.keys().next().value
      if (index !== undefined && this.#ready.has(index)) {
        const output = this.#ready.get(index)
        this.#ready.delete(index)
        this.#read++
        this.#room.openUnsafe()
        return Effect.succeed([output] as const)
      }
      if (this.#inputsExit !== undefined && this.#isOver && !this.#isAsleep) {
        if (Exit.isFailure(this.#inputsExit)) return Effect.failCause(this.#inputsExit.cause)
        if (this.#suspended.length === 0) return Cause.done()
      }
      if (this.#isAsleep && this.#isStill) return sleep
      const [first, ...others] = this.#suspended
      if (first !== undefined && this.#isStill) {
        this.#settings.holding?.onWaiting([first, ...others])
        return Effect.interrupt
      }
    }
    return Effect.andThen(this.#news.await, this.pull)
  })

  /** Whether nothing is under way, and no other item can begin. */
  get #isStill(): boolean {
    const isFull = this.#begun - this.#read >= this.#settings.concurrency
    return this.#running.size === 0 && (isFull || this.#inputsExit !== undefined)
  }

  get #isOver(): boolean {
    return this.#running.size === 0 && this.#pulling?.pollUnsafe() !== undefined
  }

  #failure(): Cause.Cause<ParallelError<E> | E2> {
    const { name } = this.#settings
    const ofItems = Cause.fail(new ParallelError({ name, failures: this.#failures, interrupted: this.#interrupted }))
    if (this.#inputsExit === undefined || Exit.isSuccess(this.#inputsExit)) return ofItems
    const { cause } = this.#inputsExit
    return this.#failures.length === 0 ? cause : Cause.combine<E2 | ParallelError<E>, ParallelError<E>>(cause, ofItems)
  }

  /**
   * Interrupts what is left, and waits for it. What failed meanwhile stands alongside what the reader was stopped by; a reader
   * that has enough does not care.
   */
  close(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#interrupt()
      const left = [...this.#running.values()]
      const over = Fiber.awaitAll(this.#pulling === undefined ? left : [this.#pulling, ...left])
      if (Exit.isSuccess(exit) || this.#reported || this.#settings.settles) return Effect.asVoid(over)
      // Finalizers have no error of their own; the stream has this one.
      return Effect.flatMap(over, () =>
        this.#failures.length === 0 ? Effect.void : Effect.failCause(this.#failure() as Cause.Cause<never>)
      )
    })
  }
}

const knownOf = (exit: Exit.Exit<unknown, unknown>): Known =>
  Exit.isSuccess(exit) ? { _tag: "output", output: exit.value } : { _tag: "failed", errors: errorsOf(exit.cause) }

const resultOf = (known: Known): Result.Result<unknown, unknown> =>
  known._tag === "output" ? Result.succeed(known.output) : Result.fail(known.errors[0])
