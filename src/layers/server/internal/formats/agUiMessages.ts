/** The messages of a run of AG-UI, as they come. */

/** An event of AG-UI. */
export interface Event {
  readonly type: string
  readonly [key: string]: unknown
}

/** A call of a message. */
export interface Call {
  readonly id: string
  readonly name: string
  args: string
  isOpen: boolean
}

interface Message {
  readonly id: string
  readonly role: "assistant" | "tool"
  content: string
  readonly calls: Array<Call>
  readonly toolCallId?: string
}

const snapshotOf = ({ calls, content, id, role, toolCallId }: Message): object => ({
  id,
  role,
  ...(content === "" && role === "assistant" ? {} : { content }),
  ...(toolCallId === undefined ? {} : { toolCallId }),
  ...(calls.length === 0
    ? {}
    : {
        toolCalls: calls.map((call) => ({
          id: call.id,
          type: "function",
          function: { name: call.name, arguments: call.args }
        }))
      })
})

/** The messages of a run: what is open is closed before anything else begins. */
export class Messages {
  readonly #ownId: () => string
  #made: Array<Message> = []
  /** Where the messages of the step under way begin. */
  #stepFrom = 0
  #count = 0
  #reasoning: string | undefined
  #text: Message | undefined

  /** `ownId` is the id that those of the messages begin with. */
  constructor(ownId: () => string) {
    this.#ownId = ownId
  }

  /** Closes text and reasoning. */
  close(): ReadonlyArray<Event> {
    return [...this.#endReasoning(), ...this.#endText()]
  }

  /** Closes calls too. */
  closeAll(): ReadonlyArray<Event> {
    return [...this.close(), ...this.#calls().flatMap((call) => this.endCall(call))]
  }

  endCall(call: Call): ReadonlyArray<Event> {
    if (!call.isOpen) return []
    call.isOpen = false
    return [{ type: "TOOL_CALL_END", toolCallId: call.id }]
  }

  /** A step begins. */
  step(): void {
    this.#stepFrom = this.#made.length
  }

  /** Takes back what the step, or the whole run, has given. */
  drop(isWhole: boolean): boolean {
    const from = isWhole ? 0 : this.#stepFrom
    const isVoid = this.#made.length > from
    this.#made = this.#made.slice(0, from)
    this.#stepFrom = from
    return isVoid
  }

  snapshot(): ReadonlyArray<object> {
    return this.#made.map(snapshotOf)
  }

  text(delta: string): ReadonlyArray<Event> {
    const opening: Array<Event> = [...this.#endReasoning()]
    if (this.#text === undefined) {
      this.#text = this.#add()
      opening.push({ type: "TEXT_MESSAGE_START", messageId: this.#text.id, role: "assistant" })
    }
    this.#text.content += delta
    return [...opening, { type: "TEXT_MESSAGE_CONTENT", messageId: this.#text.id, delta }]
  }

  reasoning(delta: string): ReadonlyArray<Event> {
    const opening: Array<Event> = [...this.#endText()]
    if (this.#reasoning === undefined) {
      this.#reasoning = `${this.#ownId()}-r${this.#count++}`
      opening.push(
        { type: "REASONING_START", messageId: this.#reasoning },
        { type: "REASONING_MESSAGE_START", messageId: this.#reasoning, role: "reasoning" }
      )
    }
    return [...opening, { type: "REASONING_MESSAGE_CONTENT", messageId: this.#reasoning, delta }]
  }

  /** A call, and what begins it where it is new. */
  call(id: string, name: string): readonly [Call, ReadonlyArray<Event>] {
    const known = this.#calls().find((call) => call.id === id)
    if (known !== undefined) return [known, []]
    const before = this.close()
    const last = this.#made.length > this.#stepFrom ? this.#made.at(-1) : undefined
    const parent = last?.role === "assistant" ? last : this.#add()
    const call: Call = { id, name, args: "", isOpen: true }
    parent.calls.push(call)
    return [
      call,
      [...before, { type: "TOOL_CALL_START", toolCallId: id, toolCallName: name, parentMessageId: parent.id }]
    ]
  }

  /** More of the arguments of a call. */
  params(call: Call, delta: string): ReadonlyArray<Event> {
    if (!call.isOpen || delta === "") return []
    call.args += delta
    return [{ type: "TOOL_CALL_ARGS", toolCallId: call.id, delta }]
  }

  result(toolCallId: string, content: string): ReadonlyArray<Event> {
    const { id: messageId } = this.#add({ role: "tool", content, toolCallId })
    return [{ type: "TOOL_CALL_RESULT", messageId, toolCallId, content, role: "tool" }]
  }

  #add(more: Partial<Message> = {}): Message {
    const id = `${this.#ownId()}-${this.#count++}`
    const message: Message = { id, role: "assistant", content: "", calls: [], ...more }
    this.#made.push(message)
    return message
  }

  #calls(): ReadonlyArray<Call> {
    return this.#made.flatMap((message) => message.calls)
  }

  #endText(): ReadonlyArray<Event> {
    const events = this.#text === undefined ? [] : [{ type: "TEXT_MESSAGE_END", messageId: this.#text.id }]
    this.#text = undefined
    return events
  }

  #endReasoning(): ReadonlyArray<Event> {
    if (this.#reasoning === undefined) return []
    const messageId = this.#reasoning
    this.#reasoning = undefined
    return [
      { type: "REASONING_MESSAGE_END", messageId },
      { type: "REASONING_END", messageId }
    ]
  }
}
