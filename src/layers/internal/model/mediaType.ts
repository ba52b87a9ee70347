/** Media types of files, as the Layers of models read them. */

/**
 * A media type in lower case, without its parameters: `IMAGE/PNG` is `image/png`, and `application/json; charset=utf-8`
 * is `application/json`.
 */
export const typeOf = (text: string): string => (text.split(";")[0] ?? "").trim().toLowerCase()

/** Other spellings of a media type that the APIs know by one. */
const spellings: Readonly<Record<string, string>> = {
  "image/jpg": "image/jpeg",
  "image/pjpeg": "image/jpeg",
  "image/x-png": "image/png"
}

/** A media type, as {@link typeOf} gives it, in the spelling that the APIs know. */
export const knownSpelling = (type: string): string => (Object.hasOwn(spellings, type) ? spellings[type]! : type)

/** True for the content of files that is text. */
export const isText = (mediaType: string): boolean =>
  /^(text\/.*|application\/(.*\+)?(json|xml|(x-)?yaml|x-ndjson|javascript))$/.test(mediaType)
