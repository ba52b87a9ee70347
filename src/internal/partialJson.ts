/**
 * Reads JSON as it comes, in pieces of any size: what stands before it (reasoning in a tag, a code fence, a sentence) is
 * skipped. Takes time and memory in proportion to the text, and stops at what is not JSON.
 */

/** The end of a value that is not finished: the text so far of a string in `container`. */
export interface Open {
  readonly container: object
  /** The key or the index that the string will have. */
  readonly key: string
  readonly text: string
}

interface Frame {
  readonly container: Record<string, unknown> | Array<unknown>
  /** The key of the value that comes next, in an object. */
  key: string
  /** True for the list whose items are handed over. */
  readonly isList: boolean
}

type State =
  | "before"
  | "value"
  | "firstValue"
  | "key"
  | "firstKey"
  | "colon"
  | "after"
  | "string"
  | "keyString"
  | "scalar"
  | "done"
  | "failed"

const maxDepth = 256
/** As many characters as an answer of a model may have where no other limit is set. */
const maxLength = 16 * 1024 * 1024

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t"
}

const scalar = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/
const scalarCharacter = /[-+.\w]/
const thinking = /<(\/?)(?:think|thinking|reasoning)>$/i

/** One JSON object or array that is being read. */
export class PartialJson {
  /** Takes the items of the first list, at the root or in the object there, which are not kept. */
  readonly #onItem: ((item: unknown) => void) | undefined
  readonly #stack: Array<Frame> = []
  #state: State = "before"
  #root: object | undefined
  #text = ""
  #escape = ""
  #before = ""
  #isThinking = false
  #hasList = false
  #length = 0

  constructor(onItem?: (item: unknown) => void) {
    this.#onItem = onItem
  }

  /** The object or array so far; it grows in place. `undefined` before its first character. */
  get root(): object | undefined {
    return this.#root
  }

  /** How many characters were read. */
  get length(): number {
    return this.#length
  }

  /** True when no piece can add anything. */
  get isOver(): boolean {
    return this.#state === "done" || this.#state === "failed"
  }

  /** The string that is not finished. */
  get open(): Open | undefined {
    const top = this.#stack.at(-1)
    if (this.#state !== "string" || top === undefined) return undefined
    const key = Array.isArray(top.container) ? String(top.container.length) : top.key
    return { container: top.container, key, text: this.#text }
  }

  /** Reads the next piece. */
  push(piece: string): void {
    this.#length += piece.length
    if (this.#length > maxLength) this.#state = "failed"
    for (let at = 0; at < piece.length && !this.isOver;) at = this.#read(piece, at)
  }

  #read(piece: string, at: number): number {
    if (this.#state === "string" || this.#state === "keyString") return this.#readString(piece, at)
    const character = piece[at]!
    if (this.#state === "scalar") {
      if (!scalarCharacter.test(character)) {
        this.#endScalar()
        return at
      }
      this.#text += character
      if (this.#text.length > 400) this.#state = "failed"
    } else if (this.#state === "before") this.#readBefore(character)
    else if (!/\s/.test(character)) this.#readToken(character)
    return at + 1
  }

  #readBefore(character: string): void {
    if ((character === "{" || character === "[") && !this.#isThinking) {
      this.#openContainer(character)
      return
    }
    this.#before = (this.#before + character).slice(-12)
    const tag = character === ">" ? thinking.exec(this.#before) : null
    if (tag !== null) this.#isThinking = tag[1] === ""
  }

  #readToken(character: string): void {
    switch (this.#state) {
      case "value":
      case "firstValue":
        if (character === "]" && this.#state === "firstValue") return this.#close()
        return this.#beginValue(character)
      case "key":
      case "firstKey":
        if (character === "}" && this.#state === "firstKey") return this.#close()
        this.#text = ""
        this.#state = character === '"' ? "keyString" : "failed"
        return
      case "colon":
        this.#state = character === ":" ? "value" : "failed"
        return
      default: {
        const isArray = Array.isArray(this.#stack.at(-1)?.container)
        if (character === (isArray ? "]" : "}")) return this.#close()
        this.#state = character !== "," ? "failed" : isArray ? "value" : "key"
      }
    }
  }

  #beginValue(character: string): void {
    this.#text = character
    if (character === "{" || character === "[") this.#openContainer(character)
    else if (character === '"') {
      this.#text = ""
      this.#state = "string"
    } else this.#state = scalarCharacter.test(character) ? "scalar" : "failed"
  }

  #openContainer(character: "{" | "["): void {
    const container = character === "[" ? [] : {}
    const depth = this.#stack.length
    const isList = character === "[" && depth <= 1 && !this.#hasList
    if (isList) this.#hasList = true
    if (depth === 0) this.#root = container
    else if (!this.#isOfList()) this.#put(container)
    this.#stack.push({ container, key: "", isList })
    this.#state = depth === maxDepth ? "failed" : character === "[" ? "firstValue" : "firstKey"
  }

  #close(): void {
    const { container } = this.#stack.pop()!
    this.#state = this.#stack.length === 0 ? "done" : "after"
    if (this.#isOfList()) this.#onItem!(container)
  }

  /** True where values are items that are handed over. */
  #isOfList(): boolean {
    return this.#onItem !== undefined && this.#stack.at(-1)?.isList === true
  }

  #add(value: unknown): void {
    this.#state = "after"
    if (this.#isOfList()) this.#onItem!(value)
    else this.#put(value)
  }

  #put(value: unknown): void {
    const { container, key } = this.#stack.at(-1)!
    if (Array.isArray(container)) container.push(value)
    else container[key] = value
  }

  #endScalar(): void {
    // A word that is not JSON would end up as a value otherwise.
    if (scalar.test(this.#text)) this.#add(JSON.parse(this.#text))
    else this.#state = "failed"
  }

  #readString(piece: string, at: number): number {
    if (this.#escape !== "") {
      this.#readEscape(piece[at]!)
      return at + 1
    }
    let end = at
    while (end < piece.length && piece[end] !== '"' && piece[end] !== "\\") end++
    this.#text += piece.slice(at, end)
    if (end === piece.length) return end
    if (piece[end] === "\\") this.#escape = "\\"
    else if (this.#state === "string") this.#add(this.#text)
    else {
      this.#stack.at(-1)!.key = this.#text
      // It would change the object's prototype, and no schema has it.
      this.#state = this.#text === "__proto__" ? "failed" : "colon"
    }
    return end + 1
  }

  #readEscape(character: string): void {
    this.#escape += character
    const isUnicode = this.#escape[1] === "u"
    if (isUnicode && this.#escape.length < 6) return
    const code = /^\\u([0-9a-f]{4})$/i.exec(this.#escape)?.[1]
    const read = isUnicode
      ? code === undefined
        ? undefined
        : String.fromCharCode(Number.parseInt(code, 16))
      : escapes[character]
    this.#escape = ""
    if (read === undefined) this.#state = "failed"
    else this.#text += read
  }
}
