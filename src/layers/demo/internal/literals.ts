/** The literals of a text: numbers, quoted strings, JSON, `label: value`, arithmetic. */

/** A literal, and its position. */
export interface Literal<A> {
  readonly value: A
  readonly start: number
  readonly end: number
}

const number =
  /(?<![\p{L}\p{N}_.])(?:\d{1,3}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\p{L}\p{N}_]|[.,]\d)/gu

/** The numbers, in order. A minus sign belongs to a number where it cannot be an operator. */
export const numbers = (text: string): ReadonlyArray<Literal<number>> =>
  Array.from(text.matchAll(number), (match) => {
    const before = text.slice(Math.max(0, match.index - 12), match.index)
    const sign = /(?:^|[\s([,:=])-$/.test(before) && !/[\p{N})]\s*-$/u.test(before) ? 1 : 0
    const value = Number(match[0].replaceAll(",", ""))
    return { value: sign === 1 ? -value : value, start: match.index - sign, end: match.index + match[0].length }
  })

const quote = /"([^"\n]*)"|“([^”\n]*)”|«([^»\n]*)»|`([^`\n]+)`|(?<![\p{L}\p{N}])'([^'\n]*)'(?![\p{L}\p{N}])/gu

/** The quoted strings, in order, without their quotes. */
export const quoted = (text: string): ReadonlyArray<Literal<string>> =>
  Array.from(text.matchAll(quote), (match) => {
    const value = match.slice(1).find((group) => group !== undefined) ?? ""
    return { value, start: match.index, end: match.index + match[0].length }
  })

/** The JSON objects and arrays, in order. */
export const json = (text: string): ReadonlyArray<Literal<unknown>> => {
  const found: Array<Literal<unknown>> = []
  let [depth, start] = [0, 0]
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\\n]|\\.)*"|[{[]|[}\]]/g)) {
    if (token === "{" || token === "[") {
      if (depth++ === 0) start = index
    } else if ((token === "}" || token === "]") && depth > 0 && --depth === 0) {
      try {
        found.push({ value: JSON.parse(text.slice(start, index + 1)) as unknown, start, end: index + 1 })
      } catch {
        // Brackets that are not JSON.
      }
    }
  }
  return found
}

/** `dueDate`, `due_date` and `due-date` are the words "due date". */
export const nameWords = (name: string): ReadonlyArray<string> =>
  name
    .replace(/([\p{Ll}\p{N}])(\p{Lu})/gu, "$1 $2")
    .toLowerCase()
    .match(/[\p{L}\p{N}]+/gu) ?? []

/** A pattern for a name as it may be written; it matches nothing for a name without words. */
export const namePattern = (name: string): string => nameWords(name).join("[ \\t_-]?") || "(?!)"

const nextLabel = /[,;.][ \t]+(?=\p{L}[\p{L}\p{N}_-]{0,30}(?: [\p{L}\p{N}_-]{1,30}){0,2}[ \t]*[:=][ \t])/u

/**
 * What a text says of a name: `name: value` and `name = value`, to the end of the line or the next label, and numbers
 * right after the name, as in `score 6` or `score of 6`.
 */
export const labelled = (text: string, name: string): ReadonlyArray<Literal<string>> => {
  const after = `["'*_\`]{0,3}[ \\t]?(?:[:=](?!=)([^\\n;]*)|(?:is |of )?(-?\\d[\\d.,]*))`
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_-])${namePattern(name)}${after}`, "giu")
  return Array.from(text.matchAll(pattern), ({ 0: all, 1: line, 2: digits, index }) => {
    const rest = line?.slice(0, 4_000) ?? digits!
    const value = rest.slice(0, nextLabel.exec(rest)?.index ?? rest.length)
    const [inner] = quoted(value.trim())
    const whole = inner?.start === 0 && inner.end === value.trim().length
    const end = index + all.length - (line ?? rest).length + value.length
    return { value: whole ? inner.value : value.trim().replace(/(?<=\d)[.,]$/, ""), start: index, end }
  }).filter(({ value }) => value !== "" && !/\p{L}[:=]\s/u.test(value))
}

/** The only arithmetic expression of a text, with its result; `undefined` when it has none, or several. */
export const arithmetic = (text: string): (Literal<string> & { readonly result: number }) | undefined => {
  const found = Array.from(text.matchAll(/[-\d\s().,+*/^]{3,}/g), ({ 0: run, index }) => {
    const value = run.replace(/^[\s.,)+*/^]+|[\s.,(+*/^-]+$/g, "")
    const start = index + run.indexOf(value)
    return { value, start, end: start + value.length }
  }).filter(({ value }) => value.length < 400 && /[\d)]\s*[-+*/^]\s*[-(\d]/.test(value))
  const result = found.length === 1 ? evaluate(found[0]!.value) : undefined
  return result === undefined ? undefined : { ...found[0]!, result }
}

const precedence: { readonly [operator: string]: number } = { "+": 1, "-": 1, "*": 2, "/": 2, "^": 4 }
const apply = (operator: string, a: number, b: number): number =>
  operator === "^" ? a ** b : operator === "*" ? a * b : operator === "/" ? a / b : operator === "+" ? a + b : a - b

const evaluate = (source: string): number | undefined => {
  const tokens = source.match(/\d[\d,.]*|\S/g) ?? []
  let at = 0
  // By precedence. `^` binds to the right, and stronger than a minus sign, which binds stronger than `*`.
  const climb = (least: number): number => {
    const token = tokens[at++] ?? ""
    const isNumber = /^(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d+)?$/.test(token)
    let left = isNumber
      ? Number(token.replaceAll(",", ""))
      : token === "-"
        ? -climb(3)
        : token === "("
          ? climb(1)
          : Number.NaN
    if (token === "(" && tokens[at++] !== ")") return Number.NaN
    for (let next = tokens[at] ?? ""; (precedence[next] ?? 0) >= least; next = tokens[at] ?? "") {
      at++
      left = apply(next, left, climb(next === "^" ? 4 : precedence[next]! + 1))
    }
    return left
  }
  const value = climb(1)
  // The digits that are exact, so that 0.1 + 0.2 is 0.3.
  return at === tokens.length && Number.isFinite(value) ? Number(value.toPrecision(15)) : undefined
}
