/** What an error of a thread says to the other side: its message with those of its causes, and the system's code. */

interface Described {
  readonly message: string
  readonly code: string | undefined
}

interface ErrorLike {
  readonly message?: unknown
  readonly code?: unknown
  readonly cause?: ErrorLike
  readonly errors?: ReadonlyArray<ErrorLike>
}

const maxCauses = 4

/** Describes an error without passwords of addresses. */
export const describe = (error: unknown): Described => {
  const { cause, code: own, message: first } = (error ?? {}) as ErrorLike
  let message = first === undefined || first === "" ? String(error) : String(first)
  let code = own
  let inner = cause
  for (let depth = 0; inner && depth < maxCauses; depth++) {
    code ||= inner.code
    if (inner.message && !message.includes(String(inner.message))) message += `: ${String(inner.message)}`
    const [one] = Array.isArray(inner.errors) ? inner.errors : []
    if (one !== undefined) {
      code ||= one.code
      message += `: ${String(one.message)}`
    }
    inner = inner.cause
  }
  return { message: message.replace(/\/\/[^/\s]*@/g, "//"), code: code === undefined ? undefined : String(code) }
}
