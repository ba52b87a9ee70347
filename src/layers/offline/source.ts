/** What the values of a JSON schema are taken from, and how a property's name says what to look for. Pure. */
import type { Facts, Fact } from "./facts.ts"
import { overlaps } from "./facts.ts"
import type { Finding } from "./review.ts"
import type { Ranked } from "./rank.ts"
import type { Schema } from "./schema.ts"
import { identifierWords } from "./text.ts"

export interface Source {
  /** `arguments`: only what the text says. `output`: a value for everything. */
  readonly mode: "arguments" | "output"
  readonly root: Schema
  readonly facts: Facts
  /** The text that values are taken from. */
  readonly text: string
  /** What is asked, apart from the text. */
  readonly task: string
  /** The system messages. */
  readonly instructions: string
  /** The stems of the tool's name, which a query does not repeat. */
  readonly toolStems: ReadonlySet<string>
  /** The stems of all that is said of the tool. */
  readonly knownStems: ReadonlySet<string>
  /** Numbers that tools have given, taken before those of the text. */
  readonly given: Array<number>
  /** Facts already taken. */
  readonly used: Array<Fact>
  readonly ranked: () => Ranked
  readonly findings: () => ReadonlyArray<Finding>
  /** A plain answer to the task. */
  readonly answer: () => string
}

export interface Property {
  readonly name: string
  readonly description: string
  readonly required: boolean
  /** The names of the properties beside it. */
  readonly siblings: ReadonlyArray<string>
}

export type Role =
  | "email"
  | "url"
  | "path"
  | "phone"
  | "date"
  | "time"
  | "person"
  | "place"
  | "organization"
  | "currency"
  | "unit"
  | "language"
  | "code"
  | "expression"
  | "query"
  | "body"
  | "title"
  | "from"
  | "to"
  | "summary"
  | "reason"
  | "answer"
  | "keyword"
  | "quote"
  | "sentiment"
  | "finding"
  | "name"
  | "symbol"
  | "none"

const roles: ReadonlyArray<readonly [Role, RegExp]> = [
  ["email", /\b(?:e ?mail|emails|email address|recipient|cc|bcc|reply to)\b/],
  ["url", /\b(?:url|uri|link|href|website|webpage|homepage|endpoint|urls|links)\b/],
  ["path", /\b(?:path|file|filename|file name|filepath|directory|folder|dir|paths|files)\b/],
  ["phone", /\b(?:phone|telephone|mobile|fax|phone number)\b/],
  [
    "date",
    /\b(?:date|day|deadline|when|due|birthday|dob|check in|check out|checkin|checkout|arrival|departure date|start date|end date|since|until|dates|datetime|timestamp)\b/
  ],
  ["time", /\b(?:time|hour|at)\b/],
  [
    "person",
    /\b(?:person|people|author|employee|attendee|attendees|participants?|contact|assignee|owner|passenger|patient|first name|last name|full name|surname|guest name|customer name|user name|names of people|speaker|signatory|recipient name)\b/
  ],
  [
    "place",
    /\b(?:place|city|cities|town|location|country|countries|destination|address|region|state|venue|places|origin)\b/
  ],
  [
    "organization",
    /\b(?:organi[sz]ations?|company|companies|employer|vendor|supplier|brand|institution|merchant|client)\b/
  ],
  ["currency", /\b(?:currency|currencies)\b/],
  ["language", /\b(?:language|languages|lang|locale|target language|source language)\b/],
  ["unit", /\b(?:unit|units)\b/],
  ["symbol", /\b(?:symbol|ticker)\b/],
  ["expression", /\b(?:expression|formula|equation)\b/],
  [
    "code",
    /\b(?:id|ids|identifier|uuid|sku|reference|ref|code|key|number|ticket|order number|order id|account|version|invoice)\b/
  ],
  ["title", /\b(?:title|heading|headline|subject|label)\b/],
  ["summary", /\b(?:summary|abstract|overview|tldr|synopsis|gist|digest|recap|conclusion)\b/],
  [
    "reason",
    /\b(?:reason|reasons|explanation|rationale|justification|reasoning|why|evidence|comment|comments|notes?|analysis|thought|thoughts|explain)\b/
  ],
  [
    "finding",
    /\b(?:finding|findings|issues?|problems?|suggestions?|feedback|observations?|violations?|improvements?|critique|weaknesses|recommendations?)\b/
  ],
  ["answer", /\b(?:answer|response|reply|result|output|solution|value|final)\b/],
  ["keyword", /\b(?:keywords?|tags?|topics?|themes?|terms?|entities)\b/],
  ["query", /\b(?:query|q|question|search|prompt|request|task|instruction|instructions|goal|objective)\b/],
  [
    "body",
    /\b(?:body|text|message|content|input|string|sentence|paragraph|note|description|document|snippet|data|word|words|phrase|quote)\b/
  ],
  ["name", /\bname\b|\bnames\b/]
]

/** What kind of text a property wants: by its name, or else by its description. */
export const roleOf = (property: Property, format: string | undefined): Role => {
  if (format === "email" || format === "idn-email") return "email"
  if (format === "uri" || format === "url" || format === "iri") return "url"
  if (format === "date" || format === "date-time") return "date"
  if (format === "time") return "time"
  if (format === "uuid") return "code"
  const list = identifierWords(property.name)
  const name = list.join(" ")
  if (/^(?:from|source|origin|src)\b/.test(name) && list.length <= 2)
    return /date|day|time/.test(name)
      ? "date"
      : /lang/.test(name)
        ? "language"
        : /city|place/.test(name)
          ? "place"
          : "from"
  if (/^(?:to|target|dest|into)\b/.test(name) && list.length <= 2)
    return /date|day|time/.test(name) ? "date" : /email/.test(property.description) ? "email" : "to"
  // The last word is what it is: an "order id" is an id, a "file name" a name of a file.
  const last = list[list.length - 1] ?? ""
  if (/^ids?$/.test(last)) return "code"
  const byName = roles.find(([, pattern]) => pattern.test(name))
  if (byName !== undefined && !(byName[0] === "body" && /email/.test(name))) return byName[0]
  const description = property.description.toLowerCase().slice(0, 300)
  return roles.find(([role, pattern]) => role !== "time" && role !== "code" && pattern.test(description))?.[0] ?? "none"
}

/** The first facts that nothing has taken yet. */
export const free = <A extends Fact>(items: ReadonlyArray<A>, source: Source): ReadonlyArray<A> =>
  items.filter((item) => !source.used.some((other) => overlaps(item, other)))

/** Marks a fact as taken. */
export const take = <A extends Fact>(fact: A | undefined, source: Source): A | undefined => {
  if (fact !== undefined) source.used.push(fact)
  return fact
}
