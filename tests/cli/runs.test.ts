/** What `troupe runs` prints of kept runs. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Durable, Runner } from "troupe"
import { afterAll, vi } from "vitest"
import { list, show } from "../../src/cli/runs.ts"

const folder = mkdtempSync(join(tmpdir(), "troupe-runs-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it.live("shows keys without characters that change a terminal", () =>
  Effect.gen(function* () {
    const filename = join(folder, "runs.db")
    const runner = Runner.make("greet", { run: (name: string) => Effect.succeed(name) })
    const greet = Durable.make(runner, { name: "greet", version: "1", key: (name: string) => name })
    const key = "a\u001b[2Jb\u202ec\nd"
    yield* Durable.submit(greet, key).pipe(Effect.provide(Durable.layerSqlite({ filename })))
    const written: Array<string> = []
    const write = vi.spyOn(process.stdout, "write").mockImplementation((...args: ReadonlyArray<unknown>) => {
      written.push(String(args[0]))
      ;(args.at(-1) as () => void)()
      return true
    })
    const database = Option.some(filename)
    yield* list({ database, name: Option.none(), status: Option.none(), limit: 5, json: false }).pipe(
      Effect.andThen(show({ database, name: "greet", key, json: false })),
      Effect.ensuring(Effect.sync(() => write.mockRestore()))
    )
    const text = written.join("")
    assert.include(text, "abc d")
    // eslint-disable-next-line no-control-regex
    assert.notMatch(text, /[\u001b\u202e]/)
  })
)
