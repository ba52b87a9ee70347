/** Draws the structure of a runner, and the course of a run, as a Mermaid flowchart. */
import { isTerminal, type RunEvent } from "../RunEvent.ts"
import { type Drawable, handoffsOf, type Member, type Structure } from "./structure.ts"

/** Where edges come in and go out. */
interface Drawn {
  readonly entry: string
  readonly exits: ReadonlyArray<string>
}

/** The outcomes of the runs at one path. */
interface Seen {
  runs: number
  ms: number
  failed: number
  interrupted: number
  waiting: number
  open: number
}

/** The picture; with `events` of a run, the path taken, timings and failures too. */
export const draw = (runner: Drawable, events?: Iterable<RunEvent>): string => new Picture(events).draw(runner)

/** Runners that are nested deeper are drawn without their members: no picture could show them, and drawing is recursive. */
const maxLevels = 100

const arrow = "-->"
const taken = "==>"
const dotted = "-.->"
const statuses = ["completed", "failed", "interrupted", "waiting", "running", "unused"] as const

class Picture {
  readonly #lines: Array<string> = []
  readonly #classes = new Map<string, string>()
  readonly #seen: ReadonlyMap<string, Seen> | undefined
  /** The handoffs that happened, by the path of the workflow and both names. */
  readonly #handed = new Set<string>()
  /** What tools that are not runners did, by agent and tool. */
  readonly #tools = new Map<string, Seen>()
  #count = 0
  #depth = 1

  constructor(events: Iterable<RunEvent> | undefined) {
    this.#seen = events === undefined ? undefined : this.#read(events)
  }

  draw(runner: Drawable): string {
    this.#runner(runner, [runner.name])
    const used = statuses.filter((status) => [...this.#classes.values()].includes(status))
    return [
      "flowchart TD",
      ...this.#lines,
      ...used.map((status) => `  ${styles[status]}`),
      ...[...this.#classes].map(([id, status]) => `  class ${id} ${status}`)
    ].join("\n")
  }

  // -- what happened ----------------------------------------------------------------------------------------------

  #read(events: Iterable<RunEvent>): ReadonlyMap<string, Seen> {
    const seen = new Map<string, Seen>()
    for (const event of events) {
      if (event._tag === "RunStarted") at(seen, event.path).open++
      else if (isTerminal(event)) {
        const one = at(seen, event.path)
        one.open--
        one.runs++
        one.ms += event.durationMs
        if (event._tag === "RunFailed") one.failed++
        if (event._tag === "RunInterrupted") one.interrupted++
        if (event._tag === "RunSuspended") one.waiting++
      } else if (event._tag === "ToolCompleted" || event._tag === "ToolFailed") {
        const one = at(this.#tools, [...event.path, event.tool])
        one.runs++
        one.ms += event.durationMs
        if (event._tag === "ToolFailed") one.failed++
      } else if (event._tag === "HandedOff") this.#handed.add(key([...event.path, event.from, event.to]))
    }
    return seen
  }

  #mark(id: string, seen: Seen | undefined): string {
    if (this.#seen === undefined) return ""
    if (seen === undefined) {
      this.#classes.set(id, "unused")
      return ""
    }
    const { ms, open, runs } = seen
    const ends = (["failed", "interrupted", "waiting"] as const).filter((end) => seen[end] > 0)
    this.#classes.set(id, open > 0 ? "running" : (ends[0] ?? "completed"))
    const facts = [
      ...(runs > 1 ? [`${runs} times`] : []),
      duration(ms),
      ...ends.map((end) => (runs > 1 ? `${seen[end]} ${end}` : end)),
      ...(open > 0 ? ["running"] : [])
    ]
    return `<br/><small>${facts.join(", ")}</small>`
  }

  #ran(path: ReadonlyArray<string>): boolean {
    return this.#seen?.has(key(path)) === true
  }

  // -- lines ------------------------------------------------------------------------------------------------------

  #id(): string {
    return `n${this.#count++}`
  }

  #line(text: string): void {
    this.#lines.push(`${"  ".repeat(this.#depth)}${text}`)
  }

  #node(label: string, shape: readonly [string, string], seen?: Seen, marked = true): string {
    const id = this.#id()
    const facts = marked ? this.#mark(id, seen) : ""
    this.#line(`${id}${shape[0]}"${escape(label)}${facts}"${shape[1]}`)
    return id
  }

  #edge(from: string, to: string, link = arrow, label = ""): void {
    this.#line(`${from} ${link}${label === "" ? "" : `|"${escape(label)}"|`} ${to}`)
  }

  #box(label: string, seen: Seen | undefined, content: () => Drawn): Drawn {
    const id = this.#id()
    this.#line(`subgraph ${id}["${escape(label)}${this.#mark(id, seen)}"]`)
    this.#depth++
    const drawn = content()
    this.#depth--
    this.#line("end")
    return drawn
  }

  // -- runners ----------------------------------------------------------------------------------------------------

  #runner(runner: Drawable, path: ReadonlyArray<string>): Drawn {
    const name = path.at(-1)!
    if (path.length > maxLevels) return one(this.#node(`${name} ...`, shapes.function, undefined, false))
    const structure = runner.definition.structure()
    const seen = this.#seen?.get(key(path))
    if (structure.kind === "function" || structure.kind === "event") {
      return one(this.#node(name, shapes.function, seen))
    }
    if (structure.kind === "agent" || structure.kind === "orchestrator") return this.#agent(name, structure, path, seen)
    const note = structure.note === undefined ? "" : ` (${structure.note})`
    return this.#box(`${name}: ${structure.kind}${note}`, seen, () => this.#members(structure, path))
  }

  #member({ name, runner }: Member, path: ReadonlyArray<string>): Drawn {
    if (runner !== undefined) return this.#runner(runner, [...path, name])
    return one(this.#node(name, shapes.function, undefined, false))
  }

  #agent(name: string, structure: Structure, path: ReadonlyArray<string>, seen: Seen | undefined): Drawn {
    const id = this.#node(name, shapes.agent, seen)
    for (const member of structure.members) {
      if (member.runner === undefined) {
        const used = this.#tools.get(key([...path, member.name]))
        this.#edge(id, this.#node(member.name, shapes.tool, used), dotted)
      } else {
        // In paths, a runner used as a tool has its own name and not the tool's.
        const inner = [...path, member.runner.name]
        this.#edge(id, this.#runner(member.runner, inner).entry, dotted, member.role === "tool" ? "" : member.role)
      }
    }
    return one(id)
  }

  #members(structure: Structure, path: ReadonlyArray<string>): Drawn {
    switch (structure.kind) {
      case "chain":
        return this.#sequence(structure.members, path)
      case "evaluator-optimizer":
        return this.#loop(structure.members, path, "revise")
      case "conversation":
        return this.#loop(structure.members, path, "answer")
      case "plan-execute-evaluate":
        return this.#planned(structure.members, path)
      case "fallback":
        return this.#fallback(structure.members, path)
      case "team":
        return this.#team(structure.members, path)
      case "handoffs":
        return this.#peers(structure, path)
      default:
        return this.#fork(structure, path)
    }
  }

  #sequence(members: ReadonlyArray<Member>, path: ReadonlyArray<string>): Drawn {
    let first: string | undefined
    let exits: ReadonlyArray<string> = []
    for (const member of members) {
      const drawn =
        member.role === "gate"
          ? one(this.#node(member.name, shapes.choice, undefined, false))
          : this.#member(member, path)
      for (const exit of exits) this.#edge(exit, drawn.entry)
      first ??= drawn.entry
      exits = drawn.exits
    }
    return { entry: first!, exits }
  }

  #fork(structure: Structure, path: ReadonlyArray<string>): Drawn {
    const combine = structure.members.find((member) => member.role === "combine")
    const branches = structure.members.filter((member) => member !== combine)
    const chooses = structure.kind === "router"
    const start = this.#node(chooses ? "?" : "start", chooses ? shapes.choice : shapes.point, undefined, false)
    const exits = branches.flatMap((member) => {
      const drawn = this.#member(member, path)
      this.#edge(start, drawn.entry, this.#ran([...path, member.name]) ? taken : arrow)
      return drawn.exits
    })
    if (combine === undefined) return { entry: start, exits }
    const last = this.#member(combine, path)
    for (const exit of exits) this.#edge(exit, last.entry)
    return { entry: start, exits: last.exits }
  }

  #loop(members: ReadonlyArray<Member>, path: ReadonlyArray<string>, again: string): Drawn {
    const drawn = this.#sequence(members, path)
    for (const exit of drawn.exits) this.#edge(exit, drawn.entry, dotted, again)
    return drawn
  }

  #fallback(members: ReadonlyArray<Member>, path: ReadonlyArray<string>): Drawn {
    const drawn = members.map((member) => this.#member(member, path))
    const [first, second] = drawn as [Drawn, Drawn]
    const link = this.#ran([...path, members[1]!.name]) ? taken : dotted
    for (const exit of first.exits) this.#edge(exit, second.entry, link, "on failure")
    return { entry: first.entry, exits: drawn.flatMap(({ exits }) => exits) }
  }

  /** The leader gives tasks to the members, and gets their results. */
  #team([leader, ...members]: ReadonlyArray<Member>, path: ReadonlyArray<string>): Drawn {
    const drawn = this.#member(leader!, path)
    for (const member of members) {
      const { entry } = this.#member(member, path)
      this.#edge(drawn.entry, entry, this.#ran([...path, member.name]) ? taken : dotted, "tasks")
    }
    return drawn
  }

  #planned(members: ReadonlyArray<Member>, path: ReadonlyArray<string>): Drawn {
    const of = (...roles: ReadonlyArray<string>) => members.filter((member) => roles.includes(member.role ?? "worker"))
    const stages = [of("planner"), of("worker", "executor"), of("evaluator"), of("combine")].filter(
      (stage) => stage.length > 0
    )
    let entry: string | undefined
    let exits: ReadonlyArray<string> = []
    for (const stage of stages) {
      const before = exits
      exits = stage.flatMap((member) => {
        const drawn = this.#member(member, path)
        entry ??= drawn.entry
        for (const exit of before) this.#edge(exit, drawn.entry, this.#ran([...path, member.name]) ? taken : arrow)
        if (member.role === "evaluator" && entry !== drawn.entry)
          this.#edge(drawn.exits[0]!, entry, dotted, "plan again")
        return drawn.exits
      })
    }
    return { entry: entry!, exits }
  }

  /** Each can hand the work over to those that it has a tool of `Handoffs.to` for. */
  #peers(structure: Structure, path: ReadonlyArray<string>): Drawn {
    const drawn = new Map(structure.members.map((member) => [member.name, this.#member(member, path)]))
    for (const { from, to } of handoffsOf(structure)) {
      const link = this.#handed.has(key([...path, from, to])) ? taken : dotted
      this.#edge(drawn.get(from)!.exits[0]!, drawn.get(to)!.entry, link, "hands off")
    }
    return { entry: [...drawn.values()][0]!.entry, exits: [...drawn.values()].flatMap(({ exits }) => exits) }
  }
}

const shapes = {
  agent: ["[", "]"],
  function: ["[/", "/]"],
  tool: ["([", "])"],
  choice: ["{", "}"],
  point: ["((", "))"]
} as const

const styles = {
  completed: "classDef completed stroke:#2a7,stroke-width:2px",
  failed: "classDef failed stroke:#c33,stroke-width:3px",
  interrupted: "classDef interrupted stroke:#c80,stroke-width:2px,stroke-dasharray:6 3",
  waiting: "classDef waiting stroke:#86c,stroke-width:2px,stroke-dasharray:2 3",
  running: "classDef running stroke:#27c,stroke-width:2px",
  unused: "classDef unused opacity:0.5"
} as const

const one = (id: string): Drawn => ({ entry: id, exits: [id] })

const key = (path: ReadonlyArray<string>): string => JSON.stringify(path)

const at = (seen: Map<string, Seen>, path: ReadonlyArray<string>): Seen => {
  const found = seen.get(key(path)) ?? { runs: 0, ms: 0, failed: 0, interrupted: 0, waiting: 0, open: 0 }
  seen.set(key(path), found)
  return found
}

const duration = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`)

/** Names are arbitrary text: quotes, brackets and line ends would break the picture, and tags would be markup. */
const escape = (text: string): string =>
  text
    .replace(/[#&"<>`\\]/g, (char) => `#${char.codePointAt(0)};`)
    .replace(/\s+/g, " ")
    .trim()
