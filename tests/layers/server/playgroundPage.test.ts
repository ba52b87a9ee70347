/** What the playground's page makes of texts, schemas and graphs before it draws them. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Graph } from "../../../src/layers/server/internal/playground/graph.ts"
import {
  type Chat,
  listening,
  type Sent,
  type Turn,
  waitingOf,
  wireAnswers,
  wireInput
} from "../../../src/layers/server/internal/playground/page/model/chat.ts"
import { eventIn } from "../../../src/layers/server/internal/playground/page/model/events.ts"
import { dollars, duration, pretty } from "../../../src/layers/server/internal/playground/page/model/format.ts"
import {
  graphOfRun,
  layoutOf,
  type Node
} from "../../../src/layers/server/internal/playground/page/model/graphLayout.ts"
import {
  parse,
  skeleton,
  takesMessages,
  takesText
} from "../../../src/layers/server/internal/playground/page/model/input.ts"
import {
  type Block,
  type Inline,
  inlines,
  markdown,
  safeHref
} from "../../../src/layers/server/internal/playground/page/model/markdown.ts"
import { RunModel } from "../../../src/layers/server/internal/playground/page/model/run.ts"
import { pathKey } from "../../../src/layers/server/internal/playground/page/model/spans.ts"
import { hostile } from "../../support/playgroundServer.ts"

const plain = (pieces: ReadonlyArray<Inline>): string =>
  pieces
    .map((piece) => {
      switch (piece.kind) {
        case "text":
          return piece.text
        case "code":
          return `<code:${piece.text}>`
        case "link":
          return `<link ${piece.href}:${plain(piece.children)}>`
        default:
          return `<${piece.kind}:${plain(piece.children)}>`
      }
    })
    .join("")

const drawn = (block: Block): unknown => {
  switch (block.kind) {
    case "heading":
      return `h${block.level} ${plain(block.children)}`
    case "paragraph":
      return plain(block.children)
    case "code":
      return `code ${block.language}: ${block.text}`
    case "quote":
      return { quote: block.blocks.map(drawn) }
    case "rule":
      return "rule"
    case "list":
      return { [block.start === undefined ? "list" : `from ${block.start}`]: block.items.map((one) => one.map(drawn)) }
    case "table":
      return { table: block.rows.map((row) => row.map(plain)) }
  }
}

const read = (text: string) => markdown(text).map(drawn)

/** Every address that a text leads to. */
const linksIn = (blocks: ReadonlyArray<Block>): ReadonlyArray<string> =>
  [...JSON.stringify(blocks).matchAll(/"href":"([^"]*)"/g)].map(([, href]) => href!)

describe("Markdown", () => {
  it("is blocks and marks", () => {
    const text =
      "# Title #\n\nSome **bold** and *light* text with `code` and snake_case_names.\nNext line\n\n---\n\n> said"
    assert.deepStrictEqual(read(text), [
      "h1 Title",
      "Some <strong:bold> and <emphasis:light> text with <code:code> and snake_case_names.\nNext line",
      "rule",
      { quote: ["said"] }
    ])
  })

  it("has lists in lists, ordered ones from their number on", () => {
    assert.deepStrictEqual(read("3. three\n4. four\n   - inner\n   - other\n\nafter"), [
      { "from 3": [["three"], ["four", { list: [["inner"], ["other"]] }]] },
      "after"
    ])
  })

  it("keeps code as it is, also when its end has not come", () => {
    assert.deepStrictEqual(read("```ts\nconst a = **b**\n```\nx"), ["code ts: const a = **b**", "x"])
    assert.deepStrictEqual(read("```\nhalf"), ["code : half"])
  })

  it("has tables", () => {
    assert.deepStrictEqual(read("| a | b |\n|---|:-:|\n| 1 | **2** |\nx"), [
      {
        table: [
          ["a", "b"],
          ["1", "<strong:2>"]
        ]
      },
      "x"
    ])
  })

  it("has HTML as text, images as links, and no link to anything but the web and mail", () => {
    const blocks = markdown(hostile)
    assert.deepStrictEqual(linksIn(blocks), ["http://127.0.0.1:9/pixel.png", "https://example.com/"])
    const all = JSON.stringify(blocks)
    for (const part of ["<script>", "onerror", "javascript:", "srcdoc", "data:text/html"]) assert.include(all, part)
  })

  it("leads nowhere from an address in disguise", () => {
    const disguised = [
      "javascript:alert(1)",
      " javascript:alert(1)",
      "java\nscript:alert(1)",
      "JaVaScRiPt:alert(1)",
      "data:text/html,x",
      "vbscript:x",
      "file:///etc/passwd",
      "//evil.example",
      "/local",
      "blob:https://example.com/1",
      "http://"
    ]
    for (const href of disguised) assert.isUndefined(safeHref(href), href)
    assert.strictEqual(safeHref("https://example.com/a b"), "https://example.com/a%20b")
    assert.strictEqual(safeHref("mailto:ada@example.com"), "mailto:ada@example.com")
  })

  it("comes to an end for texts that are made to be slow", () => {
    const repeated = (part: string) => part.repeat(90_000 / part.length)
    for (const part of ["[", "![", "[a](", "a_", "[](", "<"]) {
      // Not compared by the assertion, which would write both out.
      assert.isTrue(read(repeated(part))[0] === repeated(part), part)
    }
    for (const part of [
      "~",
      "*",
      "_",
      "`",
      "**a ",
      "> ",
      "- ",
      "\\",
      "|",
      "#",
      "* *",
      "- |",
      "|-",
      "a |\n|-",
      "*a_",
      "> > "
    ]) {
      assert.isNotEmpty(markdown(repeated(part)), part)
    }
  })

  it.prop(
    "never fails, and leads to the web and mail only",
    {
      parts: Schema.Array(
        Schema.Literals([
          "*",
          "**",
          "_",
          "`",
          "[",
          "](",
          ")",
          "!",
          "javascript:x",
          "https://a.example",
          "a",
          " ",
          "\n",
          "\n\n",
          "- ",
          "1. ",
          "> ",
          "```",
          "|",
          "---",
          "# ",
          "<b>"
        ])
      ).check(Schema.isMaxLength(40))
    },
    ({ parts }) => {
      const blocks = markdown(parts.join(""))
      for (const href of linksIn(blocks)) assert.match(href, /^(https?:\/\/|mailto:)/)
    }
  )

  it("loses no character of a line without marks", () => {
    assert.deepStrictEqual(plain(inlines("a * b_c [d] (e) ! f")), "a * b_c [d] (e) ! f")
  })
})

describe("inputs", () => {
  const Order = Schema.Struct({
    item: Schema.Literals(["tea", "pot"]),
    count: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
    gift: Schema.Boolean,
    notes: Schema.optionalKey(Schema.String),
    to: Schema.Struct({ street: Schema.String })
  })
  const { schema, definitions } = Schema.toJsonSchemaDocument(Order)
  const order = { ...schema, $defs: definitions }

  it("begin from a value that fits the schema, without what may be left out", () => {
    const value = skeleton(order)
    assert.deepStrictEqual(value, { item: "tea", count: 1, gift: false, to: { street: "" } })
    assert.deepStrictEqual(parse(JSON.stringify(value), order), { value })
  })

  it("say what does not fit, and where", () => {
    const problemOf = (text: string) => {
      const parsed = parse(text, order)
      return "problem" in parsed ? parsed.problem : ""
    }
    assert.match(problemOf("{"), /^This is not JSON/)
    assert.match(problemOf('{"item":"tea","count":1,"gift":false,"to":{"street":5}}'), /^to\.street does not fit/)
    assert.match(problemOf("{}"), /does not fit/)
  })

  it("end for a schema that refers to itself", () => {
    assert.isDefined(skeleton({ $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } }))
  })

  it("are texts, messages, or neither", () => {
    const conversation = { anyOf: [{ type: "string" }, { type: "array" }] }
    assert.deepStrictEqual([takesText({ type: "string" }), takesMessages({ type: "string" })], [true, false])
    assert.deepStrictEqual([takesText(conversation), takesMessages(conversation)], [true, true])
    assert.deepStrictEqual([takesText(order), takesMessages(order)], [false, false])
  })
})

const run = (...events: ReadonlyArray<object>): RunModel => {
  const model = new RunModel("desk")
  events.forEach((event, seq) => model.apply(eventIn({ v: 2, seq, at: seq, ...event })!))
  return model
}
const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } }
const end = { usage, steps: 1, durationMs: 1 }
const started = { _tag: "Started", runId: "run_1" }

describe("a conversation", () => {
  const conversation = { anyOf: [{ type: "string" }, { type: "array" }] }
  const chat = (session?: string, input: Chat["runner"]["input"] = conversation): Chat => ({
    runner: { name: "desk", description: undefined, input },
    session,
    dropped: 0,
    turns: [
      { input: "Hi", runs: [run(started, { _tag: "Completed", ...end, output: "Hello" })] },
      { input: "Fail", runs: [run(started, { _tag: "Failed", ...end, error: "E" })] }
    ].map((turn, key) => ({ ...turn, key, sent: [], isStreaming: false, problem: undefined }))
  })

  it("goes along with an input, where the server does not keep it", () => {
    assert.deepStrictEqual(wireInput(chat(), "And now?"), [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello" },
      { role: "user", content: "And now?" }
    ])
    assert.strictEqual(wireInput(chat("session"), "And now?"), "And now?")
    assert.strictEqual(wireInput(chat(undefined, { type: "string" }), "And now?"), "And now?")
    assert.deepStrictEqual(wireInput(chat(), { n: 1 }), { n: 1 })
  })

  it("goes along with what its runs took while they were under way, and with nothing else that was sent", () => {
    const given = chat()
    const sent = (["delivered", "undelivered", "refused", "waiting"] as const).map((state, key): Sent => ({
      key,
      text: `${state}!`,
      delivery: "steer",
      state
    }))
    given.turns[0]!.sent.push(...sent)
    assert.deepStrictEqual(wireInput(given, "And now?"), [
      { role: "user", content: "Hi" },
      { role: "user", content: "delivered!" },
      { role: "assistant", content: "Hello" },
      { role: "user", content: "And now?" }
    ])
  })

  it("has a run that listens from its beginning to its end", () => {
    const turn = (isStreaming: boolean, ...runs: Array<RunModel>): Turn => ({
      key: 1,
      input: "Hi",
      runs,
      sent: [],
      isStreaming,
      problem: undefined
    })
    assert.isUndefined(listening(turn(true)))
    assert.strictEqual(listening(turn(true, run(started))), "run_1")
    assert.isUndefined(listening(turn(false, run(started))))
    assert.isUndefined(listening(turn(true, run(started, { _tag: "Completed", ...end }))))
  })

  it("waits where its last run is suspended, for answers as the server takes them", () => {
    const waitingFor = [{ kind: "approval", id: "a", toolCallId: "c", tool: "pay" }]
    const given = chat()
    assert.deepStrictEqual(waitingOf(given.turns.at(-1)), [])
    const runs = [run(started, { _tag: "Suspended", ...end, waitingFor })]
    given.turns.push({ key: 9, input: "Pay", runs, sent: [], isStreaming: false, problem: undefined })
    assert.deepStrictEqual(waitingOf(given.turns.at(-1)), waitingFor as RunModel["waitingFor"])
    assert.deepStrictEqual(
      wireAnswers(
        new Map([
          ["a", { approved: true, params: { n: 1 } }],
          ["b", { approved: false, reason: "no" }],
          ["c", { value: 5 }]
        ])
      ),
      { a: { approved: true, params: { n: 1 } }, b: { approved: false, reason: "no" }, c: 5 }
    )
  })
})

const Name = Schema.Literals(["a", "bee", "a longer name than the others", "<b>x</b>", ""])
const Kind = Schema.Literals([
  "chain",
  "router",
  "parallel",
  "fallback",
  "team",
  "handoffs",
  "agent",
  "evaluator-optimizer",
  "plan-execute-evaluate"
])
const Shape = Schema.Array(
  Schema.Struct({ name: Name, kind: Kind, isPlain: Schema.Boolean, deep: Schema.Literals([0, 1, 2]) })
)

const graphOf = (shape: typeof Shape.Type, depth: number): Graph => ({
  name: "root",
  kind: shape[0]?.kind ?? "agent",
  members: shape.map(({ deep, isPlain, kind, name }, index) => ({
    name: `${name}${index}`,
    role: ["planner", "evaluator", "combine", "gate"][index] ?? "worker",
    ...(isPlain ? {} : { runner: { ...(depth < deep ? graphOf(shape, depth + 1) : { members: [] }), name, kind } })
  })),
  // Each to each, itself and one that is not there.
  handoffs: [...shape.map(({ name }, index) => `${name}${index}`), "none"].flatMap((from, _, all) =>
    all.map((to) => ({ from, to }))
  )
})

const overlap = (a: Node, b: Node): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height

describe("graphs", () => {
  it.prop(
    "have their parts within the picture, next to each other",
    { shape: Shape.check(Schema.isMaxLength(5)) },
    ({ shape }) => {
      const { edges, height, nodes, width } = layoutOf(graphOf(shape, 0))
      for (const node of nodes) {
        assert.isTrue(node.x >= 0 && node.y >= 0 && node.x + node.width <= width && node.y + node.height <= height)
      }
      const solid = nodes.filter((node) => node.shape !== "frame")
      for (const [index, a] of solid.entries()) {
        for (const b of solid.slice(index + 1)) assert.isFalse(overlap(a, b), JSON.stringify([a, b]))
      }
      for (const { around, from, to } of edges) {
        const xs = [from[0], to[0], ...(around === undefined ? [] : [around])]
        assert.isTrue(Math.min(...xs) >= 0 && Math.max(...xs) <= width)
        assert.isTrue(from[1] >= 0 && to[1] >= 0 && Math.max(from[1], to[1]) <= height)
      }
    }
  )

  it("name the parts as events do: members by their names, tools below their agent", () => {
    const graph: Graph = {
      name: "all",
      kind: "chain",
      members: [
        {
          name: "first",
          runner: { name: "clerk", kind: "agent", members: [{ name: "look", role: "tool" }] }
        },
        { name: "second", runner: { name: "shout", kind: "function", members: [] } }
      ]
    }
    const keys = layoutOf(graph).nodes.map(({ key }) => key)
    assert.deepStrictEqual(keys, [[], ["first"], ["first", "look"], ["second"]].map(pathKey))
  })

  it("have an arc for each handoff, down on the right and up on the left, each next to the others", () => {
    const agent = (name: string) => ({ name, runner: { name, kind: "agent" as const, members: [] } })
    const graph: Graph = {
      name: "desk",
      kind: "handoffs",
      members: [agent("triage"), agent("billing"), agent("technical")],
      handoffs: [
        { from: "triage", to: "billing" },
        { from: "triage", to: "technical" },
        { from: "technical", to: "triage" }
      ]
    }
    const { edges, nodes } = layoutOf({ name: "all", kind: "chain", members: [{ name: "first", runner: graph }] })
    const of = (name: string) => nodes.find(({ label }) => label === name)!
    assert.lengthOf(edges, 3)
    const arc = (from: string, to: string) =>
      edges.find(({ handoff }) => handoff?.key === pathKey(["first", from, to]))!
    for (const [edge, from, to, isRight] of [
      [arc("triage", "billing"), of("triage"), of("billing"), true],
      [arc("triage", "technical"), of("triage"), of("technical"), true],
      [arc("technical", "triage"), of("technical"), of("triage"), false]
    ] as const) {
      const side = (node: Node) => (isRight ? node.x + node.width : node.x)
      assert.deepStrictEqual([edge.from[0], edge.to[0]], [side(from), side(to)])
      for (const [y, node] of [
        [edge.from[1], from],
        [edge.to[1], to]
      ] as const) {
        assert.isTrue(y > node.y && y < node.y + node.height)
      }
      assert.strictEqual(edge.around! > of("technical").x, isRight)
    }
    assert.isAbove(arc("triage", "technical").around!, arc("triage", "billing").around!)
  })

  it("have the handoffs that happened where the runner is not known, also where its runs are hidden", () => {
    const handed = (from: string, to: string) => ({ _tag: "HandedOff", from, to })
    const nested = { runId: "2", path: ["desk", "triage"] }
    const model = run(started, { ...started, ...nested }, handed("triage", "billing"), handed("triage", "billing"))
    const [arc] = model.handed.values()
    assert.deepStrictEqual([...model.handed.values()], [{ path: [], from: "triage", to: "billing", count: 2 }])
    assert.deepStrictEqual(graphOfRun(model.root!, [arc!]), {
      name: "desk",
      kind: "handoffs",
      members: [{ name: "triage", runner: { name: "triage", kind: "function", members: [] } }, { name: "billing" }],
      handoffs: [{ from: "triage", to: "billing" }]
    })
  })

  it("are made of the events where the runner is not known", () => {
    const nested = (runId: string) => ({ runId, path: ["root", "worker"] })
    const tool = { _tag: "Tool", toolCallId: "c", tool: "look", state: "completed" }
    const model = run(
      started,
      { ...started, ...nested("1") },
      { ...started, ...nested("2") },
      { ...tool, ...nested("2") }
    )
    assert.deepStrictEqual(graphOfRun(model.root!), {
      name: "desk",
      kind: "gather",
      members: [{ name: "worker", runner: { name: "worker", kind: "agent", members: [{ name: "look" }] } }]
    })
  })
})

it("numbers are as people read them, and values no longer than a page can show", () => {
  assert.deepStrictEqual([320, 4200, 12_340, 125_000].map(duration), ["320 ms", "4.20 s", "12.3 s", "2 min 5 s"])
  assert.deepStrictEqual(
    [0, 0.0000001, 0.00012, 0.0123, 2.5].map((value) => dollars(value)),
    ["$0", "< $0.000001", "$0.00012", "$0.012", "$2.50"]
  )
  assert.strictEqual(dollars(2.5, true), "$2.50+")
  assert.match(pretty("x".repeat(100), 10), /^x{10}\n… 90 characters more$/)
})
