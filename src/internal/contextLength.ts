/** The words by which servers say that a conversation is longer than their model's window. */

const said =
  /context.?(length|window|size)|maximum context|(model|prompt) length (of|is) \d|model token limit|number of tokens allowed|max_new_tokens. must be|(prompt|input) is too long/i
/** These words mean it only in a refusal: servers written in Go say "context" of deadlines. */
const saidLoosely = /too many tokens|exceed.{0,40}context|reduce the length of the messages|input length.{0,40}exceed/i

/** True for words that say so, with any status. */
export const isSaid = (words: string): boolean => said.test(words)

/** True for words that say so of a request that was refused. */
export const isSaidInRefusal = (words: string): boolean => said.test(words) || saidLoosely.test(words)

const sizes = [
  /(?:maximum context length|context length|context window|context size|model length|token limit)\D{0,40}?(\d[\d,]{2,})/i,
  /(?:exceed|greater than|larger than|more than|limit)\D{0,60}?(?:context|window|limit|size|length)\D{0,30}?(\d[\d,]{2,})/i,
  /(?:>|maximum of|limit of|limit is|at most|n_ctx\D{0,4})\s*(\d[\d,]{2,})/i
]

/** How many tokens the window has, by those words; `undefined` where they do not say it. */
export const sizeIn = (words: string): number | undefined => {
  for (const size of sizes) {
    const found = size.exec(words)?.[1]
    if (found !== undefined) return Number(found.replaceAll(",", ""))
  }
  return undefined
}
