/** Which proxy a request goes through, by the variables that Node, curl and others read. */

/** The environment, or a part of it. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The variable in lower case wins, as in curl. */
const read = (env: Environment, name: string): string => (env[name] ?? env[name.toUpperCase()] ?? "").trim()

/** The proxy for an address: `http_proxy` or `https_proxy`, unless `no_proxy` names the host. */
export const proxyFor = (address: URL, env: Environment): URL | undefined => {
  const set = read(env, address.protocol === "https:" ? "https_proxy" : "http_proxy")
  if (set === "" || isExempt(address, read(env, "no_proxy"))) return undefined
  const text = set.includes("://") ? set : `http://${set}`
  const proxy = URL.canParse(text) ? new URL(text) : undefined
  return proxy !== undefined && /^https?:$/.test(proxy.protocol) ? proxy : undefined
}

/** The host of an address, without the brackets of IPv6. */
export const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, "")

/** The port of an address, also where it is the protocol's own. */
export const portOf = ({ port, protocol }: URL): number => Number(port || (protocol === "https:" ? 443 : 80))

/** The credentials of a proxy's address, as its header. */
export const authorizationOf = ({ password, username }: URL): Record<string, string> =>
  username === "" && password === ""
    ? {}
    : { "proxy-authorization": `Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}` }

/** A list of hosts: each with or without a port; a dot or `*.` before it matches every name below, `*` all hosts. */
const isExempt = (address: URL, list: string): boolean =>
  list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== "" && matches(address, entry))

const matches = (address: URL, entry: string): boolean => {
  if (entry === "*") return true
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]+|.*:.*:.*?))(?::(\d+))?$/.exec(entry) ?? []
  const named = (bracketed ?? plain ?? "").replace(/^\*?\./, "")
  if (named === "" || (port !== undefined && Number(port) !== portOf(address))) return false
  const host = hostOf(address)
  return host === named || host.endsWith(`.${named}`)
}
