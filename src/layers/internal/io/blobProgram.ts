/** The program of the I/O thread that reads a `Blob`, which only a promise could do in this thread. */
import type { Start } from "./threads/programs.ts"

/** Its answer. */
export type FromBlob = { readonly bytes: Uint8Array } | { readonly problem: string }

export const start: Start = (post) => (blob) => {
  void (blob as Blob).arrayBuffer().then(
    (bytes) => post({ bytes: new Uint8Array(bytes) } satisfies FromBlob),
    (error) => post({ problem: String(error) } satisfies FromBlob)
  )
}
