import { Context, Effect, Layer } from "effect"
import { TestModel } from "troupe"
import { suite } from "./model.ts"
import { text } from "./responder.ts"
import { script } from "./scripted.ts"

suite("TestModel", () => Effect.succeed(TestModel.layer(script)), {
  readsTheRequest: true,
  endless: Effect.map(Layer.build(TestModel.layer(() => ({ text, chunk: 3, after: 2, hang: true }))), (built) => ({
    layer: Layer.succeedContext(built),
    // None of them ever answers, so those that were not interrupted are still running.
    running: Effect.map(
      Context.get(built, TestModel.TestModel).calls,
      (calls) => calls.filter((c) => !c.interrupted).length
    )
  }))
})
