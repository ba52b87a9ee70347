/** The APIs that make images. */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Image, Images, Request, Result } from "../../../services/Images.ts"
import { bytesOf, endingOf, imageType } from "../../internal/model/media.ts"
import { malformed, type Problem } from "../../internal/model/problems.ts"
import { isFields, list, number } from "../../internal/model/wire.ts"
import type { WholeAnswer } from "./answering.ts"
import type { EndpointOptions } from "./connection.ts"
import * as Endpoint from "./endpoint.ts"
import type { FormPart } from "./form.ts"

/** How a model that makes images is reached and asked. */
export interface ImagesOptions extends EndpointOptions {
  readonly quality?: "auto" | "low" | "medium" | "high" | "standard" | "hd" | undefined
  readonly background?: "auto" | "transparent" | "opaque" | undefined
  readonly format?: "png" | "jpeg" | "webp" | undefined
}

/** Fails with `ConfigError` for options that no request can be made with. */
export const make = (options: ImagesOptions): Effect.Effect<Images["Service"], Config.ConfigError> =>
  Effect.map(Endpoint.make(options), (endpoint) => {
    const fieldsOf = (request: Request): Record<string, string | number> => ({
      model: endpoint.model,
      prompt: request.prompt,
      n: request.count ?? 1,
      // Newer models give nothing else, and refuse to be asked for it.
      ...(/^gpt-image|^chatgpt-image/.test(endpoint.model) ? {} : { response_format: "b64_json" }),
      ...(request.size === undefined ? {} : { size: request.size }),
      ...(options.quality === undefined ? {} : { quality: options.quality }),
      ...(options.background === undefined ? {} : { background: options.background }),
      ...(options.format === undefined ? {} : { output_format: options.format })
    })
    return {
      generate: (request) =>
        Effect.suspend(() => {
          const question = questionOf(request, fieldsOf(request))
          const lacks = lacking(request)
          if (lacks !== undefined) return endpoint.fail(question, lacks)
          return endpoint.ask(question, read)
        })
    }
  })

/** What the API cannot be asked for. */
const lacking = ({ aspectRatio, images, mask, seed }: Request): Problem | undefined => {
  const refuse = (lacks: string, message: string): Problem => ({ kind: "unsupported", lacks, message })
  if (aspectRatio !== undefined) return refuse("aspectRatio", "the images API takes a `size`, and no `aspectRatio`")
  if (seed !== undefined) return refuse("seed", "the images API takes no `seed`")
  if (mask !== undefined && (images ?? []).length === 0)
    return { kind: "unsupported", message: "a `mask` needs the image that it is of, in `images`" }
  return undefined
}

const questionOf = (
  { images = [], mask }: Request,
  fields: Readonly<Record<string, string | number>>
): Endpoint.Question => {
  const method = "generateImages"
  if (images.length === 0) return { method, path: "/images/generations", body: fields }
  const file = (name: string, { data, mediaType }: Image, index = 0): FormPart => ({
    name,
    fileName: `${name.replace(/\W/g, "")}${index}.${endingOf(mediaType)}`,
    mediaType,
    data
  })
  return {
    method,
    path: "/images/edits",
    body: [
      ...Object.entries(fields).map(([name, value]) => ({ name, value: String(value) })),
      ...images.map((image, index) => file(images.length === 1 ? "image" : "image[]", image, index)),
      ...(mask === undefined ? [] : [file("mask", mask)])
    ]
  }
}

const addressed =
  "the server gave the address of an image, and nothing is fetched on a server's word: use a server or a model that gives images as data"

const read = (answer: WholeAnswer): Effect.Effect<Result, Problem> =>
  Effect.flatMap(Endpoint.documentOf(answer), (document) => {
    const data = list(document, "data").filter(isFields)
    const images = data.flatMap((one) =>
      Option.match(bytesOf(one["b64_json"]), {
        onNone: (): ReadonlyArray<Image> => [],
        onSome: (bytes) => [{ mediaType: imageType(bytes), data: bytes }]
      })
    )
    if (images.length === 0 || images.length < data.length) {
      const isAddress = data.some((one) => typeof one["url"] === "string")
      return Effect.fail(malformed(isAddress ? addressed : "the server's answer has no image that can be read"))
    }
    const { usage } = document
    return Effect.succeed({
      images,
      usage: { inputTokens: number(usage, "input_tokens"), outputTokens: number(usage, "output_tokens") }
    })
  })
