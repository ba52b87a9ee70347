/**
 * Warns once when the program has replaced its own `fetch`: the I/O thread has another one, and sends real requests. A
 * test that stubs `fetch` would otherwise reach the network with a real key.
 */
import * as process from "node:process"

const original = globalThis.fetch
/** Where undici and Node keep what `setGlobalDispatcher` sets. */
const dispatcher = Symbol.for("undici.globalDispatcher.1")
const ownDispatchers = new Set(["Agent", "EnvHttpProxyAgent"])

let warned = false

const isReplaced = (): boolean => {
  // Node's own mentions what it loads; a stub that was set before this module does not.
  if (globalThis.fetch !== original || !/undici/i.test(String(original))) return true
  const set = (globalThis as { readonly [dispatcher]?: object })[dispatcher]
  return set !== undefined && !ownDispatchers.has(set.constructor.name)
}

/** Emits the warning `TROUPE_REPLACED_FETCH` once, as Node emits its own: `--disable-warning` turns it off. */
export const warnOfReplaced = (): void => {
  if (warned || !isReplaced()) return
  warned = true
  process.emitWarning(
    "globalThis.fetch or the global dispatcher of this thread was replaced. Under Effect.runSync requests are sent by a thread of its own, which does not share it. To stub them, provide Cassette.layerStub or Cassette.layer.",
    { code: "TROUPE_REPLACED_FETCH" }
  )
}
