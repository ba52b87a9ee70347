/**
 * Reads Markdown as models write it, into data that a page draws with elements of its own. HTML in it is text; images are
 * links; a link leads to the web or to a mail address, or it is text. It takes time in proportion to the text.
 */

/** A piece of a line. */
export type Inline =
  | { readonly kind: "text" | "code"; readonly text: string }
  | { readonly kind: "strong" | "emphasis"; readonly children: ReadonlyArray<Inline> }
  | { readonly kind: "link"; readonly href: string; readonly children: ReadonlyArray<Inline> }

/** A block. */
export type Block =
  | { readonly kind: "heading"; readonly level: number; readonly children: ReadonlyArray<Inline> }
  | { readonly kind: "paragraph"; readonly children: ReadonlyArray<Inline> }
  | { readonly kind: "code"; readonly language: string; readonly text: string }
  | { readonly kind: "quote"; readonly blocks: ReadonlyArray<Block> }
  | { readonly kind: "rule" }
  | { readonly kind: "list"; readonly start: number | undefined; readonly items: ReadonlyArray<ReadonlyArray<Block>> }
  | { readonly kind: "table"; readonly rows: ReadonlyArray<ReadonlyArray<ReadonlyArray<Inline>>> }

/** Longer texts are shown as they are. */
const longest = 100_000
/** How deep lists, quotes and marks are read. */
const maxDepth = 8

/** Reads a text. */
export const markdown = (text: string): ReadonlyArray<Block> =>
  text.length > longest
    ? [{ kind: "paragraph", children: [{ kind: "text", text }] }]
    : blocksOf(text.replaceAll("\r", "").split("\n"), 0)

/** An address that a link may lead to; `undefined` for any other, such as one of a script. */
export const safeHref = (href: string): string | undefined => {
  const given = href.trim()
  if (given.length > 2000 || !/^(?:https?:\/\/|mailto:)/i.test(given) || !URL.canParse(given)) return undefined
  const { href: whole, protocol } = new URL(given)
  return protocol === "https:" || protocol === "http:" || protocol === "mailto:" ? whole : undefined
}

const fence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]{0,40})/
const headingMark = /^ {0,3}(#{1,6})(?:\s+|$)/
const rule = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/
const item = /^( {0,12})(?:[-*+]|(\d{1,9})[.)])\s+/
const quoteMark = /^ {0,3}> ?/
const tableMark = /^ {0,3}\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?$/

const blocksOf = (lines: ReadonlyArray<string>, depth: number): ReadonlyArray<Block> => {
  const blocks: Array<Block> = []
  let at = 0
  while (at < lines.length) {
    const line = lines[at]!
    if (line.trim() === "") {
      at++
      continue
    }
    const [block, next] = blockAt(lines, at, depth)
    blocks.push(block)
    at = next
  }
  return blocks
}

type Found = readonly [block: Block, next: number]

const blockAt = (lines: ReadonlyArray<string>, at: number, depth: number): Found => {
  const line = lines[at]!
  const fenced = fence.exec(line)
  if (fenced !== null) return codeAt(lines, at, fenced[1]!, fenced[2]!)
  const heading = headingMark.exec(line)
  if (heading !== null) {
    const text = line.slice(heading[0].length).replace(/ +#{1,6} *$/, "")
    return [{ kind: "heading", level: heading[1]!.length, children: inlines(text) }, at + 1]
  }
  if (rule.test(line)) return [{ kind: "rule" }, at + 1]
  if (depth < maxDepth && quoteMark.test(line)) return quoteAt(lines, at, depth)
  if (depth < maxDepth && item.test(line)) return listAt(lines, at, depth)
  if (line.includes("|") && tableMark.test(lines[at + 1] ?? "")) return tableAt(lines, at)
  return paragraphAt(lines, at, depth)
}

const codeAt = (lines: ReadonlyArray<string>, at: number, mark: string, language: string): Found => {
  let end = at + 1
  while (end < lines.length && !lines[end]!.trimStart().startsWith(mark)) end++
  return [{ kind: "code", language, text: lines.slice(at + 1, end).join("\n") }, end + 1]
}

const quoteAt = (lines: ReadonlyArray<string>, at: number, depth: number): Found => {
  let end = at
  while (end < lines.length && quoteMark.test(lines[end]!)) end++
  const inner = lines.slice(at, end).map((line) => line.replace(quoteMark, ""))
  return [{ kind: "quote", blocks: blocksOf(inner, depth + 1) }, end]
}

/** Items of one list: what is indented belongs to the item above it. */
const listAt = (lines: ReadonlyArray<string>, at: number, depth: number): Found => {
  const first = item.exec(lines[at]!)!
  const indent = first[1]!.length
  const isOrdered = first[2] !== undefined
  const items: Array<Array<string>> = []
  let end = at
  for (; end < lines.length; end++) {
    const line = lines[end]!
    const mark = item.exec(line)
    const isItem = mark !== null && mark[1]!.length <= indent + 1 && !rule.test(line)
    if (isItem) {
      if ((mark[2] !== undefined) !== isOrdered || mark[1]!.length < indent) break
      items.push([line.slice(mark[0].length)])
    } else if (line.trim() === "") {
      const next = lines[end + 1] ?? ""
      if (!/^\s{2,}\S/.test(next) && !item.test(next)) break
      items.at(-1)!.push("")
    } else if (/^\s{2,}/.test(line)) {
      items.at(-1)!.push(line.slice(Math.min(indent + first[0].length - indent, line.search(/\S/))))
    } else if (headingMark.test(line) || fence.test(line) || quoteMark.test(line) || lines[end - 1]!.trim() === "") {
      break
    } else {
      items.at(-1)!.push(line)
    }
  }
  const start = isOrdered ? Number(first[2]) : undefined
  return [{ kind: "list", start, items: items.map((one) => blocksOf(one, depth + 1)) }, end]
}

const maxColumns = 30

const tableAt = (lines: ReadonlyArray<string>, at: number): Found => {
  const cells = (line: string) =>
    line
      .trim()
      .replace(/^\||\|$/g, "")
      .split("|", maxColumns)
      .map((cell) => inlines(cell.trim()))
  const rows = [cells(lines[at]!)]
  let end = at + 2
  for (; end < lines.length && lines[end]!.includes("|"); end++) rows.push(cells(lines[end]!))
  return [{ kind: "table", rows }, end]
}

const paragraphAt = (lines: ReadonlyArray<string>, at: number, depth: number): Found => {
  let end = at + 1
  while (end < lines.length && lines[end]!.trim() !== "" && !beginsBlock(lines[end]!, depth)) end++
  return [{ kind: "paragraph", children: inlines(lines.slice(at, end).join("\n")) }, end]
}

const beginsBlock = (line: string, depth: number): boolean =>
  fence.test(line) || headingMark.test(line) || (depth < maxDepth && (quoteMark.test(line) || item.test(line)))

/** Finds texts from ever later positions on, looking at no character twice. */
class Finder {
  readonly #text: string
  readonly #found = new Map<string, number>()

  constructor(text: string) {
    this.#text = text
  }

  find(part: string, from: number): number {
    const known = this.#found.get(part)
    if (known !== undefined && (known === -1 || known >= from)) return known
    const found = this.#text.indexOf(part, from)
    this.#found.set(part, found)
    return found
  }
}

type Marked = readonly [inline: Inline, next: number]

/** Reads a line. */
export const inlines = (text: string, depth = 0): ReadonlyArray<Inline> => {
  if (depth >= maxDepth) return [{ kind: "text", text }]
  const pieces: Array<Inline> = []
  const finder = new Finder(text)
  let plain = ""
  let at = 0
  while (at < text.length) {
    const next = nextMark(text, at)
    plain += text.slice(at, next)
    at = next
    if (at >= text.length) break
    if (text[at] === "\\" && /[\\`*_[\]()!#|~<>{}.+-]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1]
      at += 2
      continue
    }
    const marked = markedAt(text, at, finder, depth)
    if (marked === undefined) {
      plain += text[at++]
      continue
    }
    if (plain !== "") pieces.push({ kind: "text", text: plain })
    plain = ""
    pieces.push(marked[0])
    at = marked[1]
  }
  if (plain !== "") pieces.push({ kind: "text", text: plain })
  return pieces
}

const marks = /[\\`*_[!]/g

const nextMark = (text: string, from: number): number => {
  marks.lastIndex = from
  return marks.exec(text)?.index ?? text.length
}

const markedAt = (text: string, at: number, finder: Finder, depth: number): Marked | undefined => {
  const char = text[at]!
  if (char === "`") return inlineCode(text, at, finder)
  if (char === "[") return link(text, at, finder, depth)
  // An image would ask another server for something: it is a link to it.
  if (char === "!") return text[at + 1] === "[" ? link(text, at + 1, finder, depth) : undefined
  if (char === "\\") return undefined
  if (char === "_" && /\w/.test(text[at - 1] ?? "")) return undefined
  const isStrong = text[at + 1] === char
  const mark = isStrong ? char + char : char
  const end = finder.find(mark, at + mark.length)
  if (end <= at + mark.length || /\s/.test(text[at + mark.length]!)) return undefined
  const children = inlines(text.slice(at + mark.length, end), depth + 1)
  return [{ kind: isStrong ? "strong" : "emphasis", children }, end + mark.length]
}

const inlineCode = (text: string, at: number, finder: Finder): Marked | undefined => {
  const mark = text[at + 1] === "`" ? "``" : "`"
  const end = finder.find(mark, at + mark.length)
  if (end < 0) return undefined
  const code = text.slice(at + mark.length, end)
  return [{ kind: "code", text: mark === "``" ? code.trim() : code }, end + mark.length]
}

const link = (text: string, at: number, finder: Finder, depth: number): Marked | undefined => {
  const middle = finder.find("](", at + 1)
  if (middle < 0 || middle - at > 1000) return undefined
  const end = finder.find(")", middle + 2)
  if (end < 0 || end - middle > 2000) return undefined
  const href = safeHref(text.slice(middle + 2, end).replace(/\s+"[^"]*"\s*$/, ""))
  if (href === undefined) return undefined
  const shown = text.slice(at + 1, middle)
  return [{ kind: "link", href, children: inlines(shown === "" ? href : shown, depth + 1) }, end + 1]
}
