/**
 * Sessions of which every process takes a turn, both at about the same time, while the processes are killed at random; and what
 * is left of them.
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, type Layer } from "effect"
import { build } from "esbuild"
import { SessionStore, Transcript } from "troupe"

/** How hard it is. */
export interface Plan {
  /** What the processes open: a SQLite file, or the address of a PostgreSQL database. */
  readonly database: string
  /** Where the log of the tool and the program of the processes are written. */
  readonly folder: string
  readonly sessions: number
  readonly processes: number
  /** Turns at once in each process. */
  readonly concurrency: number
  /** How many turns a process takes before it is killed, on the average. */
  readonly killAfter: number
}

/** What is left. */
export interface Report {
  readonly kills: number
  readonly seconds: number
  /** Turns whose process reported that they were kept, and turns that are in the store. */
  readonly reported: number
  readonly kept: number
  /** Calls of the tool, those of turns that were killed before they were kept included. */
  readonly calls: number
  /** Sessions that have a turn. */
  readonly sessions: number
  /** Turns that were refused because their process was stopped for longer than its lease; they were taken again. */
  readonly refused: number
  /** Reported and not there; there twice; in another session, or out of order. */
  readonly lost: ReadonlyArray<string>
  readonly doubled: ReadonlyArray<string>
  readonly mixed: ReadonlyArray<string>
  /** Turns in the store whose tool was not called exactly once. */
  readonly tools: ReadonlyArray<string>
}

/** The program as one file: it is started many times, and most of a start from sources is reading a thousand files. */
const bundle = async (folder: string): Promise<string> => {
  const outfile = path.join(folder, "main.mjs")
  await build({
    entryPoints: [path.join(import.meta.dirname, "sessionKillMain.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    conditions: ["troupe-source"],
    external: ["pg-native"],
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);'
    },
    logLevel: "error"
  })
  return outfile
}

interface Program {
  readonly main: string
  readonly log: string
}

/** What a process has to do, and what became of it. */
interface Work {
  readonly name: string
  readonly left: Array<string>
  readonly under: Array<string>
  readonly reported: Array<string>
  refused: number
  kills: number
}

/** Runs the plan; `store` is what is left in the database. */
export const killing = async (plan: Plan, store: Layer.Layer<SessionStore.SessionStore, unknown>): Promise<Report> => {
  const program: Program = { main: await bundle(plan.folder), log: path.join(plan.folder, "tools.log") }
  fs.writeFileSync(program.log, "")
  const start = performance.now()
  const works = Array.from({ length: plan.processes }, (_, i): Work => {
    const left = Array.from({ length: plan.sessions }, (_, i) => `s${i}`)
    return { name: `p${i}`, left, under: [], reported: [], refused: 0, kills: 0 }
  })
  await Promise.all(works.map((work) => untilDone(plan, program, work)))
  const sum = (of: (work: Work) => number) => works.reduce((all, work) => all + of(work), 0)
  const reported = works.flatMap((work) => work.reported)
  const seconds = Math.round((performance.now() - start) / 1000)
  return {
    kills: sum(({ kills }) => kills),
    refused: sum(({ refused }) => refused),
    seconds,
    ...(await Effect.runPromise(Effect.provide(check(program.log, reported), store)))
  }
}

/** Starts the process again until every session has had a turn of it. */
const untilDone = async (plan: Plan, program: Program, work: Work): Promise<void> => {
  while (work.left.length + work.under.length > 0) {
    // What was under way as it was killed is begun again.
    work.left.unshift(...work.under.splice(0))
    const { code, stderr } = await oneLife(plan, program, work)
    if (code !== 0 && code !== null) throw new Error(stderr)
  }
}

const oneLife = (plan: Plan, { log, main }: Program, work: Work) =>
  new Promise<{ readonly code: number | null; readonly stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [main, plan.database, log, work.name], { stdio: ["pipe", "pipe", "pipe"] })
    // What cannot be written any more is begun again by the next one.
    child.stdin.on("error", () => {})
    let stderr = ""
    let timer: NodeJS.Timeout | undefined
    let untilKill = Math.ceil(Math.random() * 2 * plan.killAfter)
    const kill = () => {
      work.kills++
      child.kill("SIGKILL")
    }
    const feed = () => {
      while (work.under.length < plan.concurrency && work.left.length > 0) {
        const id = work.left.shift()!
        work.under.push(id)
        child.stdin.write(`${id}\n`)
      }
      if (work.left.length + work.under.length === 0) child.stdin.end()
    }
    onLines(child, (line) => {
      const [id = "", answer = ""] = line.split(" ")
      work.under.splice(work.under.indexOf(id), 1)
      if (answer === "") work.refused += work.left.push(id) > 0 ? 1 : 0
      else work.reported.push(answer)
      // Not at the moment of a report, which every turn that was killed would then be as far from.
      if (--untilKill === 0) timer = setTimeout(kill, Math.random() * 50)
      feed()
    })
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")))
    child.on("close", (code) => {
      clearTimeout(timer)
      resolve({ code, stderr })
    })
    feed()
  })

const onLines = (child: ChildProcess, take: (line: string) => void): void => {
  let rest = ""
  child.stdout!.on("data", (chunk: Buffer) => {
    const parts = (rest + chunk.toString("utf8")).split("\n")
    rest = parts.pop()!
    for (const line of parts) take(line)
  })
}

/** Counts what is in the store, and what the tool was called with. */
const check = Effect.fnUntraced(function* (log: string, reported: ReadonlyArray<string>) {
  const lines = fs.readFileSync(log, "utf8").trimEnd().split("\n")
  const calls = new Map<string, number>()
  for (const line of lines) calls.set(line, (calls.get(line) ?? 0) + 1)
  const found = new Map<string, number>()
  const mixed: Array<string> = []
  const tools: Array<string> = []
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
    after = page.at(-1)?.id
    if (page.length < 1000) break
  }
  return {
    reported: reported.length,
    kept: [...found.values()].reduce((sum, n) => sum + n, 0),
    calls: lines.length,
    sessions,
    lost: reported.filter((answer) => !found.has(answer)),
    doubled: [...found].filter(([, n]) => n > 1).map(([answer]) => answer),
    mixed,
    tools
  }
})
