/** A run as a page shows it, made of its events as they come. It does no I/O: the same events give the same run. */
import type { ClientEvent, Usage, Waiting } from "./events.ts"
import {
  type Handed,
  isOver,
  pathKey,
  type Seen,
  type Span,
  type SpanKind,
  type SpanStatus,
  tokensOf
} from "./spans.ts"

/** How much of a run is kept. */
export interface Limits {
  /** How many parts. The oldest that are over are dropped. */
  readonly spans: number
  /** Characters of one text. Its end is kept. */
  readonly text: number
  /** Characters of all texts, arguments and results. Those of the oldest parts are dropped. */
  readonly chars: number
}

/** What a page can hold. */
export const defaultLimits: Limits = { spans: 2000, text: 200_000, chars: 8_000_000 }

/** The state of a run. `lost`: its events do not come any more. */
export type RunStatus = "running" | "completed" | "failed" | "interrupted" | "suspended" | "lost"

type Of<Tag extends ClientEvent["_tag"]> = Extract<ClientEvent, { readonly _tag: Tag }>
type End = Of<"Completed" | "Failed" | "Interrupted" | "Suspended">
type Note = Of<"Routed" | "Judged" | "Planned" | "Compacted" | "HandedOff" | "Stopped" | "Item">

/** A run, or one nested in it, while it is under way. */
interface Open {
  readonly span: Span
  /** The text or reasoning that goes on. */
  current: Span | undefined
  /** Where the events of `current` begin in its text. */
  pieces: Array<readonly [seq: number, at: number]>
  readonly tools: Map<string, Span>
}

/** A run, as far as its events have come. */
export class RunModel {
  readonly name: string
  readonly limits: Limits
  /** The id under which the server knows it; `undefined` until it has begun. */
  runId: string | undefined
  status: RunStatus = "running"
  root: Span | undefined
  /** What it waits for, where it is suspended. */
  waitingFor: ReadonlyArray<Waiting> = []
  /** `undefined` without an output. */
  output: unknown
  error: { readonly tag: string; readonly message: string | undefined } | undefined
  /** Why events are missing. */
  problem: string | undefined
  lastSeq = -1
  lastAt = 0
  /** The time at which it is looked at, by the server's clock; `undefined`: as it goes. */
  now: number | undefined
  /** Parts and characters that are not kept. */
  dropped = { spans: 0, chars: 0 }
  /** What became of each path and of each tool, by `pathKey`. */
  readonly seen = new Map<string, Seen>()
  /** The handoffs that happened, by `pathKey` of the workflow and both names. */
  readonly handed = new Map<string, Handed>()
  #usage: Usage | undefined
  #tokens = 0
  #cost: number | undefined
  /** Of all of it, which its end says where every price is known. */
  #whole: number | undefined
  #isPriced = true
  #count = 0
  #next = 0
  #chars = 0
  #most: number
  readonly #open = new Map<string, Open>()
  /** Every part but runs, in the order in which they began. */
  #parts: Array<Span> = []

  constructor(name: string, limits: Limits = defaultLimits) {
    this.name = name
    this.limits = limits
    this.#most = limits.spans * 1.1
  }

  /** Tokens so far; of all nested runs once it has ended. */
  get tokens(): number {
    return this.#usage === undefined ? this.#tokens : tokensOf(this.#usage)
  }

  get usage(): Usage | undefined {
    return this.#usage
  }

  /** US dollars; `undefined` where no price is known. */
  get cost(): number | undefined {
    return this.#whole ?? this.#cost
  }

  /** True where there are model calls whose price is not known, or that the server does not show. */
  get isCostPartial(): boolean {
    if (this.#whole !== undefined) return false
    return !this.#isPriced || (this.#usage !== undefined && tokensOf(this.#usage) > this.#tokens)
  }

  get isOver(): boolean {
    return this.status !== "running"
  }

  /** Takes the next event. One that has come before changes nothing. */
  apply(event: ClientEvent): void {
    if (event.seq <= this.lastSeq) return
    this.lastSeq = event.seq
    this.lastAt = Math.max(this.lastAt, event.at)
    const run = this.#runOf(event)
    switch (event._tag) {
      case "Started":
        return
      case "Text":
        return this.#write(run, "text", event)
      case "Reasoning":
        return this.#write(run, "reasoning", event)
      case "ToolParams": {
        const tool = this.#toolOf(run, event)
        return this.#append(tool, event.delta)
      }
      case "Tool":
        return this.#tool(run, event)
      case "Used":
        return this.#used(run, event)
      case "Discarded":
        return this.#discard(run, event)
      case "Completed":
      case "Failed":
      case "Interrupted":
      case "Suspended":
        return this.#ended(run, event)
      case "Routed":
      case "Judged":
      case "Planned":
      case "Compacted":
      case "HandedOff":
      case "Stopped":
      case "Item":
        return this.#note(run, event)
    }
  }

  /** Says that no further event comes. */
  lose(problem: string): void {
    this.problem = problem
    if (this.isOver) return
    this.status = "lost"
    for (const open of this.#open.values()) this.#close(open, "interrupted", this.lastAt)
  }

  // -- runs -------------------------------------------------------------------------------------------------------

  #runOf(event: ClientEvent): Open {
    const { path } = event
    if (path === undefined || path.length < 2) {
      if (event._tag === "Started") this.runId = event.runId
      return this.#rootRun(event)
    }
    const key = event.runId ?? pathKey(path)
    const known = this.#open.get(key)
    if (known !== undefined) return known
    const own = path.slice(1)
    return this.#begin(key, event, own, this.#parentOf(event, own))
  }

  /** The root; made here where its first events are missing. */
  #rootRun(event: ClientEvent): Open {
    const known = this.#open.get("")
    if (known !== undefined) return known
    const open = this.#begin("", event, [], undefined)
    this.root = open.span
    return open
  }

  #begin(key: string, event: ClientEvent, path: ReadonlyArray<string>, parent: Span | undefined): Open {
    const span = this.#add("run", path.at(-1) ?? this.name, event, { parent, path })
    const open: Open = { span, current: undefined, pieces: [], tools: new Map() }
    this.#open.set(key, open)
    this.#at(path).open++
    return open
  }

  #parentOf(event: ClientEvent, path: ReadonlyArray<string>): Span {
    const root = this.#rootRun(event)
    const named = event._tag === "Started" && event.parentId !== undefined ? this.#open.get(event.parentId) : undefined
    if (named !== undefined) return named.span
    // Without its id: the last one that is under way above it.
    let found = root.span
    for (const { span } of this.#open.values()) {
      const isAbove = span.path.length < path.length && span.path.every((name, index) => name === path[index])
      if (isAbove && !isOver(span) && span.path.length >= found.path.length) found = span
    }
    return found
  }

  #ended(run: Open, event: End): void {
    const status = statusOfEnd(event)
    const { span } = run
    this.#close(run, status, event.at)
    span.tokens = tokensOf(event.usage)
    span.cost = event.cost ?? span.cost
    span.steps = event.steps
    const seen = this.#at(span.path)
    seen.open = Math.max(0, seen.open - 1)
    this.#tally(seen, status, span)
    if (span !== this.root) {
      span.result = event._tag === "Completed" ? event.output : undefined
      if (event._tag === "Failed") span.text = event.message ?? event.error
      this.#grow(span)
      return
    }
    this.status = status
    this.#usage = event.usage
    this.#whole = event.cost
    if (event._tag === "Completed") this.output = event.output
    if (event._tag === "Failed") this.error = { tag: event.error, message: event.message }
    if (event._tag === "Suspended") this.waitingFor = event.waitingFor
  }

  #close(run: Open, status: SpanStatus, at: number): void {
    this.#stop(run, at)
    for (const tool of run.tools.values()) {
      if (isOver(tool)) continue
      this.#endTool(tool, status === "suspended" ? "suspended" : "interrupted", at)
    }
    run.span.status = status
    run.span.end = at
  }

  #tally(seen: Seen, status: SpanStatus, { end, start }: Span): void {
    seen.count++
    seen.ms += Math.max(0, (end ?? start) - start)
    if (status === "failed") seen.failed++
    if (status === "interrupted") seen.interrupted++
    if (status === "suspended") seen.waiting++
  }

  #at(path: ReadonlyArray<string>): Seen {
    const key = pathKey(path)
    const known = this.seen.get(key)
    if (known !== undefined) return known
    const seen = { count: 0, open: 0, failed: 0, interrupted: 0, waiting: 0, ms: 0 }
    // No graph shows more.
    if (this.seen.size < this.limits.spans) this.seen.set(key, seen)
    return seen
  }

  // -- text -------------------------------------------------------------------------------------------------------

  #write(run: Open, kind: "text" | "reasoning", event: Of<"Text" | "Reasoning">): void {
    if (run.current?.kind !== kind) {
      this.#stop(run, event.at)
      run.current = this.#add(kind, kind, event, { parent: run.span, path: run.span.path })
    }
    run.pieces.push([event.seq, run.current.text.length + run.current.cut])
    this.#append(run.current, event.delta)
  }

  /** Ends the text that goes on. */
  #stop(run: Open, at: number): void {
    const { current } = run
    run.current = undefined
    run.pieces = []
    if (current === undefined || isOver(current)) return
    current.end = at
    current.status = "completed"
  }

  #append(span: Span, delta: string): void {
    span.text += delta
    const over = span.text.length - this.limits.text
    // Not with each piece: a long text is copied when it is cut.
    if (over > this.limits.text / 10) {
      span.text = span.text.slice(over)
      span.cut += over
      this.dropped.chars += over
    }
    this.#grow(span)
  }

  /** What came of the run since an event is void. */
  #discard(run: Open, { at, discardFrom }: Of<"Discarded">): void {
    const { current, pieces } = run
    if (current !== undefined && current.seq < discardFrom) {
      const first = pieces.find(([seq]) => seq >= discardFrom)
      if (first !== undefined) current.text = current.text.slice(0, Math.max(0, first[1] - current.cut))
      run.pieces = pieces.filter(([seq]) => seq < discardFrom)
      this.#grow(current)
    } else {
      this.#stop(run, at)
    }
    const voidFrom = (span: Span): void => {
      if (span.seq >= discardFrom && span !== run.span) {
        span.status = "discarded"
        span.end ??= at
        span.text = ""
        this.#grow(span)
      }
      for (const child of span.children) voidFrom(child)
    }
    voidFrom(run.span)
  }

  // -- tools ------------------------------------------------------------------------------------------------------

  #toolOf(run: Open, event: Of<"Tool" | "ToolParams">): Span {
    const known = run.tools.get(event.toolCallId)
    if (known !== undefined && known.status !== "discarded") return known
    this.#stop(run, event.at)
    const own = { parent: run.span, path: run.span.path, toolCallId: event.toolCallId }
    const span = this.#add("tool", event.tool, event, own)
    run.tools.set(event.toolCallId, span)
    this.#at([...span.path, span.label]).open++
    return span
  }

  #tool(run: Open, event: Of<"Tool">): void {
    const span = this.#toolOf(run, event)
    if (event.params !== undefined) span.params = event.params
    if (event.result !== undefined) span.result = event.result
    if (event.params !== undefined || event.result !== undefined) {
      // The whole arguments take the place of their pieces.
      if (event.params !== undefined) span.text = ""
      this.#grow(span)
    }
    switch (event.state) {
      case "called":
        return
      case "waiting":
        span.status = "waiting"
        return
      case "approved":
        span.status = "running"
        return
      case "denied":
        return this.#endTool(span, "denied", event.at)
      case "completed":
      case "failed":
        // What was denied ends as a failure too.
        return this.#endTool(span, span.status === "denied" ? "denied" : event.state, event.at)
    }
  }

  #endTool(span: Span, status: SpanStatus, at: number): void {
    const isFirst = !isOver(span)
    span.status = status
    span.end = at
    if (!isFirst) return
    const seen = this.#at([...span.path, span.label])
    seen.open = Math.max(0, seen.open - 1)
    this.#tally(seen, status, span)
  }

  // -- the rest ---------------------------------------------------------------------------------------------------

  #used(run: Open, event: Of<"Used">): void {
    this.#stop(run, event.at)
    const tokens = tokensOf(event.usage)
    const { span } = run
    span.tokens += tokens
    span.steps++
    this.#tokens += tokens
    if (event.cost === undefined) {
      if (tokens > 0) this.#isPriced = false
      return
    }
    span.cost = (span.cost ?? 0) + event.cost
    this.#cost = (this.#cost ?? 0) + event.cost
  }

  #note(run: Open, event: Note): void {
    if (event._tag === "HandedOff") this.#handedOff(run.span.path, event)
    const own = { parent: run.span, path: run.span.path, isMinor: event._tag === "Item" }
    const span = this.#add("note", labelOf(event), event, own)
    span.end = event.at
    span.status = event._tag === "Item" ? event.status : "completed"
  }

  #handedOff(path: ReadonlyArray<string>, { from, to }: Of<"HandedOff">): void {
    const key = pathKey([...path, from, to])
    const count = (this.handed.get(key)?.count ?? 0) + 1
    if (count > 1 || this.handed.size < this.limits.spans) this.handed.set(key, { path, from, to, count })
  }

  #add(
    kind: SpanKind,
    label: string,
    { at, seq }: ClientEvent,
    own: Pick<Span, "parent" | "path"> & Partial<Pick<Span, "toolCallId" | "isMinor">>
  ): Span {
    const { isMinor = false, parent, path, toolCallId } = own
    const span: Span = {
      key: this.#next++,
      kind,
      parent,
      depth: parent === undefined ? 0 : parent.depth + 1,
      path,
      label,
      isMinor,
      seq,
      start: at,
      end: undefined,
      status: "running",
      text: "",
      cut: 0,
      toolCallId,
      params: undefined,
      result: undefined,
      size: 0,
      tokens: 0,
      cost: undefined,
      steps: 0,
      children: []
    }
    parent?.children.push(span)
    this.#parts.push(span)
    if (++this.#count > this.#most) this.#forget()
    return span
  }

  /** Drops the oldest parts that are over and have nothing below them. */
  #forget(): void {
    const kept: Array<Span> = []
    const dropped = new Set<Span>()
    /** How many children are left of those that lose some. */
    const left = new Map<Span, number>()
    for (const span of this.#parts) {
      const isKept =
        this.#count <= this.limits.spans ||
        !isOver(span) ||
        span.parent === undefined ||
        (left.get(span) ?? span.children.length) > 0
      if (isKept) {
        kept.push(span)
        continue
      }
      this.#count--
      dropped.add(span)
      this.dropped.spans++
      this.#chars -= span.size
      left.set(span.parent, (left.get(span.parent) ?? span.parent.children.length) - 1)
    }
    // Each list once: one run may have all the parts.
    for (const parent of left.keys()) parent.children = parent.children.filter((one) => !dropped.has(one))
    this.#parts = kept
    // What is under way is kept, and is not looked through again for each further part.
    this.#most = Math.max(this.limits.spans, this.#count) * 1.1
    for (const [key, { span, tools }] of this.#open) {
      for (const [id, tool] of tools) if (dropped.has(tool)) tools.delete(id)
      if (span !== this.root && isOver(span) && span.children.length === 0) this.#open.delete(key)
    }
  }

  /** Notes that the contents of a part have changed. */
  #grow(span: Span): void {
    const size = span.text.length + sizeOf(span.params) + sizeOf(span.result)
    this.#chars += size - span.size
    span.size = size
    if (this.#chars <= this.limits.chars) return
    for (const one of this.#parts) {
      if (this.#chars <= this.limits.chars * 0.9) return
      if (!isOver(one) || one.size === 0) continue
      this.dropped.chars += one.size
      this.#chars -= one.size
      one.cut += one.size
      one.size = 0
      one.text = ""
      one.params = undefined
      one.result = undefined
    }
  }
}

const sizes = new WeakMap<object, number>()

/** About how many characters a value takes. */
const sizeOf = (value: unknown): number => {
  if (typeof value === "string") return value.length
  if (typeof value !== "object" || value === null) return 0
  let size = sizes.get(value)
  if (size === undefined) sizes.set(value, (size = JSON.stringify(value).length))
  return size
}

const statusOfEnd = (event: End): "completed" | "failed" | "interrupted" | "suspended" => {
  switch (event._tag) {
    case "Completed":
      return "completed"
    case "Failed":
      return "failed"
    case "Interrupted":
      return "interrupted"
    case "Suspended":
      return "suspended"
  }
}

const labelOf = (event: Note): string => {
  switch (event._tag) {
    case "Routed":
      return `route: ${event.routes.join(", ")}`
    case "Judged":
      return `round ${event.round}: ${event.accepted ? "accepted" : "not accepted"}`
    case "Planned":
      return `plan of round ${event.round}`
    case "Compacted":
      return `conversation made shorter: ${event.before} to ${event.after} tokens (${event.policy})`
    case "HandedOff":
      return `${event.from} hands over to ${event.to}`
    case "Stopped":
      return `stopped at ${event.gate}`
    case "Item":
      return `${event.item}: ${event.status} (${event.done}${event.total === undefined ? "" : ` of ${event.total}`})`
  }
}
