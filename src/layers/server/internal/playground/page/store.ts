/** The state of the page, and what changes it. */
import type { Graph } from "../graph.ts"
import type { PlaygroundInfo } from "../routes.ts"
import { Api, ApiError, type TraceRow } from "./api.ts"
import {
  type Answer,
  type Chat,
  listening,
  maxTurns,
  type RunnerInfo,
  type Sent,
  type Turn,
  wireAnswers,
  wireInput
} from "./model/chat.ts"
import { readEvent } from "./model/events.ts"
import { takesMessages } from "./model/input.ts"
import { Replay } from "./model/replay.ts"
import { RunModel } from "./model/run.ts"
import type { Message } from "./model/sse.ts"

/** Which part of the page is in front where there is room for one. */
export type Panel = "chat" | "timeline" | "graph"

/** A run that was kept, as it is looked at. */
export interface Trace {
  readonly row: TraceRow
  /** The run, and those that go on with it from here. */
  readonly turn: Turn
  readonly replay: Replay
  /** The moment that is looked at, in milliseconds after the start; `undefined`: the end. */
  at: number | undefined
  isLoading: boolean
  /** It waits for answers that can be given. */
  isWaiting: boolean
  problem: string | undefined
}

/** What is looked at. */
export type View =
  | { readonly kind: "chat" }
  | { readonly kind: "trace"; readonly trace: Trace }
  | { readonly kind: "empty" }

/** How often a lost stream is taken up again. */
const maxReconnects = 5
/** How many events of a run that was kept are read. */
const maxTraceEvents = 20_000

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Holds everything that the page shows. What shows it subscribes. */
export class Store {
  readonly api = new Api()
  info: PlaygroundInfo | undefined
  problem: string | undefined
  /** The server asks for a token: why. */
  tokenAsked: string | undefined
  runners: ReadonlyArray<RunnerInfo> = []
  readonly chats = new Map<string, Chat>()
  chat: Chat | undefined
  view: View = { kind: "empty" }
  panel: Panel = "chat"
  /** The turn whose runs are shown next to the conversation; `undefined`: the last one. */
  chosenTurn: Turn | undefined
  traces: Array<TraceRow> = []
  tracesProblem: string | undefined
  hasMoreTraces = false
  readonly graphs = new Map<string, Graph | { readonly problem: string }>()
  #keys = 0
  #aborts = new Map<Turn, AbortController>()
  readonly #listeners = new Set<() => void>()
  #isNotified = false
  /** How long the last drawing took. */
  #frameMs = 0

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Has the page drawn again, once for all that changes before the next frame. One that takes long is drawn less often. */
  changed(): void {
    if (this.#isNotified) return
    this.#isNotified = true
    // A page in the background has no frames.
    if (document.hidden) setTimeout(() => this.#draw(), 100)
    else if (this.#frameMs < 40) requestAnimationFrame(() => this.#draw())
    else setTimeout(() => this.#draw(), Math.min(this.#frameMs * 2, 1000))
  }

  #draw(): void {
    this.#isNotified = false
    const begun = performance.now()
    for (const listener of this.#listeners) listener()
    // The next frame comes when this one has been laid out and painted.
    if (!document.hidden) requestAnimationFrame(() => (this.#frameMs = performance.now() - begun))
  }

  /** Asks the server what it has. */
  async load(): Promise<void> {
    try {
      this.info = await this.api.info()
      this.tokenAsked = undefined
      this.problem = undefined
      if (this.info.runners) {
        this.runners = await this.api.runners()
        const first = this.runners[0]
        if (this.chat === undefined && first !== undefined) this.openChat(first)
      }
      if (this.info.traces) await this.loadTraces()
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.tokenAsked = error.message
      else this.problem = messageOf(error)
    }
    this.changed()
  }

  async authorize(token: string): Promise<void> {
    this.api.setToken(token)
    await this.load()
  }

  /** Looks at a run that was kept as it was at a moment, or as it is. */
  seek(trace: Trace, at: number | undefined): void {
    trace.at = at === undefined || at >= trace.replay.durationMs ? undefined : Math.max(0, at)
    this.changed()
  }

  /** The runs that are looked at. */
  get runs(): ReadonlyArray<RunModel> {
    const { turn, view } = this
    if (view.kind === "trace" && view.trace.at !== undefined) return [view.trace.replay.at(view.trace.at)]
    return turn?.runs ?? []
  }

  /** The turn that is looked at. */
  get turn(): Turn | undefined {
    const { chat, chosenTurn, view } = this
    if (view.kind === "trace") return view.trace.turn
    if (view.kind !== "chat" || chat === undefined) return undefined
    return chosenTurn !== undefined && chat.turns.includes(chosenTurn) ? chosenTurn : chat.turns.at(-1)
  }

  show(panel: Panel): void {
    this.panel = panel
    this.changed()
  }

  // -- conversations ----------------------------------------------------------------------------------------------

  openChat(runner: RunnerInfo): void {
    const chat = this.chats.get(runner.name) ?? this.#newChat(runner)
    this.chats.set(runner.name, chat)
    this.chat = chat
    this.view = { kind: "chat" }
    this.chosenTurn = undefined
    this.panel = "chat"
    void this.#loadGraph(runner.name)
    this.changed()
  }

  /** Begins a conversation with the same runner. */
  restart(): void {
    const { chat } = this
    if (chat === undefined) return
    for (const turn of chat.turns) void this.cancel(turn)
    this.chats.delete(chat.runner.name)
    this.openChat(chat.runner)
  }

  #newChat(runner: RunnerInfo): Chat {
    const isKept = this.info?.sessions === true && takesMessages(runner.input)
    return {
      runner,
      session: isKept ? `playground-${crypto.randomUUID()}` : undefined,
      turns: [],
      dropped: 0
    }
  }

  async #loadGraph(name: string): Promise<void> {
    if (this.graphs.has(name)) return
    if (this.info?.expose.includes("nested") !== true) {
      this.graphs.set(name, { problem: 'This server does not show nested runs. Give it expose: ["nested"].' })
      return this.changed()
    }
    try {
      this.graphs.set(name, await this.api.graph(name))
    } catch (error) {
      if (error instanceof ApiError && error.status !== 0) this.graphs.set(name, { problem: error.message })
    }
    this.changed()
  }

  async send(chat: Chat, input: unknown): Promise<void> {
    const { runner, session } = chat
    const body = { input: wireInput(chat, input), ...(session === undefined ? {} : { session }) }
    const turn: Turn = { key: this.#keys++, input, runs: [], sent: [], isStreaming: true, problem: undefined }
    chat.turns.push(turn)
    if (chat.turns.length > maxTurns) {
      chat.turns.shift()
      chat.dropped++
    }
    this.chosenTurn = undefined
    await this.#stream(runner.name, turn, `runners/${encodeURIComponent(runner.name)}/stream`, body)
  }

  /** Goes on with the last run of a turn. */
  async answer(turn: Turn, answers: ReadonlyMap<string, Answer>): Promise<void> {
    const run = turn.runs.at(-1)
    if (run?.runId === undefined || turn.isStreaming) return
    turn.isStreaming = true
    turn.problem = undefined
    const body = { answers: wireAnswers(answers) }
    await this.#stream(run.name, turn, `runs/${encodeURIComponent(run.runId)}/input`, body)
  }

  /** Sends a message to the run of a turn. It says by itself what became of it. */
  async tell(turn: Turn, text: string, delivery: Sent["delivery"]): Promise<void> {
    const runId = listening(turn)
    if (runId === undefined) return
    const sent: Sent = { key: this.#keys++, text, delivery, state: "waiting" }
    turn.sent.push(sent)
    turn.problem = undefined
    this.changed()
    try {
      sent.state = await this.api.input(runId, text, delivery)
    } catch (error) {
      // One that has ended meanwhile took nothing.
      const isOver = error instanceof ApiError && (error.status === 404 || error.status === 409)
      sent.state = isOver ? "undelivered" : "refused"
      if (!isOver) turn.problem = messageOf(error)
    }
    this.changed()
  }

  /** Interrupts the run of a turn. Its stream ends by itself, with what the run came to. */
  async cancel(turn: Turn): Promise<void> {
    if (!turn.isStreaming) return
    const run = turn.runs.at(-1)
    try {
      // One that is over waits for the run that goes on with it, which has not begun.
      if (run?.runId === undefined || run.isOver) this.#aborts.get(turn)?.abort()
      else await this.api.interrupt(run.runId)
    } catch (error) {
      // One that has ended meanwhile needs nothing more.
      if (!(error instanceof ApiError && error.status === 404)) turn.problem = messageOf(error)
      this.changed()
    }
  }

  async #stream(name: string, turn: Turn, path: string, body: unknown): Promise<void> {
    const abort = new AbortController()
    this.#aborts.set(turn, abort)
    this.changed()
    const model = new RunModel(name)
    try {
      await this.#take(turn, model, this.api.post(path, body, abort.signal))
    } catch (error) {
      if (model.runId === undefined) this.#refused(turn, error)
    }
    if (model.runId !== undefined && !model.isOver) await this.#takeUp(turn, model, model.runId, abort.signal)
    turn.isStreaming = false
    this.#aborts.delete(turn)
    this.changed()
    if (this.info?.traces !== true) return
    // Events are kept a moment after they are sent.
    await sleep(300)
    await this.loadTraces()
  }

  #refused(turn: Turn, error: unknown): void {
    const isAborted = error instanceof DOMException && error.name === "AbortError"
    turn.problem = isAborted ? "Cancelled before it began." : messageOf(error)
    if (error instanceof ApiError && error.status === 401) this.tokenAsked = error.message
  }

  /** Goes on with a stream that has broken off. */
  async #takeUp(turn: Turn, model: RunModel, runId: string, signal: AbortSignal): Promise<void> {
    let problem = "The connection is lost."
    for (let attempt = 0; attempt < maxReconnects && !model.isOver; attempt++) {
      await sleep(200 * 2 ** attempt)
      try {
        await this.#take(turn, model, this.api.follow(runId, model.lastSeq, signal))
      } catch (error) {
        problem = messageOf(error)
        // The server no longer knows the run.
        if (error instanceof ApiError && error.status >= 400 && error.status < 500) break
      }
    }
    if (!model.isOver) model.lose(problem)
  }

  async #take(turn: Turn, model: RunModel, messages: AsyncGenerator<Message>): Promise<void> {
    for await (const { data, event } of messages) {
      if (event === "lost") {
        const { detail } = JSON.parse(data) as { readonly detail?: string }
        model.lose(String(detail ?? "Events are lost."))
      } else {
        const read = readEvent(data)
        if (read === undefined) continue
        model.apply(read)
        if (turn.runs.at(-1) !== model) turn.runs.push(model)
      }
      this.changed()
    }
  }

  // -- runs that are kept -----------------------------------------------------------------------------------------

  async loadTraces(isMore = false): Promise<void> {
    try {
      const before = isMore ? this.traces.at(-1)?.runId : undefined
      const rows = await this.api.traces(before)
      this.traces = isMore ? [...this.traces, ...rows] : [...rows]
      this.hasMoreTraces = rows.length === 50
      this.tracesProblem = undefined
    } catch (error) {
      this.tracesProblem = messageOf(error)
    }
    this.changed()
  }

  async openTrace(row: TraceRow): Promise<void> {
    const model = new RunModel(row.runner)
    const turn: Turn = {
      key: this.#keys++,
      input: undefined,
      runs: [model],
      sent: [],
      isStreaming: false,
      problem: undefined
    }
    const replay = new Replay(row.runner)
    const trace: Trace = { row, turn, replay, at: undefined, isLoading: true, isWaiting: false, problem: undefined }
    this.view = { kind: "trace", trace }
    this.panel = "timeline"
    this.changed()
    void this.#graphOfTrace(row.runner)
    try {
      let from: number | undefined = 0
      while (from !== undefined && from < maxTraceEvents) {
        const page = await this.api.trace(row.runId, from)
        for (const event of page.events) {
          model.apply(event)
          replay.add(event)
        }
        from = page.next
      }
      if (from !== undefined) trace.problem = `Only the first ${from} events are shown.`
      // One that has not ended stands still: what comes of it is kept later, or its process is gone.
      if (!model.isOver) model.now = model.lastAt
      const canAnswer = model.status === "suspended" && this.info?.runners === true
      trace.isWaiting = canAnswer && (await this.api.isWaiting(row.runId))
    } catch (error) {
      trace.problem = messageOf(error)
    }
    trace.isLoading = false
    this.changed()
  }

  async #graphOfTrace(name: string): Promise<void> {
    if (this.runners.some((runner) => runner.name === name)) await this.#loadGraph(name)
  }
}
