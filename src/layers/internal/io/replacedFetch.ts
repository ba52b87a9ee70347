/**
 * Whether the program has replaced its own `fetch`, as a test does that must not reach the network with a real key. It
 * imports nothing of Node: browsers load it as well.
 */

const original = globalThis.fetch
/** Where Node keeps what `setGlobalDispatcher` sets, and undici from version 8 on. */
const dispatcher = Symbol.for("undici.globalDispatcher.1")
const newerDispatcher = Symbol.for("undici.globalDispatcher.2")
/** The last one stands for one that is kept in the newer place: loading the package undici sets it. */
const ownDispatchers = new Set(["Agent", "EnvHttpProxyAgent", "Dispatcher1Wrapper"])
/** The source of Node's own mentions what it loads; that of a stub that was set before this module does not. */
const wasOwn = /undici/i.test(String(original))

let warned = false

/** True in Node when `globalThis.fetch` or the global dispatcher is not Node's own. */
export const isReplaced = (): boolean => {
  if (!wasOwn || globalThis.fetch !== original) return true
  const set = globalThis as { readonly [dispatcher]?: object; readonly [newerDispatcher]?: object }
  return [set[dispatcher], set[newerDispatcher]].some(
    (one) => one !== undefined && !ownDispatchers.has(one.constructor.name)
  )
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
