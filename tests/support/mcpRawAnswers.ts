/**
 * A server whose answers a test writes down, sound or not: what it answers to each message, whichever way messages come. It
 * imports nothing, so that a process with it starts soon.
 */

/**
 * From a method to its result. `{ $error }` is sent as a JSON-RPC error, a text is written as it is, with `$ID` filled in,
 * and the fields for `initialize` are laid over a sound answer. `"tools/call": { $byName }` has a result for each tool; the
 * server then has these tools. `$A{n}` in a result stands for n letters. `$ask` is a request that the server makes under each
 * `tools/call`; the text of the call's result is then the client's whole answer.
 */
export interface RawAnswers {
  readonly [method: string]: unknown
  readonly $ask?: { readonly method: string; readonly params?: unknown }
}

interface Message {
  readonly id?: number | string
  readonly method?: string
  readonly params?: { readonly protocolVersion?: string; readonly name?: string; readonly cursor?: string }
}

const tool = (name: string) => ({ name, description: "A tool", inputSchema: { type: "object", properties: {} } })

/** Makes what takes the JSON of each message of a client; `write` gets the lines of the answers. */
export const answering = ({ $ask: ask, ...answers }: RawAnswers, write: (line: string) => void) => {
  const offered = ["tools", "resources", "prompts"].filter(
    (kind) => kind === "tools" || Object.keys(answers).some((method) => method.startsWith(`${kind}/`))
  )
  const ofTools = answers["tools/call"] as { readonly $byName?: Readonly<Record<string, unknown>> } | undefined
  const byName = ofTools?.$byName
  const defaults: Readonly<Record<string, unknown>> = {
    "tools/list": { tools: (byName === undefined ? ["good"] : Object.keys(byName)).map(tool) },
    "tools/call": { content: [{ type: "text", text: "fine" }] },
    ping: {}
  }
  const send = (message: object) => {
    const text = JSON.stringify({ jsonrpc: "2.0", ...message })
    write(text.replaceAll(/\$A\{(\d+)\}/g, (_, count) => "A".repeat(Number(count))))
  }
  /** The call that waits for the client's answer to our question. */
  let waiting: Message["id"]
  const reply = (id: number | string, method: string, params: Message["params"]) => {
    const own = method === "tools/call" && byName !== undefined ? byName[params?.name ?? ""] : answers[method]
    const answer = own ?? defaults[method]
    if (method === "initialize") {
      const capabilities = Object.fromEntries(offered.map((kind) => [kind, {}]))
      const serverInfo = { name: "raw", version: "1.0.0" }
      const more = answer as object | undefined
      return send({ id, result: { protocolVersion: params?.protocolVersion, capabilities, serverInfo, ...more } })
    }
    if (method === "tools/call" && ask !== undefined) {
      waiting = id
      return send({ id: "question", ...ask })
    }
    if (answer === undefined) return send({ id, error: { code: -32601, message: "Method not found" } })
    if (typeof answer === "string") return write(answer.replaceAll("$ID", String(id)))
    const failure = (answer as { readonly $error?: unknown }).$error
    return send(failure === undefined ? { id, result: answer } : { id, error: failure })
  }
  return (line: string): void => {
    const { id, method, params } = JSON.parse(line) as Message
    if (method === undefined) send({ id: waiting, result: { content: [{ type: "text", text: line }] } })
    else if (id !== undefined) reply(id, method, params)
  }
}
