import { Effect } from "effect"
import { TestModel } from "troupe"
import { type Scenario, script, suite } from "./model.ts"

const turns: Record<Scenario, string | TestModel.Turn> = {
  text: { text: script.text, chunk: 7 },
  tool: TestModel.toolCall(script.tool.name, script.tool.params),
  tools: TestModel.toolCall(script.tool.name, script.tool.params),
  "after a tool": "It is 42.",
  object: TestModel.json(script.object)
}

suite("TestModel", (scenario) => Effect.succeed(TestModel.layer(() => turns[scenario])))
