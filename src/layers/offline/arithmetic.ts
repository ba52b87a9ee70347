/** Works out arithmetic that a text states without doubt. A parser, not `eval`. Pure. */

const phrases: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bdivided by\b|÷/gi, "/"],
  [/\bmultiplied by\b|\btimes\b|[×·]/gi, "*"],
  [/(?<=[\d)])\s*x\s*(?=[\d(])/gi, "*"],
  [/\bplus\b/gi, "+"],
  [/\bminus\b|[−–]/gi, "-"],
  [/\bto the power of\b|\*\*/gi, "^"],
  [/\bsquared\b|²/gi, "^2"],
  [/\bcubed\b|³/gi, "^3"]
]

const words: { readonly [word: string]: string } = {
  zero: "0",
  one: "1",
  two: "2",
  three: "3",
  four: "4",
  five: "5",
  six: "6",
  seven: "7",
  eight: "8",
  nine: "9",
  ten: "10",
  eleven: "11",
  twelve: "12",
  thirteen: "13",
  fourteen: "14",
  fifteen: "15",
  sixteen: "16",
  seventeen: "17",
  eighteen: "18",
  nineteen: "19",
  twenty: "20",
  thirty: "30",
  forty: "40",
  fifty: "50",
  sixty: "60",
  seventy: "70",
  eighty: "80",
  ninety: "90",
  hundred: "100",
  thousand: "1000",
  million: "1000000"
}

/** The one expression that `text` states, and its value; `undefined` when there is none, or more than one. */
export const arithmetic = (text: string): { readonly expression: string; readonly value: number } | undefined => {
  if (text.length > 500) return undefined
  let out = text.replace(/(?<=\d),(?=\d{3}(?!\d))/g, "")
  for (const [pattern, operator] of phrases) out = out.replace(pattern, ` ${operator} `)
  out = out.replace(/\b[a-z]+\b/gi, (word) =>
    Object.hasOwn(words, word.toLowerCase()) ? (words[word.toLowerCase()] ?? word) : word
  )
  const percent = /(\d+(?:\.\d+)?)\s*(?:%|percent)\s+of\s+[$€£]?(\d+(?:\.\d+)?)/i.exec(out)
  if (percent !== null)
    return finite(`${percent[1]}% of ${percent[2]}`, (Number(percent[1]) / 100) * Number(percent[2]))
  const root = /(?:square root of|sqrt\s*\(?|√)\s*(\d+(?:\.\d+)?)/i.exec(out)
  if (root !== null) return finite(`√${root[1]}`, Math.sqrt(Number(root[1])))
  const found = out.match(/[-(\s]*\d[\d.]*[)\s]*(?:[-+*/^%][-(\s]*\d[\d.]*[)\s]*)+/g)?.map((item) => item.trim()) ?? []
  if (found.length !== 1) return undefined
  const expression = found[0] ?? ""
  if (/^\d{4}-\d{1,2}-\d{1,2}$|^\d{1,2}\/\d{1,2}(?:\/\d{2,4})?$|^\d[\d-]{6,}$/.test(expression)) return undefined
  // A dash between numbers in a sentence is a range more often than a difference.
  if (
    /^\d+\s*-\s*\d+$/.test(expression) &&
    !/[?=]|\b(?:what|calculate|compute|evaluate|minus|subtract)\b/i.test(text) &&
    text.trim().length > expression.length + 3
  )
    return undefined
  const value = evaluate(expression)
  return value === undefined ? undefined : finite(expression.replace(/\s+/g, " "), value)
}

const finite = (expression: string, value: number) =>
  Number.isFinite(value) ? { expression, value: Number(value.toPrecision(14)) } : undefined

/** Precedence climbing over + - * / % ^ and parentheses. */
export const evaluate = (expression: string): number | undefined => {
  const tokens = expression.match(/\d+(?:\.\d+)?|[-+*/^%()]/g) ?? []
  if (tokens.join("") !== expression.replace(/\s+/g, "")) return undefined
  let at = 0
  let depth = 0
  const levels: ReadonlyArray<string> = ["+-", "*/%"]
  const level = (i: number): number => {
    const operators = levels[i]
    if (operators === undefined) return power()
    let left = level(i + 1)
    while (tokens[at] !== undefined && operators.includes(tokens[at] ?? "")) {
      const operator = tokens[at++]
      const right = level(i + 1)
      left =
        operator === "+"
          ? left + right
          : operator === "-"
            ? left - right
            : operator === "*"
              ? left * right
              : operator === "/"
                ? left / right
                : left % right
    }
    return left
  }
  const power = (): number => {
    const base = atom()
    if (tokens[at] !== "^") return base
    at++
    return base ** power()
  }
  const atom = (): number => {
    if (++depth > 200) throw new Error("too deep")
    const token = tokens[at++]
    if (token === "-") return -power()
    if (token === "+") return power()
    if (token === "(") {
      const inner = level(0)
      if (tokens[at++] !== ")") throw new Error("unbalanced")
      return inner
    }
    if (token === undefined || !/^\d/.test(token)) throw new Error("operand")
    return Number(token)
  }
  try {
    const value = level(0)
    return at === tokens.length ? value : undefined
  } catch {
    return undefined
  }
}
