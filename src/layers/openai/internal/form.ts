/** Forms with files, as `multipart/form-data`. The same form is the same bytes, which a tape knows it by. */
import { digest } from "../../../internal/fingerprint.ts"
import { joined } from "../../internal/bytes.ts"

/** A field, or a file. */
export type FormPart =
  | { readonly name: string; readonly value: string }
  | { readonly name: string; readonly fileName: string; readonly mediaType: string; readonly data: Uint8Array }

/** A form. */
export type Form = ReadonlyArray<FormPart>

const quoted = (text: string): string => text.replace(/[\r\n"]/g, (one) => encodeURIComponent(one))

/** The bytes of a form, and what they are. */
export const written = (form: Form): { readonly bytes: Uint8Array; readonly contentType: string } => {
  const encoder = new TextEncoder()
  const names = form.map((part) =>
    "value" in part ? `${part.name}=${part.value}` : `${part.name}@${part.data.length}`
  )
  const boundary = boundaryOf(form, digest(names.join("&")))
  const pieces: Array<Uint8Array> = []
  for (const part of form) {
    const about =
      "value" in part
        ? `name="${quoted(part.name)}"`
        : `name="${quoted(part.name)}"; filename="${quoted(part.fileName)}"\r\nContent-Type: ${part.mediaType.replace(/[\r\n]/g, "")}`
    pieces.push(encoder.encode(`--${boundary}\r\nContent-Disposition: form-data; ${about}\r\n\r\n`))
    pieces.push("value" in part ? encoder.encode(part.value) : part.data, encoder.encode("\r\n"))
  }
  pieces.push(encoder.encode(`--${boundary}--\r\n`))
  return { bytes: joined(pieces), contentType: `multipart/form-data; boundary=${boundary}` }
}

/** One that does not stand in the form. */
const boundaryOf = (form: Form, seed: string): string => {
  for (let n = 0; ; n++) {
    const boundary = `troupe-${seed}-${n}`
    const bytes = new TextEncoder().encode(boundary)
    const isTaken = form.some((part) =>
      "value" in part ? part.value.includes(boundary) : indexOf(part.data, bytes) >= 0
    )
    if (!isTaken) return boundary
  }
}

const indexOf = (data: Uint8Array, wanted: Uint8Array): number => {
  let at = data.indexOf(wanted[0]!)
  while (at >= 0) {
    if (wanted.every((byte, index) => data[at + index] === byte)) return at
    at = data.indexOf(wanted[0]!, at + 1)
  }
  return -1
}
