/** `troupe worker`: executes durable runs of a file until it is stopped. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Path from "effect/Path"
import * as Durable from "../layers/durable/Durable.ts"
import { badInput, type CliFailure, failed } from "./failure.ts"
import { findOrAbsent } from "./model.ts"
import { runnersOf } from "./module.ts"
import { engineOf } from "./runs.ts"
import { err } from "./terminal.ts"

/** The arguments of the command. */
export interface Input {
  readonly database: Option.Option<string>
  readonly model: Option.Option<string>
  readonly file: string
}

/** Runs the command. */
export const run = (input: Input): Effect.Effect<void, CliFailure, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const found = [...new Set((yield* runnersOf(input.file)).values())].filter(Durable.isDurable)
    if (found.length === 0) {
      return yield* badInput(
        `${input.file} exports no durable runner. Make one: export const orders = Durable.make(desk, { name: "orders", ... })`
      )
    }
    const model = yield* findOrAbsent(input.model)
    const engine = yield* engineOf(input.database, false)
    const names = found.map(({ name }) => name).join(", ")
    const working = Layer.effectDiscard(err(`troupe: executes ${names}. Stop with Ctrl-C\n`)).pipe(
      Layer.provideMerge(Durable.worker(...found)),
      Layer.provide([model, engine])
    )
    yield* Effect.mapError(Layer.launch(working as Layer.Layer<never, unknown>), failed)
  })
