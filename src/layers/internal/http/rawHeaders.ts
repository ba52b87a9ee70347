/** Headers of an answer of Node's `http`. */
import type { IncomingMessage } from "node:http"

/** The headers as they came, their names in lower case. */
export const headersOf = ({
  rawHeaders
}: Pick<IncomingMessage, "rawHeaders">): Array<[name: string, value: string]> => {
  const headers: Array<[string, string]> = []
  for (let n = 0; n + 1 < rawHeaders.length; n += 2) headers.push([rawHeaders[n]!.toLowerCase(), rawHeaders[n + 1]!])
  return headers
}
