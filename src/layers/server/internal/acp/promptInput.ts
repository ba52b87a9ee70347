/** What a person writes in an editor, as the input of a run. */
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Prompt from "effect/ai/Prompt"
import { codes, refuse, type RpcFailure } from "./rpc.ts"
import type { Content } from "./schema.ts"

/** How many pieces a message may have. */
const maxParts = 1000

/** The message as text: links and files that are part of it by their names. */
export const textOf = (content: ReadonlyArray<Content>): string => content.flatMap(textOfPiece).join("").trim()

const textOfPiece = ({ name, resource, text, type, uri }: Content): ReadonlyArray<string> => {
  switch (type) {
    case "text":
      return [text ?? ""]
    case "resource_link":
      return [`[${name ?? uri ?? ""}](${uri ?? ""})`]
    case "resource":
      return resource === null || resource === undefined
        ? []
        : [`\n\n${resource.uri}:\n\n${resource.text ?? "(not a text)"}\n\n`]
    default:
      return []
  }
}

/** The message of the user. Images go to runners that take conversations. */
export const messageOf = (
  content: ReadonlyArray<Content>,
  takesConversation: boolean
): Effect.Effect<Prompt.UserMessage, RpcFailure> =>
  Effect.suspend(() => {
    if (content.length > maxParts) return refuse(codes.invalidParams, `It has more than ${maxParts} pieces.`)
    const images = content.filter(({ type }) => type === "image")
    const other = content.find(({ type }) => !["text", "resource_link", "resource", "image"].includes(type))
    if (other !== undefined) return refuse(codes.invalidParams, `"${other.type}" is not taken here.`)
    if (images.length > 0 && !takesConversation) return refuse(codes.invalidParams, "The runner takes no images.")
    const text = textOf(content)
    if (text === "" && images.length === 0) return refuse(codes.invalidParams, "The message is empty.")
    const files = images.map(({ data, mimeType }) => {
      const bytes = Base64.decode(data ?? "")
      return bytes._tag === "Success" ? { data: bytes.success, mediaType: mimeType ?? "image/png" } : undefined
    })
    if (files.some((file) => file === undefined)) return refuse(codes.invalidParams, "An image is not base64.")
    const parts = files.flatMap((file) => (file === undefined ? [] : [Prompt.makePart("file", file)]))
    return Effect.succeed(
      Prompt.makeMessage("user", {
        content: [...(text === "" ? [] : [Prompt.makePart("text", { text })]), ...parts]
      })
    )
  })
