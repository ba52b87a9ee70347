/** JSON that others send: what is known of it before it is read, and its text. */
import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"

/** How deep objects and lists of a JSON text are nested. A reader that goes down with them may not bear any depth. */
export const depthOf = (text: string): number => {
  let depth = 0
  let deepest = 0
  let isText = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (isText) {
      if (code === 92) i++
      else if (code === 34) isText = false
    } else if (code === 34) isText = true
    else if (code === 91 || code === 123) deepest = Math.max(deepest, ++depth)
    else if (code === 93 || code === 125) depth--
  }
  return deepest
}

type Headers = Readonly<Record<string, string | undefined>>

/** Why a body cannot be read as JSON by its headers, such as "compressed"; `undefined` for one that can. */
export const unreadableAs = (headers: Headers): string | undefined => {
  const [, charset = "utf-8"] = /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(headers["content-type"] ?? "") ?? []
  if (!/^(?:utf-?8|us-ascii)$/i.test(charset)) return "not in UTF-8, as JSON is"
  return /^(?:identity)?$/i.test((headers["content-encoding"] ?? "").trim()) ? undefined : "compressed"
}

const decoder = new TextDecoder("utf-8", { fatal: true })

/** The text of a body, or why it has none. It may be as large as `MaxBodySize` says. */
export const bodyText = (
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<string, "too large" | "not in UTF-8" | "unreadable"> =>
  request.arrayBuffer.pipe(
    Effect.mapError(({ reason }) =>
      reason._tag === "RequestParseError" && reason.reason === "BodyTooLarge" ? "too large" : "unreadable"
    ),
    Effect.flatMap((bytes) => Effect.try({ try: () => decoder.decode(bytes), catch: () => "not in UTF-8" as const }))
  )
