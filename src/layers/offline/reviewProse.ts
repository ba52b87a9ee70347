/** Checks of prose: sentences, words, figures of speech, acronyms, spelling. Pure and linear. */
import type { Check, Reviewed } from "./review.ts"
import { clip, lines, sentences, words } from "./text.ts"

const lineFinder = (document: Reviewed): ((index: number) => number) => {
  const starts = lines(document.text).map((line) => line.index)
  return (index) => {
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((starts[middle] ?? 0) <= index) low = middle
      else high = middle - 1
    }
    return low + 1
  }
}

const perLine = (
  pattern: RegExp,
  message: (match: RegExpMatchArray) => string | undefined,
  severity: "error" | "warning" | "note"
): Check["run"] =>
  function* (document) {
    for (const line of document.lines) {
      if (line.code) continue
      for (const match of line.text
        .slice(0, 5_000)
        .replace(/`[^`]*`/g, (code) => " ".repeat(code.length))
        .matchAll(pattern)) {
        const text = message(match)
        if (text !== undefined) yield { line: line.number, message: text, severity }
      }
    }
  }

const participles =
  "(?:\\w{2,}ed|been|born|brought|built|bought|caught|chosen|done|drawn|driven|found|forgotten|given|held|kept|known|led|left|lost|made|meant|met|paid|put|read|run|said|seen|sent|set|shown|sold|spent|taken|taught|told|thought|understood|won|written)"
const notPassive =
  /\b(?:interested|tired|excited|supposed|used|related|limited|need|indeed|based|advanced|complicated|detailed|red|bed)\b/i

const misspelled: { readonly [wrong: string]: string } = {
  teh: "the",
  recieve: "receive",
  recieved: "received",
  seperate: "separate",
  seperately: "separately",
  definately: "definitely",
  occured: "occurred",
  occurence: "occurrence",
  untill: "until",
  wich: "which",
  becuase: "because",
  adress: "address",
  accomodate: "accommodate",
  acheive: "achieve",
  beleive: "believe",
  calender: "calendar",
  commited: "committed",
  dependancy: "dependency",
  enviroment: "environment",
  existance: "existence",
  goverment: "government",
  independant: "independent",
  neccessary: "necessary",
  noticable: "noticeable",
  paramater: "parameter",
  paramaters: "parameters",
  persistant: "persistent",
  posible: "possible",
  prefered: "preferred",
  recomend: "recommend",
  refered: "referred",
  relevent: "relevant",
  responce: "response",
  succesful: "successful",
  succesfully: "successfully",
  suprise: "surprise",
  tommorow: "tomorrow",
  truely: "truly",
  wierd: "weird",
  writting: "writing",
  thier: "their",
  freind: "friend",
  alot: "a lot",
  begining: "beginning",
  comming: "coming",
  happend: "happened",
  lenght: "length",
  heigth: "height",
  maintainance: "maintenance",
  publically: "publicly",
  similiar: "similar",
  usefull: "useful",
  langauge: "language",
  fucntion: "function",
  retrun: "return",
  mispell: "misspell",
  arguement: "argument",
  concious: "conscious",
  embarass: "embarrass",
  grammer: "grammar",
  knowlege: "knowledge",
  liason: "liaison",
  millenium: "millennium",
  ocasion: "occasion",
  priviledge: "privilege",
  rythm: "rhythm",
  supercede: "supersede",
  threshhold: "threshold",
  visable: "visible"
}

const weak =
  /\b(?:very|really|quite|basically|actually|simply|just|obviously|clearly|extremely|somewhat|fairly|literally)\b/gi
const wordy: { readonly [phrase: string]: string } = {
  "in order to": "to",
  "due to the fact that": "because",
  "at this point in time": "now",
  "in the event that": "if",
  "a large number of": "many",
  "with regard to": "about",
  "for the purpose of": "for",
  "in spite of the fact that": "although",
  "has the ability to": "can",
  utilize: "use",
  utilise: "use",
  "prior to": "before",
  "subsequent to": "after",
  leverage: "use",
  "it is important to note that": "nothing",
  "as a matter of fact": "in fact",
  "each and every": "each",
  "in the near future": "soon"
}
const wordyPattern = new RegExp(`\\b(?:${Object.keys(wordy).join("|")})\\b`, "gi")
const knownAcronyms = new Set(
  "API URL HTTP HTTPS HTML CSS JSON XML SQL PDF USA UK EU US UN ID OK TODO FIXME FAQ CEO CPU GPU RAM USB GPS AI IT TV PC AM PM UTC GMT README MIT ISO SSH TLS SSL CLI UI UX IDE OS YAML TOML CSV DNS IP TCP UDP REST NOTE WARNING TIP".split(
    " "
  )
)

/** The checks of prose. */
export const proseChecks: ReadonlyArray<Check> = [
  {
    kind: "long sentence",
    aspects: ["clarity"],
    *run(document) {
      if (document.isCode) return
      const lineOf = lineFinder(document)
      for (const sentence of sentences(document.text)) {
        const count = words(sentence.text.slice(0, 4_000)).length
        if (count > 30)
          yield {
            line: lineOf(sentence.index),
            message: `${count} words: "${clip(sentence.text, 70)}"`,
            severity: count > 45 ? "warning" : "note"
          }
      }
    }
  },
  {
    kind: "passive voice",
    aspects: ["style"],
    run: perLine(
      new RegExp(`\\b(?:is|are|was|were|be|been|being)\\s+(?:\\w+ly\\s+)?${participles}\\b`, "gi"),
      (match) => (notPassive.test(match[0]) ? undefined : `"${match[0]}"`),
      "note"
    )
  },
  {
    kind: "repeated word",
    aspects: ["spelling", "style"],
    run: perLine(
      /(?<![\p{L}\p{N}-])(\p{L}+)\s+\1(?![\p{L}\p{N}-])/giu,
      (match) => (/^(?:that|had|bye|blah|ha|no|very)$/i.test(match[1] ?? "") ? undefined : `"${match[0]}"`),
      "warning"
    )
  },
  {
    kind: "misspelling",
    aspects: ["spelling"],
    run: perLine(
      /[a-z]{3,20}/gi,
      (match) =>
        Object.hasOwn(misspelled, match[0].toLowerCase())
          ? `"${match[0]}", perhaps "${misspelled[match[0].toLowerCase()]}"`
          : undefined,
      "error"
    )
  },
  {
    kind: "punctuation",
    aspects: ["spelling"],
    run: perLine(
      /\s[,;](?=\s|$)|[,;]{2,}|(?<=\p{Ll})[,;](?=\p{L}{2})|[!?]{3,}/gu,
      (match) => `"${match[0].trim() === "" ? match[0] : match[0].trim()}" at column ${(match.index ?? 0) + 1}`,
      "note"
    )
  },
  {
    kind: "small letter at the start of a sentence",
    aspects: ["spelling"],
    run: perLine(
      /(?<=\p{L}{2}[.!?]\s)\p{Ll}[\p{L}']*/gu,
      (match) =>
        /\b(?:e\.g|i\.e|vs|etc)\.\s$/.test((match.input ?? "").slice(Math.max(0, (match.index ?? 0) - 6), match.index))
          ? undefined
          : `"${match[0]}"`,
      "note"
    )
  },
  { kind: "weak word", aspects: ["style"], run: perLine(weak, (match) => `"${match[0]}" can often go`, "note") },
  {
    kind: "wordy phrase",
    aspects: ["clarity", "style"],
    run: perLine(
      wordyPattern,
      (match) => {
        const plain = wordy[match[0].toLowerCase()]
        return plain === "nothing" ? `"${match[0]}" can go` : `"${match[0]}", in short "${plain}"`
      },
      "note"
    )
  },
  {
    kind: "undefined acronym",
    aspects: ["clarity"],
    *run(document) {
      const seen = new Set<string>()
      for (const line of document.lines) {
        if (line.code) continue
        for (const match of line.text
          .slice(0, 5_000)
          .matchAll(/(?<![\p{L}\p{N}_`/#.-])\p{Lu}{2,6}(?![\p{L}\p{N}_`/.-]\p{L}|[\p{L}\p{N}_`])/gu)) {
          const acronym = match[0]
          if (seen.size > 100 || seen.has(acronym) || knownAcronyms.has(acronym) || /^[IVXLCDM]+$/.test(acronym))
            continue
          seen.add(acronym)
          const defined =
            document.text.includes(`(${acronym})`) ||
            document.text.includes(`${acronym} (`) ||
            new RegExp(`\\b${acronym}\\b\\s+(?:is|means|stands for)\\b`).test(document.text)
          if (!defined && line.text !== line.text.toUpperCase())
            yield { line: line.number, message: `${acronym} is not spelled out`, severity: "note" }
        }
      }
    }
  },
  {
    kind: "open question mark",
    aspects: ["correctness"],
    run: perLine(
      /\b(?:TBD|TBA|XXX|\?\?\?|lorem ipsum)|\[(?:citation needed|insert[^\]]{0,40}|todo[^\]]{0,40})\]/gi,
      (match) => `"${match[0]}" stands for something missing`,
      "warning"
    )
  },
  {
    kind: "claim without a source",
    aspects: ["correctness"],
    run: perLine(
      /\b(?:studies show|research shows|experts (?:say|agree)|everyone knows|it is well known|it is said|some say)\b/gi,
      (match) => `"${match[0]}" names no source`,
      "note"
    )
  },
  {
    kind: "absolute claim",
    aspects: ["correctness"],
    run: perLine(
      /\b(?:always|never|guaranteed?|impossible|100\s?%|all users|no one|everyone)\b/gi,
      (match) => `"${match[0]}" has to hold without exception`,
      "note"
    )
  }
]
