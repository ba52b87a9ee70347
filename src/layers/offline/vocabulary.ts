/** Currencies and languages as texts name them. Pure. */
import type { Fact } from "./facts.ts"

const currencies: { readonly [mark: string]: string } = {
  $: "USD",
  "€": "EUR",
  "£": "GBP",
  "¥": "JPY",
  "₹": "INR",
  dollar: "USD",
  dollars: "USD",
  euro: "EUR",
  euros: "EUR",
  pound: "GBP",
  pounds: "GBP",
  yen: "JPY",
  rupee: "INR",
  rupees: "INR",
  franc: "CHF",
  francs: "CHF",
  real: "BRL",
  reais: "BRL",
  yuan: "CNY",
  won: "KRW",
  krona: "SEK",
  krone: "NOK",
  peso: "MXN",
  pesos: "MXN"
}
const codePattern =
  /\b(?:USD|EUR|GBP|JPY|INR|CHF|BRL|CNY|KRW|SEK|NOK|DKK|MXN|CAD|AUD|NZD|SGD|HKD|ZAR|PLN|CZK|HUF|TRY|ILS|THB|AED|BTC|ETH)\b/gi

/** The currencies named, as ISO 4217 codes, in order. */
export const currencyFacts = (text: string): Array<Fact> => {
  const found = [...text.matchAll(codePattern)].map((match) => ({
    text: match[0].toUpperCase(),
    start: match.index,
    end: match.index + match[0].length
  }))
  for (const match of text.matchAll(/[$€£¥₹]|\b[a-z]+\b/gi)) {
    const code = Object.hasOwn(currencies, match[0].toLowerCase()) ? currencies[match[0].toLowerCase()] : undefined
    if (code !== undefined) found.push({ text: code, start: match.index, end: match.index + match[0].length })
  }
  return found.toSorted((a, b) => a.start - b.start)
}

/** Names of languages. */
export const languages =
  /\b(?:english|french|german|spanish|portuguese|italian|dutch|swedish|norwegian|danish|finnish|polish|czech|russian|ukrainian|turkish|greek|arabic|hebrew|hindi|bengali|chinese|mandarin|cantonese|japanese|korean|vietnamese|thai|indonesian|malay|latin|romanian|hungarian|bulgarian|serbian|croatian|catalan|irish|welsh|persian|urdu|swahili)\b/gi
