/** Tools that `WorkerTool.fromModule` runs in worker threads. Each export is one tool or one plain function. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as AgentTool from "../../../src/AgentTool.ts"
import * as Runner from "../../../src/Runner.ts"
import type * as WorkerTool from "../../../src/layers/worker/WorkerTool.ts"

const File = Schema.Struct({ file: Schema.String })

/** Shows that it goes on by letting a file grow. */
const beat = (file: string) => fs.appendFileSync(file, ".")

export default AgentTool.fromFunction("double", {
  description: "Doubles a number",
  parameters: Schema.Struct({ n: Schema.Finite }),
  success: Schema.Finite,
  execute: ({ n }) => n * 2
})

export const misfit = AgentTool.fromFunction("misfit", {
  description: "Gives what it should not",
  success: Schema.Struct({ n: Schema.Finite.check(Schema.isGreaterThan(1)) }),
  execute: () => ({ n: 1 })
})

export const later = AgentTool.fromFunction("later", {
  description: "Answers in a while",
  parameters: Schema.Struct({ at: Schema.Date }),
  success: Schema.Struct({ next: Schema.Date }),
  execute: async ({ at }) => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    return { next: new Date(at.getTime() + 1000) }
  }
})

export const generator = AgentTool.fromFunction("generator", {
  description: "Works in steps, and tells of them",
  execute: function* (_, context) {
    yield* context.progress("one")
    yield* context.progress("two")
    const run = yield* Runner.current
    const { conversationId, idempotencyKey, path, rootId, runId, step, toolCallId } = context
    const same = Option.isSome(run) && run.value.runId === runId
    return { conversationId, idempotencyKey, path, rootId, runId, same, step, toolCallId }
  }
})

export const endless = AgentTool.fromFunction("endless", {
  description: "Never ends",
  parameters: File,
  execute: ({ file }) => {
    while (true) beat(file)
  }
})

export const deaf = async ({ file }: { readonly file: string }) => {
  while (true) {
    beat(file)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

export const heeding = ({ file }: { readonly file: string }, { signal }: WorkerTool.ModuleContext) =>
  new Promise<string>((resolve) => {
    beat(file)
    signal.addEventListener("abort", () => {
      fs.writeFileSync(file, `aborted: ${signal.aborted}`)
      resolve("stopped")
    })
  })

export const cleaning = AgentTool.fromFunction("cleaning", {
  description: "Cleans up behind itself",
  parameters: File,
  execute: ({ file }) =>
    Effect.andThen(
      Effect.sync(() => beat(file)),
      Effect.never
    ).pipe(Effect.onInterrupt(() => Effect.sync(() => fs.writeFileSync(file, "clean"))))
})

/** Leaves something running behind. */
export const lingers = ({ file }: { readonly file: string }) => {
  setInterval(() => beat(file), 5)
}

export const exits = () => process.exit(3)

export const greedy = () => {
  const kept: Array<Array<number>> = []
  while (true) kept.push(Array.from({ length: 100_000 }, (_, n) => n * 1.5))
}

export const uncaught = () =>
  new Promise(() => {
    setTimeout(() => {
      throw new Error("an error without a handler")
    }, 1)
  })

class NotThere extends Schema.TaggedError<NotThere>()("NotThere", { what: Schema.String }) {
  override get message(): string {
    return `${this.what} is not there`
  }
}
export const fails = AgentTool.fromFunction("fails", {
  description: "Fails with a typed error",
  execute: () => Effect.fail(new NotThere({ what: "the file" }))
})

export const guarded = AgentTool.fromFunction("guarded", {
  description: "Has to be approved",
  needsApproval: true,
  hints: { readOnly: true },
  timeout: "5 seconds",
  execute: () => 1
})

export const throwing = () => {
  throw new RangeError("too far")
}

/** Blocks its thread for a while, then says which thread it was. */
export const block = ({ ms }: { readonly ms: number }) => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  calls++
  return { calls }
}
let calls = 0

export const wrong = () => ({ not: "a number" })
export const strange = () => ({ big: 1n, none: undefined, at: new Date(0) })
export const circular = () => {
  const one: { self?: unknown } = {}
  one.self = one
  return one
}
export const effectful = () => Effect.succeed(1)
export const nothing = 1
