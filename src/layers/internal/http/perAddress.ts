/** What is worked out for an address once, and not for each request. */

/** How many addresses are kept. */
const most = 100

/** A function that makes a value of an address, and keeps a hundred of them. */
export const perAddress = <A>(make: (address: URL) => A): ((url: string) => A) => {
  const known = new Map<string, A>()
  return (url) => {
    let value = known.get(url)
    if (value !== undefined) return value
    value = make(new URL(url))
    if (known.size >= most) known.clear()
    known.set(url, value)
    return value
  }
}
