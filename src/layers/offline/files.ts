/** Reads attached files as text: bytes, base64 and data URLs. Pure: a URL that needs the network is not read. */
import { decoded } from "../../internal/percent.ts"

const textType =
  /^(?:text\/|application\/(?:json|xml|javascript|typescript|x-yaml|yaml|toml|x-sh|sql|graphql|x-ndjson|ld\+json|markdown)|[\w-]+\/[\w.+-]+\+(?:json|xml))/i
const textName =
  /\.(?:txt|md|mdx|markdown|json|ya?ml|toml|csv|tsv|xml|html?|css|[cm]?[jt]sx?|py|rb|rs|go|java|kt|c|h|cpp|hpp|cs|sh|sql|log|ini|cfg|conf|env|tex|rst|adoc)$/i

/** True for what can be read as text. */
export const isText = (mediaType: string, fileName: string | undefined): boolean =>
  textType.test(mediaType) ||
  (!/^(?:image|audio|video|font)\//i.test(mediaType) && fileName !== undefined && textName.test(fileName))

const utf8 = (bytes: Uint8Array): string | undefined => {
  const head = bytes.subarray(0, 4_096)
  if (head.includes(0)) return undefined
  return new TextDecoder("utf-8").decode(bytes)
}

/** The text of a file part's data; `undefined` when it has to be fetched or is not text. */
export const decodeFile = (data: string | Uint8Array | URL): string | undefined => {
  if (data instanceof Uint8Array) return utf8(data)
  const text = data instanceof URL ? data.href : data
  if (/^data:/i.test(text)) {
    const comma = text.indexOf(",")
    if (comma === -1) return undefined
    const body = text.slice(comma + 1)
    if (/;base64$/i.test(text.slice(0, comma))) return utf8(Buffer.from(body, "base64"))
    return decoded(body)
  }
  if (data instanceof URL || /^https?:\/\/\S+$/i.test(text)) return undefined
  const compact = text.replace(/\s+/g, "")
  if (compact !== "" && compact.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(compact)) {
    const decoded = utf8(Buffer.from(compact, "base64"))
    if (decoded !== undefined && !decoded.includes("\uFFFD")) return decoded
  }
  return text
}
