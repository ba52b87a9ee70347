/** What a client writes to a server over stdio: a real process, whose lines have a limit. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Lines from "../../../src/layers/internal/process/lines.ts"
import { nodeArguments } from "../../support/mcpProcess.ts"

interface Answer {
  readonly id: number | string | null
  readonly result?: { readonly content?: ReadonlyArray<{ readonly text: string }> }
  readonly error?: { readonly code: number; readonly message: string }
}

let child: ChildProcess
let log = ""
const answers: Array<Answer> = []
let changed = () => {}

const write = async (text: string | Uint8Array) => {
  if (!child.stdin!.write(text)) await once(child.stdin!, "drain")
}
const answerTo = async (id: number | string | null): Promise<Answer> => {
  for (;;) {
    const at = answers.findIndex((one) => one.id === id)
    if (at !== -1) return answers.splice(at, 1)[0]!
    await new Promise<void>((resolve) => (changed = resolve))
  }
}
const call = (name: string, input: string) => ({ method: "tools/call", params: { name, arguments: { input } } })
const result = async (id: number, name: string, input = "") => {
  await write(`${JSON.stringify({ ...call(name, input), jsonrpc: "2.0", id })}\n`)
  return (await answerTo(id)).result!.content![0]!.text
}

beforeAll(async () => {
  child = spawn(process.execPath, nodeArguments("tests/support/mcpLinesMain.ts"), { stdio: ["pipe", "pipe", "pipe"] })
  child.stderr!.on("data", (chunk) => (log += chunk))
  createInterface({ input: child.stdout! }).on("line", (line) => {
    answers.push(JSON.parse(line) as Answer)
    changed()
  })
  const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } }
  await write(`${JSON.stringify({ jsonrpc: "2.0", id: 0, method: "initialize", params })}\n`)
  await answerTo(0)
  await write(`${JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" })}\n`)
})
afterAll(async () => {
  const closed = once(child, "close")
  child.stdin!.end()
  await closed
})

const refused = { code: -32600, message: expect.stringContaining("more than 2000 bytes") }

describe("a line that is too long", () => {
  it("is refused by the id of its request, wherever that stands, and the next one is answered", async () => {
    const long = call("length", "x".repeat(3000))
    await write(`${JSON.stringify({ ...long, jsonrpc: "2.0", id: 1 })}\n`)
    await write(`${JSON.stringify({ jsonrpc: "2.0", id: "two", ...long })}\n`)
    expect((await answerTo(1)).error).toEqual(refused)
    expect((await answerTo("two")).error).toEqual(refused)
    expect(await result(3, "length", "abc")).toBe("3")
    expect(log).toContain("The line has more than 2000 bytes")
  })

  it("that does not say whose it is is refused without an id", async () => {
    await write(`${"x".repeat(5000)}\n`)
    expect((await answerTo(null)).error).toEqual(refused)
  })

  it("takes no memory, however long it is", async () => {
    const before = Number(await result(4, "memory"))
    const chunk = Buffer.alloc(1024 * 1024, "x")
    for (let i = 0; i < 600; i++) await write(chunk)
    await write("\n")
    expect((await answerTo(null)).error).toEqual(refused)
    const after = Number(await result(5, "memory"))
    // Chunks that were read wait for the collector, so some memory is in use at any moment.
    expect(after - before).toBeLessThan(300 * 1024 * 1024)
  })
})

it("a line that is nested deeper than a tool could read is refused, and the next one is answered", async () => {
  await write(`${"[".repeat(900)}${"]".repeat(900)}\n`)
  const { error } = await answerTo(null)
  expect(error).toEqual({ code: -32600, message: "The message is nested deeper than 500 levels" })
  expect(await result(9, "length", "abc")).toBe("3")
})

it("a line that is not UTF-8 is refused, and the next one is answered, also where a chunk ends within a character", async () => {
  await write(Buffer.from(`${JSON.stringify({ ...call("length", "caf\u00e9"), jsonrpc: "2.0", id: 10 })}\n`, "latin1"))
  expect((await answerTo(null)).error).toMatchObject({ code: -32700 })
  const line = Buffer.from(`${JSON.stringify({ ...call("length", "caf\u00e9\u20ac"), jsonrpc: "2.0", id: 11 })}\n`)
  const within = line.indexOf(Buffer.from("\u20ac")) + 1
  await write(line.subarray(0, within))
  // Another message could not be between the two: so they are two reads, or one that has all of it.
  await new Promise((resolve) => setImmediate(resolve))
  await write(line.subarray(within))
  expect((await answerTo(11)).result!.content![0]!.text).toBe("5")
})

describe("lines of a pipe", () => {
  const all = (maxBytes: number, ...chunks: ReadonlyArray<string | Uint8Array>) => {
    const lines = Lines.make(maxBytes)
    return [...chunks.flatMap((chunk) => lines.read(Buffer.from(chunk))), ...lines.rest()]
  }

  it("are put together of pieces, also within a character", () => {
    const [euro0, ...euro] = Buffer.from("€")
    expect(all(100, "a", "b\nc\n\n", Buffer.from([euro0!]), Buffer.from(euro), "\nrest")).toEqual([
      "ab",
      "c",
      "",
      "€",
      "rest"
    ])
  })

  it("that are not UTF-8 are not taken for text where that is asked for", () => {
    const lines = Lines.makeStrict(100)
    const latin = Buffer.from("caf\u00e9\n", "latin1")
    expect(lines.read(Buffer.concat([Buffer.from("caf\u00e9\n"), latin, Buffer.from("\ufffd\n")]))).toEqual([
      "caf\u00e9",
      Lines.notUtf8,
      "\ufffd"
    ])
    expect(all(100, latin)).toEqual(["caf\ufffd"])
  })

  it("keep the beginning and the end of one that is too long, and are counted again after it", () => {
    const long = `${"a".repeat(300)}${"b".repeat(300)}`
    const kept = { begin: "a".repeat(200), end: "b".repeat(200) }
    expect(all(500, `${long}\n12345\n`)).toEqual([kept, "12345"])
    expect(all(500, ...[...long].map((char) => char), "\n", "x")).toEqual([kept, "x"])
    expect(all(5, "12345\n123456\n1")).toEqual(["12345", { begin: "123456", end: "123456" }, "1"])
  })
})
