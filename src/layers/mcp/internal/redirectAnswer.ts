/** The redirect after the authorization of a user. */

/** The parameters of the authorization request. */
export interface Sent {
  readonly redirectUrl: string
  readonly state: string
  /** Tests who an answer is from, where that is known. */
  readonly isIssuer: ((iss: string) => boolean) | undefined
  /** Whether the authorization server says who it is in its answers (RFC 9207). */
  readonly saysIssuer: boolean
}

const isRedirect = (url: URL, redirectUrl: string): boolean => {
  const expected = URL.parse(redirectUrl)
  return url.protocol === expected?.protocol && url.host === expected.host && url.pathname === expected.pathname
}

/**
 * The code of an answer, which is the code itself or the whole address that the user came back to. Throws for an address
 * that is not an answer to what was sent.
 */
export const codeOf = (answer: string, { isIssuer, redirectUrl, saysIssuer, state }: Sent): string => {
  const text = answer.trim()
  if (text === "") throw new Error("authorize gave an empty code")
  const url = URL.parse(text)
  if (url === null || !isRedirect(url, redirectUrl)) {
    // A code may look like an address with a scheme, but not like one of the web.
    if (/^https?:\/\//i.test(text)) throw new Error("authorize gave an address that does not lead to redirectUrl")
    return text
  }
  const { searchParams: given } = url
  if (given.getAll("state").join() !== state) {
    throw new Error("the address that the user came back to has another state than was sent, so its code is not used")
  }
  const from = given.get("iss")
  if (isIssuer !== undefined && (from === null ? saysIssuer : !isIssuer(from))) {
    throw new Error("the address that the user came back to is from another issuer than was asked")
  }
  const error = given.get("error")
  if (error !== null) throw new Error(`the authorization server answered: ${given.get("error_description") || error}`)
  const code = given.get("code")
  if (!code) throw new Error("the address that the user came back to has no code")
  return code
}
