/** What an editor shows of a source file: the language server of the TypeScript that the project is checked with. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import * as path from "node:path"
import { pathToFileURL } from "node:url"

const root = path.resolve(import.meta.dirname, "../..")

/** A compile error: the line that it stands on, counted from 1, and its text, with what the compiler adds to it. */
export interface Mistake {
  readonly line: number
  readonly text: string
}

interface Hover {
  readonly contents: { readonly value: string } | string
}

interface Diagnostic {
  /** 1 is an error. */
  readonly severity?: number
  readonly range: { readonly start: { readonly line: number } }
  readonly message: string
}

/** A running language server. */
export interface LanguageServer {
  /** Opens a file of the project, with `text` in place of its content. */
  readonly open: (file: string, text: string) => void
  /** What an editor shows of the name at this place; line and column are counted from 0. */
  readonly hover: (file: string, line: number, column: number) => Promise<string>
  /** The names that an editor offers at this place; line and column are counted from 0. */
  readonly offers: (file: string, line: number, column: number) => Promise<ReadonlyArray<string>>
  readonly mistakes: (file: string) => Promise<ReadonlyArray<Mistake>>
  readonly close: () => Promise<void>
}

const uriOf = (file: string): string => pathToFileURL(path.join(root, file)).href

/** Starts a language server on the project. Close it. */
export const start = async (): Promise<LanguageServer> => {
  const child = spawn(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "--lsp", "--stdio"], {
    cwd: root
  })
  const { notify, request } = connect(child)
  await request("initialize", {
    processId: process.pid,
    rootUri: pathToFileURL(root).href,
    capabilities: { textDocument: { hover: { contentFormat: ["plaintext"] }, diagnostic: {}, completion: {} } }
  })
  notify("initialized", {})
  return {
    open: (file, text) =>
      notify("textDocument/didOpen", {
        textDocument: { uri: uriOf(file), languageId: "typescript", version: 1, text }
      }),
    hover: async (file, line, character) => {
      const hover = (await request("textDocument/hover", {
        textDocument: { uri: uriOf(file) },
        position: { line, character }
      })) as Hover | null
      if (hover === null) return ""
      return typeof hover.contents === "string" ? hover.contents : hover.contents.value
    },
    offers: async (file, line, character) => {
      const { items } = (await request("textDocument/completion", {
        textDocument: { uri: uriOf(file) },
        position: { line, character }
      })) as { readonly items: ReadonlyArray<{ readonly label: string }> }
      return items.map(({ label }) => label)
    },
    mistakes: async (file) => {
      const { items } = (await request("textDocument/diagnostic", { textDocument: { uri: uriOf(file) } })) as {
        readonly items: ReadonlyArray<Diagnostic>
      }
      return items
        .filter(({ severity = 1 }) => severity === 1)
        .map(({ message, range }) => ({ line: range.start.line + 1, text: message }))
    },
    close: async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve))
      await request("shutdown", undefined)
      notify("exit", undefined)
      child.stdin.end()
      await ended
    }
  }
}

/** JSON-RPC over standard input and output. What the server asks is answered with nothing. */
const connect = (child: ChildProcessWithoutNullStreams) => {
  const waiting = new Map<
    number,
    { readonly resolve: (result: unknown) => void; readonly reject: (e: Error) => void }
  >()
  let last = 0
  let stderr = ""
  let received = Buffer.alloc(0)
  const send = (message: object) => {
    const body = JSON.stringify({ jsonrpc: "2.0", ...message })
    child.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  }
  const receive = (message: {
    readonly id?: number
    readonly method?: string
    readonly result?: unknown
    readonly error?: { readonly message: string }
  }) => {
    if (message.id === undefined) return
    if (message.method !== undefined) return send({ id: message.id, result: null })
    const request = waiting.get(message.id)
    waiting.delete(message.id)
    if (message.error === undefined) request?.resolve(message.result)
    else request?.reject(new Error(message.error.message))
  }
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()))
  child.on("exit", (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`the language server ended with ${code}: ${stderr}`))
  })
  child.stdout.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    for (;;) {
      const head = received.indexOf("\r\n\r\n")
      if (head < 0) return
      const length = Number(/Content-Length: (\d+)/i.exec(received.subarray(0, head).toString())?.[1])
      if (received.length < head + 4 + length) return
      const body = received.subarray(head + 4, head + 4 + length).toString()
      received = received.subarray(head + 4 + length)
      receive(JSON.parse(body))
    }
  })
  return {
    notify: (method: string, params: unknown) => send({ method, params }),
    request: (method: string, params: unknown) =>
      new Promise<unknown>((resolve, reject) => {
        waiting.set(++last, { resolve, reject })
        send({ id: last, method, params })
      })
  }
}
