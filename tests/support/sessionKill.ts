/** Sessions whose turns are taken by several processes that are killed at random, and what is left of them. */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Layer } from "effect"
import { SessionStore, Sqlite, Transcript } from "troupe"

/** How hard it is. */
export interface Plan {
  readonly folder: string
  readonly sessions: number
  readonly processes: number
  /** Turns at once in each process. */
  readonly concurrency: number
  readonly ms: number
  /** The mean time between two kills. */
  readonly killEvery: number
}

/** What is left. */
export interface Report {
  readonly kills: number
  /** Turns whose process reported that they were kept, and turns that are in the store. */
  readonly reported: number
  readonly kept: number
  readonly sessions: number
  /** Reported and not there; there twice; in another session, or out of order. */
  readonly lost: ReadonlyArray<string>
  readonly doubled: ReadonlyArray<string>
  readonly mixed: ReadonlyArray<string>
  /** Turns in the store whose tool was not called exactly once. */
  readonly tools: ReadonlyArray<string>
}

const main = path.join(import.meta.dirname, "sessionKillMain.ts")

/** Runs the plan. */
export const killing = async (plan: Plan): Promise<Report> => {
  const file = path.join(plan.folder, "sessions.db")
  const log = path.join(plan.folder, "tools.log")
  fs.writeFileSync(log, "")
  const reported: Array<string> = []
  const until = Date.now() + plan.ms
  let kills = 0
  let hasFailed = ""
  const life = async (name: string): Promise<void> => {
    while (Date.now() < until && hasFailed === "") {
      const args = [file, log, name, plan.sessions, plan.concurrency, until - Date.now()].map(String)
      const child = spawn(process.execPath, ["--conditions=troupe-source", main, ...args], {
        stdio: ["ignore", "pipe", "pipe"]
      })
      const said = outputOf(child, reported)
      let timer: NodeJS.Timeout | undefined
      // A busy machine takes long to start a process, which is not to be killed before it has done anything.
      child.stdout.once("data", () => {
        timer = setTimeout(
          () => {
            kills++
            child.kill("SIGKILL")
          },
          plan.killEvery * (0.5 + Math.random())
        )
      })
      const { code, stderr } = await said
      clearTimeout(timer)
      if (code !== 0 && code !== null) hasFailed = stderr
    }
  }
  await Promise.all(Array.from({ length: plan.processes }, (_, i) => life(`p${i}`)))
  if (hasFailed !== "") throw new Error(hasFailed)
  return check(file, log, reported, kills)
}

const outputOf = (child: ChildProcess, lines: Array<string>) =>
  new Promise<{ readonly code: number | null; readonly stderr: string }>((resolve) => {
    let rest = ""
    let stderr = ""
    child.stdout!.on("data", (chunk: Buffer) => {
      const parts = (rest + chunk.toString("utf8")).split("\n")
      rest = parts.pop()!
      lines.push(...parts)
    })
    child.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")))
    child.on("close", (code) => resolve({ code, stderr }))
  })

const check = async (file: string, log: string, reported: ReadonlyArray<string>, kills: number): Promise<Report> => {
  const calls = new Map<string, number>()
  for (const line of fs.readFileSync(log, "utf8").split("\n")) calls.set(line, (calls.get(line) ?? 0) + 1)
  const found = new Map<string, number>()
  const mixed: Array<string> = []
  const tools: Array<string> = []
  const program = Effect.gen(function* () {
    let sessions = 0
    for (let after: string | undefined; ;) {
      const page = yield* SessionStore.list({ limit: 1000, after })
      for (const { id } of page) {
        sessions++
        const turns = Transcript.turns(yield* SessionStore.history(id))
        for (const [index, { answer, toolCalls, user }] of turns.entries()) {
          found.set(answer, (found.get(answer) ?? 0) + 1)
          if (!user.startsWith(`${id}/`) || answer !== `${index + 1}:${user}`) mixed.push(`${id}: ${answer}`)
          if (calls.get(user) !== 1 || toolCalls[0]?.result !== `noted ${user}`) tools.push(user)
        }
      }
      if (page.length < 1000) return sessions
      after = page.at(-1)!.id
    }
  })
  const sessions = await Effect.runPromise(
    program.pipe(Effect.provide(SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: file })))))
  )
  return {
    kills,
    reported: reported.length,
    kept: [...found.values()].reduce((sum, n) => sum + n, 0),
    sessions,
    lost: reported.filter((answer) => !found.has(answer)),
    doubled: [...found].filter(([, n]) => n > 1).map(([answer]) => answer),
    mixed,
    tools
  }
}
