/** `troupe serve`, as far as it comes before it listens. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { run } from "../../src/cli/serve.ts"
import { troupe } from "../support/commandOutput.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const folder = temporaryFolder()

describe("troupe serve", () => {
  it.effect("refuses two runners that would have one name, of which one could not be called", () =>
    Effect.gen(function* () {
      const file = path.join(folder(), "agents.mjs")
      const module = path.join(import.meta.dirname, "../../src/index.ts")
      const make = (name: string) => `Agent.make("${name}", {})`
      const source = `import { Agent } from ${JSON.stringify(module)}
        export default ${make("helper")}
        export const helper = ${make("other")}`
      fs.writeFileSync(file, source)
      const none = Option.none()
      const options = { model: none, port: 0, host: none, playground: false, expose: none, db: none }
      const { code, message } = yield* troupe(run({ file, ...options }))
      assert.strictEqual(code, 2)
      assert.include(message, 'two runners that would be served as "helper"')
    })
  )
})
