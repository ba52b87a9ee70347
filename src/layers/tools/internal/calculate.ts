/**
 * Arithmetic on expressions that a model wrote. The parser is jsep's, numbers are decimal.js's; only the functions that are
 * listed here are ever called.
 */
import { Decimal } from "decimal.js"
import jsep from "jsep"
import { messageOf } from "../../../internal/message.ts"

/** Why an expression has no value. */
export class NoValue extends Error {}

/** The longest expression, in characters. */
export const maxLength = 1000

/** How many digits numbers have. */
const precision = 40

// Beyond these exponents a number counts as too large, and no single operation takes long.
const Num = Decimal.clone({ precision, maxE: 5000, minE: -5000, toExpPos: 40, toExpNeg: -15 })
type Num = Decimal

const constants: Readonly<Record<string, Num>> = {
  pi: new Num("3.141592653589793238462643383279502884197"),
  tau: new Num("6.283185307179586476925286766559005768394"),
  e: new Num("2.718281828459045235360287471352662497757")
}

/** Functions without an exact decimal form are those of the machine's numbers, whose last digits mean nothing. */
const fromMachine = (value: number): Num => {
  if (Number.isNaN(value)) throw new NoValue("a function is not defined there")
  if (!Number.isFinite(value)) throw new NoValue("the result is too large")
  return Math.abs(value) < 1e-15 ? new Num(0) : new Num(value.toPrecision(15))
}
const machine =
  (f: (...args: ReadonlyArray<number>) => number) =>
  (...args: ReadonlyArray<Num>): Num =>
    fromMachine(f(...args.map((arg) => arg.toNumber())))

const integer = (value: Num, most: number): number => {
  if (!value.isInteger() || value.isNegative() || value.greaterThan(most)) {
    throw new NoValue(`an integer from 0 to ${most} is needed`)
  }
  return value.toNumber()
}

const power = (base: Num, exponent: Num): Num =>
  exponent.isInteger() ? base.pow(exponent) : machine((a, b) => a! ** b!)(base, exponent)

/** The digits that a larger number has lost make all of a remainder. */
const whole = (value: Num): Num => {
  if (value.abs().lessThan(new Num(10).pow(precision))) return value
  throw new NoValue(`a number has more than ${precision} digits, and a remainder needs them all`)
}

const remainder = (a: Num, b: Num): Num => {
  if (b.isZero()) throw new NoValue("something is divided by zero")
  return whole(a).mod(whole(b))
}

const gcd = (a: Num, b: Num): Num => {
  let [x, y] = [whole(a).abs(), whole(b).abs()]
  if (!x.isInteger() || !y.isInteger()) throw new NoValue("integers are needed")
  while (!y.isZero()) [x, y] = [y, x.mod(y)]
  return x
}

const sum = (...args: ReadonlyArray<Num>): Num => args.reduce((a, b) => a.plus(b), new Num(0))

interface Fn {
  readonly least: number
  readonly most: number
  readonly run: (...args: ReadonlyArray<Num>) => Num
}
const fn = (least: number, most: number, run: Fn["run"]): Fn => ({ least, most, run })
const one = (run: (arg: Num) => Num): Fn => fn(1, 1, (arg) => run(arg!))
const many = 100

const functions: Readonly<Record<string, Fn>> = {
  abs: one((x) => x.abs()),
  acos: one(machine((x) => Math.acos(x!))),
  asin: one(machine((x) => Math.asin(x!))),
  atan: one(machine((x) => Math.atan(x!))),
  atan2: fn(
    2,
    2,
    machine((y, x) => Math.atan2(y!, x!))
  ),
  cbrt: one(machine((x) => Math.cbrt(x!))),
  ceil: one((x) => x.ceil()),
  cos: one(machine((x) => Math.cos(x!))),
  deg: one((x) => x.times(180).div(constants["pi"]!)),
  exp: one(machine((x) => Math.exp(x!))),
  factorial: one((x) => {
    let product = new Num(1)
    for (let n = integer(x, 1000); n > 1; n--) product = product.times(n)
    return product
  }),
  floor: one((x) => x.floor()),
  gcd: fn(2, 2, (a, b) => gcd(a!, b!)),
  group: one((x) => x),
  lcm: fn(2, 2, (a, b) => (a!.isZero() || b!.isZero() ? new Num(0) : a!.div(gcd(a!, b!)).times(b!).abs())),
  ln: one(machine((x) => Math.log(x!))),
  log: fn(1, 2, (x, base) =>
    base === undefined ? machine((x) => Math.log10(x!))(x!) : machine((x, b) => Math.log(x!) / Math.log(b!))(x!, base)
  ),
  log10: one(machine((x) => Math.log10(x!))),
  log2: one(machine((x) => Math.log2(x!))),
  max: fn(1, many, (...args) => Num.max(...args)),
  mean: fn(1, many, (...args) => sum(...args).div(args.length)),
  min: fn(1, many, (...args) => Num.min(...args)),
  mod: fn(2, 2, (a, b) => remainder(a!, b!)),
  pow: fn(2, 2, (a, b) => power(a!, b!)),
  rad: one((x) => x.times(constants["pi"]!).div(180)),
  round: fn(1, 2, (x, digits) => x!.toDecimalPlaces(digits === undefined ? 0 : integer(digits, 100))),
  sign: one((x) => new Num(x.isZero() ? 0 : x.isNegative() ? -1 : 1)),
  sin: one(machine((x) => Math.sin(x!))),
  sqrt: one((x) => x.sqrt()),
  sum: fn(1, many, sum),
  tan: one(machine((x) => Math.tan(x!))),
  trunc: one((x) => x.trunc())
}

/** The functions, for the tool's description. */
export const names: ReadonlyArray<string> = Object.keys(functions).filter((name) => name !== "group")

const operators: Readonly<Record<string, (a: Num, b: Num) => Num>> = {
  "+": (a, b) => a.plus(b),
  "-": (a, b) => a.minus(b),
  "*": (a, b) => a.times(b),
  "/": (a, b) => {
    if (b.isZero()) throw new NoValue("something is divided by zero")
    return a.div(b)
  },
  "%": remainder,
  "**": power
}

const own = <A>(record: Readonly<Record<string, A>>, name: string): A | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined

const evaluate = (node: jsep.Expression): Num => {
  const value = valueOf(node)
  if (value.isNaN()) throw new NoValue("a function is not defined there")
  if (!value.isFinite()) throw new NoValue("a number is too large")
  return value
}

const valueOf = (node: jsep.Expression): Num => {
  switch (node.type) {
    case "Literal":
      if (typeof node["value"] !== "number") throw new NoValue("only numbers can be calculated with")
      return new Num(String(node["raw"]))
    case "Identifier": {
      const name = String(node["name"])
      const constant = own(constants, name.toLowerCase())
      if (constant === undefined)
        throw new NoValue(`there is no constant "${name}"; there are ${Object.keys(constants).join(", ")}`)
      return constant
    }
    case "UnaryExpression": {
      const { argument, operator } = node as jsep.UnaryExpression
      if (operator === "-") return evaluate(argument).negated()
      if (operator === "+") return evaluate(argument)
      throw new NoValue(`there is no operator ${operator}`)
    }
    case "BinaryExpression": {
      const { left, operator, right } = node as jsep.BinaryExpression
      // In mathematics -2^2 is -(2^2); with brackets the left side is a group.
      if (operator === "**" && left.type === "UnaryExpression") {
        const { argument, operator: sign } = left as jsep.UnaryExpression
        const inner: jsep.BinaryExpression = { type: "BinaryExpression", operator, left: argument, right }
        return valueOf({ type: "UnaryExpression", operator: sign, argument: inner, prefix: true })
      }
      const apply = own(operators, operator)
      if (apply === undefined) throw new NoValue(`there is no operator ${operator}; ^ is a power`)
      return apply(evaluate(left), evaluate(right))
    }
    case "CallExpression": {
      const { arguments: args, callee } = node as jsep.CallExpression
      if (callee.type !== "Identifier") throw new NoValue("write every multiplication with *")
      const name = String(callee["name"])
      const found = own(functions, name.toLowerCase())
      if (found === undefined) throw new NoValue(`there is no function "${name}"; there are ${names.join(", ")}`)
      if (args.length < found.least || args.length > found.most) {
        throw new NoValue(`${name} does not take ${args.length} arguments`)
      }
      return found.run(...args.map(evaluate))
    }
    case "Compound":
      throw new NoValue("it is not one expression; write numbers without separators, and every multiplication with *")
    default:
      throw new NoValue("it is not arithmetic")
  }
}

const typographic: Readonly<Record<string, string>> = { "×": "*", "·": "*", "÷": "/", "−": "-", π: "pi", "^": "**" }

/** `5!` as a call, which the parser knows. */
const withFactorials = (text: string): string => {
  let made = ""
  for (let at = 0; at < text.length; at++) {
    const start = text[at] === "!" && text[at + 1] !== "=" ? operandStart(made) : undefined
    if (start === undefined) {
      made += text[at]
      continue
    }
    if (/^\s*!/.test(text.slice(at + 1))) throw new NoValue("write each factorial as factorial(n)")
    made = `${made.slice(0, start)}factorial(${made.slice(start)})`
  }
  return made
}

/** Where the operand begins that a text ends with: a number, a name, or brackets with the name of a function. */
const operandStart = (text: string): number | undefined => {
  const before = text.trimEnd()
  if (!before.endsWith(")")) return /(?:\d[\d.]*(?:e[+-]?\d+)?|\.\d+|[a-z_]\w*)$/i.exec(before)?.index
  let depth = 0
  for (let at = before.length - 1; at >= 0; at--) {
    if (before[at] === ")") depth++
    else if (before[at] === "(" && --depth === 0) return /\w*\s*$/.exec(before.slice(0, at))!.index
  }
  return undefined
}

/** The value of an expression: exact where decimals are, else to 20 significant digits. Throws {@link NoValue}. */
export const calculate = (expression: string): string => {
  if (expression.length > maxLength) throw new NoValue(`it is longer than ${maxLength} characters`)
  const text = withFactorials(expression.replace(/[×·÷−π^]/g, (sign) => typographic[sign]!))
    // Brackets leave no trace in the parser's tree, and -2^2 is not (-2)^2.
    .replace(/(^|[-+*/%(,])(\s*)(?=\()/g, "$1$2group")
  let tree: jsep.Expression
  try {
    tree = jsep(text)
  } catch (error) {
    throw new NoValue(`it cannot be read: ${messageOf(error)}`)
  }
  const value = evaluate(tree)
  return value.isInteger() && value.abs().lessThan("1e40") ? value.toFixed(0) : value.toSignificantDigits(20).toString()
}
