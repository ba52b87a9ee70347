/** Gathers, as types. Checked by the compiler; it runs nothing. */
import { Context, Effect, type Exit, type Option, type Result, Schema, type Scope, Stream } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, Chain, Gather, Parallel, Runner } from "troupe"
import { type Equal, proven } from "../support/typeEquality.ts"

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}) {}
class Db extends Context.Service<Db, { readonly rows: Stream.Stream<string, NotFound> }>()("test/Db") {}
const writer = Agent.make("writer", { instructions: "You write." })
const count = Runner.make("count", { run: (text: string) => Effect.succeed(text.length) })
const failing = Runner.make("failing", { run: (_text: string) => Effect.fail("no" as const) })
const half = Runner.make("half", { run: (n: number) => Effect.as(Db, n / 2) })

const all = Gather.broadcast("all", [writer, count, failing])
proven<Equal<Runner.Output<typeof all>, readonly [string, number, never]>>()
proven<Equal<Runner.Error<typeof all>, Parallel.ParallelError<Agent.Error | "no"> | Runner.Waiting<Agent.Error>>>()
proven<Equal<Runner.Services<typeof all>, LanguageModel.LanguageModel>>()
all.run("a text")
// @ts-expect-error they take texts
all.run(3)
const settled = Gather.broadcast("settled", [count, failing], { mode: Parallel.settle })
proven<
  Equal<
    Runner.Output<typeof settled>,
    readonly [Result.Result<number, Parallel.BranchDefect>, Result.Result<never, "no" | Parallel.BranchDefect>]
  >
>()
proven<Equal<Runner.Error<typeof settled>, never>>()
const won = Gather.broadcast("won", [count, writer], { mode: Parallel.race })
proven<Equal<Runner.Output<typeof won>, number | string>>()
const voted = Gather.broadcast("voted", [count, writer, failing], { mode: Parallel.quorum(2) })
proven<Equal<Runner.Output<typeof voted>, ReadonlyArray<number | string>>>()
const some: ReadonlyArray<typeof count> = [count]
const many = Gather.broadcast("many", some)
proven<Equal<Runner.Output<typeof many>, ReadonlyArray<number>>>()

const scattered = Gather.scatter("scattered", [writer, half, failing])
proven<Equal<Runner.Output<typeof scattered>, readonly [string, number, never]>>()
proven<
  Equal<
    Runner.Error<typeof scattered>,
    Parallel.ParallelError<Agent.Error | "no"> | Gather.WrongNumberOfInputs | Runner.Waiting<Agent.Error>
  >
>()
proven<Equal<Runner.Services<typeof scattered>, LanguageModel.LanguageModel | Db>>()
scattered.run(["a text", 3, "another"])
// @ts-expect-error the second takes a number
scattered.run(["a text", "3", "another"])
// @ts-expect-error there are three
scattered.run(["a text", 3])
const scatteredAll = Gather.scatter("scatteredAll", [half], { mode: Parallel.settle })
proven<Equal<Runner.Error<typeof scatteredAll>, Gather.WrongNumberOfInputs>>()

const mapped = Gather.map("mapped", half)
mapped satisfies Runner.Runner<Iterable<number>, ReadonlyArray<number>, Parallel.ParallelError<never>, Db>
proven<Equal<Runner.Input<typeof mapped>, Iterable<number>>>()
proven<Equal<Runner.Output<typeof mapped>, ReadonlyArray<number>>>()
proven<Equal<Runner.Error<typeof mapped>, Parallel.ParallelError<never>>>()
proven<Equal<Runner.Services<typeof mapped>, Db>>()
// @ts-expect-error it takes numbers
mapped.run(["a text"])
const mappedAll = Gather.map("mappedAll", failing, { mode: Parallel.settle })
proven<Equal<Runner.Output<typeof mappedAll>, ReadonlyArray<Result.Result<never, "no" | Parallel.BranchDefect>>>>()
proven<Equal<Runner.Error<typeof mappedAll>, never>>()
const mappedRace = Gather.map("mappedRace", count, { mode: Parallel.race })
proven<Equal<Runner.Output<typeof mappedRace>, number>>()
proven<Equal<Runner.Error<typeof mappedRace>, Parallel.ParallelError<never> | Gather.WrongNumberOfInputs>>()
const mappedVote = Gather.map("mappedVote", count, { mode: Parallel.quorum(3) })
proven<Equal<Runner.Output<typeof mappedVote>, ReadonlyArray<number>>>()
Chain.make("chain", [
  (text: string) => Effect.succeed(text.split("\n")),
  Gather.map("each", count),
  Gather.map("halves", half)
]) satisfies Runner.Runner<string, ReadonlyArray<number>, Parallel.ParallelError<never>, Db>

declare const rows: Stream.Stream<string, NotFound, Db>
const outputs = Gather.stream(failing, rows)
proven<Equal<typeof outputs, Stream.Stream<never, Parallel.ParallelError<"no"> | NotFound, Db>>>()
const results = Gather.stream(failing, rows, { mode: Parallel.settle, ordered: false, concurrency: 2 })
proven<Equal<typeof results, Stream.Stream<Result.Result<never, "no" | Parallel.BranchDefect>, NotFound, Db>>>()
// @ts-expect-error votes cannot be counted over inputs that may never end
Gather.stream(count, rows, { mode: Parallel.race })
// @ts-expect-error the memory would have no bound
Gather.stream(count, rows, { concurrency: "unbounded" })
// @ts-expect-error it takes texts
Gather.stream(count, Stream.make(1))

const each = Gather.mapStream("each", count, {
  inputs: (_table: string) => rows,
  into: Stream.runForEach((n) => (n.toFixed() === "" ? Effect.fail("bad" as const) : Effect.void))
})
proven<Equal<Runner.Input<typeof each>, string>>()
proven<Equal<Runner.Output<typeof each>, void>>()
proven<Equal<Runner.Error<typeof each>, Parallel.ParallelError<never> | NotFound | "bad">>()
proven<Equal<Runner.Services<typeof each>, Db>>()
const collected = Gather.mapStream("collected", failing, {
  inputs: (texts: Stream.Stream<string>) => texts,
  into: Stream.runCollect,
  mode: Parallel.settle
})
proven<Equal<Runner.Input<typeof collected>, Stream.Stream<string>>>()
proven<Equal<Runner.Output<typeof collected>, Array<Result.Result<never, "no" | Parallel.BranchDefect>>>>()
proven<Equal<Runner.Error<typeof collected>, never>>()
const total = Gather.mapStream("total", half, {
  inputs: (ns: ReadonlyArray<number>) => Stream.fromIterable(ns),
  into: (halves) =>
    Stream.runFold(
      halves,
      () => 0,
      (sum, n) => sum + n
    )
})
proven<Equal<Runner.Output<typeof total>, number>>()
const written = Gather.mapStream("written", writer, {
  inputs: (texts: ReadonlyArray<string>) => Stream.fromIterable(texts),
  into: Stream.runCollect,
  mode: Parallel.settle,
  keep: 100
})
proven<Equal<Runner.Error<typeof written>, Runner.Waiting<Agent.Error>>>()
Gather.mapStream("wrong", count, {
  // @ts-expect-error it takes texts
  inputs: (ns: Stream.Stream<number>) => ns,
  into: Stream.runDrain
})

const spawned = Gather.spawn(half, 3)
proven<Equal<typeof spawned, Effect.Effect<Gather.Handle<number, never>, never, Db | Scope.Scope>>>()
declare const handle: Gather.Handle<number, "no">
proven<Equal<typeof handle.await, Effect.Effect<number, "no">>>()
proven<Equal<typeof handle.poll, Effect.Effect<Option.Option<Exit.Exit<number, "no">>>>>()
proven<Equal<typeof handle.interrupt, Effect.Effect<void>>>()
// @ts-expect-error it takes a number
Gather.spawn(half, "3")
