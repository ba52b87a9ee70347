/** Finds secrets and personal data in texts. All patterns take time in proportion to the text. */
import * as Regex from "effect/RegExp"
import * as Scrubber from "../../../internal/scrubber.ts"

/** Gives what stands in the place of a value, by the name of its kind. */
export type Replace = (name: string, value: string) => string

/** Finds what is not to be sent. */
export interface Finder {
  /** The text, with what is found in it replaced. */
  readonly replace: (text: string, replace: Replace) => string
  /** Whether the whole value of a field is secret, by its name. */
  readonly isSecretField: (name: string, value: string) => boolean
}

interface Form {
  readonly name: string
  readonly pattern: RegExp
  readonly isFit?: (value: string) => boolean
}

const digitsOf = (text: string): string => text.replace(/\D/g, "")

/** The check digit of card numbers (Luhn). */
const isCard = (text: string): boolean => {
  const digits = digitsOf(text)
  if (digits.length < 13 || digits.length > 19) return false
  let sum = 0
  for (let at = 0; at < digits.length; at++) {
    let digit = Number(digits[digits.length - 1 - at])
    if (at % 2 === 1) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2
    sum += digit
  }
  return sum % 10 === 0 && !/^(\d)\1*$/.test(digits)
}

/** The check digits of bank numbers (ISO 13616). */
const isIban = (text: string): boolean => {
  const plain = text.replace(/\s/g, "").toUpperCase()
  if (plain.length < 15 || plain.length > 34) return false
  const moved = plain.slice(4) + plain.slice(0, 4)
  let rest = 0
  for (const one of moved) rest = Number(`${rest}${Number.parseInt(one, 36)}`) % 97
  return rest === 1
}

const isPhone = (text: string): boolean => {
  const { length } = digitsOf(text)
  return length >= 8 && length <= 15
}

const forms: Readonly<Record<string, ReadonlyArray<Form>>> = {
  email: [
    {
      name: "EMAIL",
      pattern: /(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}/g
    }
  ],
  iban: [{ name: "IBAN", pattern: /\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b/g, isFit: isIban }],
  card: [{ name: "CARD", pattern: /(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d.-]\d)/g, isFit: isCard }],
  phone: [
    {
      name: "PHONE",
      pattern:
        /(?<![\w.+-])(?:\+\d{1,3}[ ./-]?|0(?=[\d (]))(?:\(\d{1,5}\)[ ./-]?)?\d{2,5}(?:[ ./-]?\d{2,5}){1,4}(?![\w-])/g,
      isFit: isPhone
    }
  ]
}

const nameOf = (text: string): string => text.toUpperCase().replace(/[^A-Z0-9]+/g, "_") || "VALUE"

/** A placeholder, or a text that looks like one. */
export const placeholders = /\[[A-Z0-9_]+_\d+\]/g
const isPlaceholder = (text: string): boolean => text.replace(placeholders, "") === ""

const scrubber = Scrubber.make()

/** Replaces what looks like a key, and what stands next to a name that says so. */
const replaceKeys = (text: string, replace: Replace): string => {
  let safe = ""
  let done = 0
  for (const [from, to] of scrubber.find(text)) {
    const value = text.slice(from, to)
    if (isPlaceholder(value)) continue
    safe += text.slice(done, from) + replace("KEY", value)
    done = to
  }
  return safe + text.slice(done)
}

/** Makes a finder. Secrets go first, then the patterns of the program, keys, and the other forms in their order. */
export const finder = (options: {
  readonly secrets: ReadonlyArray<string>
  readonly kinds: ReadonlyArray<string>
  readonly patterns: Readonly<Record<string, RegExp>>
}): Finder => {
  const all: Array<Form> = []
  // A longer secret may have a shorter one in it.
  const secrets = options.secrets.toSorted((a, b) => b.length - a.length).map(Regex.escape)
  if (secrets.length > 0) all.push({ name: "SECRET", pattern: new RegExp(secrets.join("|"), "g") })
  for (const [name, pattern] of Object.entries(options.patterns)) {
    const flags = new Set(`${pattern.flags}g`.replace("y", ""))
    all.push({ name: nameOf(name), pattern: new RegExp(pattern, [...flags].join("")) })
  }
  const others: Array<Form> = []
  for (const kind of ["email", "iban", "card", "phone"]) {
    if (options.kinds.includes(kind)) others.push(...forms[kind]!)
  }
  const hasKeys = options.kinds.includes("key")
  return {
    replace: (text, replace) => {
      const rest = replaceForms(all, text, replace)
      return replaceForms(others, hasKeys ? replaceKeys(rest, replace) : rest, replace)
    },
    isSecretField: (name, value) => hasKeys && !isPlaceholder(value) && Scrubber.isSecretField(name, value)
  }
}

const replaceForms = (forms: ReadonlyArray<Form>, text: string, replace: Replace): string =>
  forms.reduce(
    (rest, { isFit, name, pattern }) =>
      rest.replace(pattern, (value) => (isFit?.(value) === false ? value : replace(name, value))),
    text
  )
