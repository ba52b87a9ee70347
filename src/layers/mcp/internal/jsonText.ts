/** JSON with comments and trailing commas, as editors allow it in config files. Errors name the line. */

/** A text is not JSON. The message has the line and the column, counted from 1, and nothing of the text. */
export class JsonTextError extends Error {
  override readonly name = "JsonTextError"
  constructor(text: string, at: number, problem: string) {
    const before = text.slice(0, at)
    const line = before.split("\n").length
    super(`line ${line}, column ${at - before.lastIndexOf("\n")}: ${problem}`)
  }
}

const deepest = 64

const gap = /(?:[ \t\r\n]|\/\/[^\r\n]*|\/\*[^]*?\*\/)*/y
const string = /"(?:[^"\\\0-\x1f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y // oxlint-disable-line no-control-regex
const scalar = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y

class Reader {
  private at = 0
  private readonly text: string
  constructor(text: string) {
    this.text = text
  }

  whole(): unknown {
    const value = this.value(0)
    this.skip()
    if (this.at < this.text.length) throw this.error("expected the end of the file")
    return value
  }

  private value(depth: number): unknown {
    if (depth > deepest) throw this.error(`more than ${deepest} levels`)
    this.skip()
    if (this.take("{")) return this.object(depth)
    if (this.take("[")) return this.array(depth)
    return JSON.parse(this.match(string) ?? this.match(scalar) ?? this.fail("expected a value")) as unknown
  }

  private array(depth: number): ReadonlyArray<unknown> {
    const items: Array<unknown> = []
    while (!this.ends("]")) {
      items.push(this.value(depth + 1))
      this.separator("]")
    }
    return items
  }

  private object(depth: number): object {
    const fields = new Map<string, unknown>()
    while (!this.ends("}")) {
      const at = this.at
      const key = JSON.parse(this.match(string) ?? this.fail('expected a key in double quotes, or "}"')) as string
      if (fields.has(key)) throw new JsonTextError(this.text, at, "this key is given twice")
      this.skip()
      if (!this.take(":")) throw this.error('expected ":"')
      fields.set(key, this.value(depth + 1))
      this.separator("}")
    }
    return Object.fromEntries(fields)
  }

  private ends(close: string): boolean {
    this.skip()
    return this.take(close)
  }

  /** A comma, which the closing bracket may follow, or the closing bracket, which is left for {@link ends}. */
  private separator(close: string): void {
    this.skip()
    if (!this.take(",") && this.text[this.at] !== close) throw this.error(`expected "," or "${close}"`)
  }

  private skip(): void {
    this.match(gap)
  }

  private take(character: string): boolean {
    const found = this.text[this.at] === character
    if (found) this.at++
    return found
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)?.[0]
    if (found !== undefined) this.at += found.length
    return found
  }

  private error(problem: string): JsonTextError {
    return new JsonTextError(this.text, this.at, problem)
  }

  private fail(problem: string): never {
    throw this.error(problem)
  }
}

/** The value of a text. Throws {@link JsonTextError}, also for a key that an object has twice. */
export const parse = (text: string): unknown => new Reader(text).whole()
