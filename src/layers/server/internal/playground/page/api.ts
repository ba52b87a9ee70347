/** Asks the server that the page came from: its own routes, as any client does. */
import type { Graph } from "../graph.ts"
import type { PlaygroundInfo } from "../routes.ts"
import type { Run } from "../../../../../services/TraceStore.ts"
import type { RunnerInfo } from "./model/chat.ts"
import { type ClientEvent, eventIn } from "./model/events.ts"
import { schemaIn } from "./model/input.ts"
import { type Message, SseReader } from "./model/sse.ts"

/** The server did not answer as it was asked. */
export class ApiError extends Error {
  /** The status of the answer; 0 when the server did not answer. */
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** A run that the server keeps. */
export type TraceRow = Pick<
  Run,
  "runId" | "runner" | "session" | "status" | "error" | "startedAt" | "durationMs" | "inputTokens" | "outputTokens"
>

/** A page of the events of a run that is kept. */
export interface TracePage {
  readonly events: ReadonlyArray<ClientEvent>
  readonly next: number | undefined
}

type Init = Omit<RequestInit, "headers"> & { readonly headers?: Readonly<Record<string, string>> }

/** A client of the server. The token is kept here alone, so it is gone with the page. */
export class Api {
  #token: string | undefined

  setToken(token: string): void {
    this.#token = token
  }

  async info(): Promise<PlaygroundInfo> {
    const info = (await this.#json("playground.json")) as Partial<PlaygroundInfo>
    return {
      runners: info.runners === true,
      sessions: info.sessions === true,
      traces: info.traces === true,
      expose: Array.isArray(info.expose) ? info.expose.map(String) : []
    }
  }

  async runners(): Promise<ReadonlyArray<RunnerInfo>> {
    const { runners } = (await this.#json("runners")) as {
      readonly runners: ReadonlyArray<{ readonly name: string; readonly description?: string; readonly input: unknown }>
    }
    return runners.map(({ description, input, name }) => ({ name, description, input: schemaIn(input) }))
  }

  async graph(name: string): Promise<Graph> {
    const { graph } = (await this.#json(`runners/${encodeURIComponent(name)}/graph`)) as { readonly graph: Graph }
    return graph
  }

  async traces(before?: string): Promise<ReadonlyArray<TraceRow>> {
    const page = before === undefined ? "" : `&before=${encodeURIComponent(before)}`
    const { runs } = (await this.#json(`traces?limit=50${page}`)) as { readonly runs: ReadonlyArray<TraceRow> }
    return runs
  }

  async trace(runId: string, from: number): Promise<TracePage> {
    const page = (await this.#json(`traces/${encodeURIComponent(runId)}?from=${from}`)) as {
      readonly events: ReadonlyArray<unknown>
      readonly next?: number
    }
    return { events: page.events.flatMap((event) => eventIn(event) ?? []), next: page.next }
  }

  /** Whether a run waits for answers: one that the server does not know any more does not. */
  async isWaiting(runId: string): Promise<boolean> {
    try {
      const { resumedAs, status } = (await this.#json(`runs/${encodeURIComponent(runId)}`)) as {
        readonly status?: unknown
        readonly resumedAs?: unknown
      }
      return status === "suspended" && resumedAs === undefined
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return false
      throw error
    }
  }

  async interrupt(runId: string): Promise<void> {
    await this.#ask(`runs/${encodeURIComponent(runId)}`, { method: "DELETE" })
  }

  /** Sends a message to a run under way, and waits until it is known what became of it. */
  async input(runId: string, text: string, delivery: "steer" | "queue"): Promise<"delivered" | "undelivered"> {
    const response = await this.#ask(`runs/${encodeURIComponent(runId)}/input`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: text, delivery })
    })
    const answer = (await response.json()) as { readonly delivery?: unknown }
    return answer.delivery === "delivered" ? "delivered" : "undelivered"
  }

  /** Begins a run, or goes on with one, and gives its events as they come. */
  post(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<Message> {
    const headers = { "content-type": "application/json", accept: "text/event-stream" }
    return this.#messages(path, { method: "POST", headers, body: JSON.stringify(body), signal })
  }

  /** The events of a run after the one that was seen last. */
  follow(runId: string, lastSeq: number, signal: AbortSignal): AsyncGenerator<Message> {
    const headers = { accept: "text/event-stream", "last-event-id": `${runId}:${lastSeq}` }
    return this.#messages(`runs/${encodeURIComponent(runId)}/stream`, { headers, signal })
  }

  async *#messages(path: string, init: Init): AsyncGenerator<Message> {
    const response = await this.#ask(path, init)
    if (response.body === null) return
    const reader = new SseReader()
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader()
    try {
      for (let piece = await pieces.read(); !piece.done; piece = await pieces.read()) yield* reader.read(piece.value)
    } finally {
      await pieces.cancel().catch(() => {})
    }
  }

  async #json(path: string): Promise<unknown> {
    const response = await this.#ask(path, {})
    return response.json()
  }

  async #ask(path: string, init: Init): Promise<Response> {
    const authorization = this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }
    let response: Response
    try {
      response = await fetch(new URL(path, document.baseURI), {
        ...init,
        headers: { ...init.headers, ...authorization },
        cache: "no-store",
        credentials: "omit"
      })
    } catch (error) {
      if (init.signal?.aborted === true) throw error
      throw new ApiError(0, "The server does not answer. Is it still running?")
    }
    if (response.ok) return response
    throw new ApiError(response.status, await detailOf(response))
  }
}

/** What a problem says. */
const detailOf = async (response: Response): Promise<string> => {
  const fallback = `The server answers ${response.status}.`
  try {
    const { detail } = (await response.json()) as { readonly detail?: unknown }
    return typeof detail === "string" ? detail.slice(0, 2000) : fallback
  } catch {
    return fallback
  }
}
