/** A server that is killed in the middle of a stream, and another that goes on with its run. */
import { type ChildProcess, fork } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as RunEvent from "troupe/RunEvent"
import { raw, sentIn, until } from "../../support/agentServer.ts"
import { temporaryFile } from "../../support/durable.ts"
import { bundled } from "./fleet.ts"

/** A server in a process of its own, and where it listens. */
const serving = (program: string, engine: string, ledger: string) =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<{ readonly child: ChildProcess; readonly url: URL }>((resolve, reject) => {
          const child = fork(program, { env: { ...process.env, ENGINE: engine, LEDGER: ledger }, execArgv: [] })
          child.on("error", reject)
          child.on("message", (url) => resolve({ child, url: new URL(String(url)) }))
        })
    ),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

it.live("a client that comes back to another server gets the rest of its stream, and one result", () =>
  Effect.gen(function* () {
    const file = yield* temporaryFile
    const folder = join(file, "..")
    const ledger = join(folder, "ledger")
    const program = bundled("server", folder)
    const first = yield* serving(program, file, ledger)
    const before = raw(first.url, "/runners/desk/stream", { input: "Go", detached: true })
    yield* until(() => before.text().includes("word5"))
    first.child.kill("SIGKILL")
    yield* until(before.isBroken)
    // The last block may be torn.
    const seen = sentIn(before.text().slice(0, before.text().lastIndexOf("\n\n") + 2))

    const second = yield* serving(program, file, ledger)
    const headers = { "last-event-id": seen.at(-1)!.id! }
    const after = raw(second.url, "/runners/desk/stream", undefined, { headers })
    yield* until(after.isEnded, "the end of the stream", 20_000)
    const all = [...seen, ...sentIn(after.text())].map(({ data }) => JSON.parse(data) as RunEvent.Client)
    // The text that was under way is streamed again, and says from where on the earlier one is void.
    let text: ReadonlyArray<{ readonly seq: number; readonly delta: string }> = []
    for (const event of all) {
      if (event._tag === "Discarded") text = text.filter(({ seq }) => seq < event.discardFrom)
      else if (event._tag === "Text") text = [...text, event]
    }
    const whole = Array.from({ length: 30 }, (_, index) => `word${index} `).join("")
    expect(text.map(({ delta }) => delta).join("")).toBe(whole)
    const seqs = all.map(({ seq }) => seq)
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b))
    expect(new Set(seqs).size).toBe(seqs.length)
    const ends = all.filter(({ _tag }) => _tag === "Completed")
    expect(ends).toEqual([all.at(-1)])
    expect(all.filter((event) => event._tag === "Tool" && event.state === "completed").length).toBe(1)
    // What was committed was not made again: the first answer of the model, and the tool call.
    const done = readFileSync(ledger, "utf8").trim().split("\n")
    expect(done).toEqual(["first request", "charge", "second request", "second request"])
    const last = { "last-event-id": sentIn(after.text()).at(-1)!.id! }
    const again = raw(second.url, "/runners/desk/stream", undefined, { headers: last })
    yield* until(again.isEnded)
    expect(again.status()).toBe(204)
  }).pipe(Effect.scoped)
)
