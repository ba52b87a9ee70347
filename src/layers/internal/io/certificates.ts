/** Certificate authorities that the program has set for its own thread, for the I/O thread, which does not share them. */

interface Tls {
  readonly getCACertificates?: (type: "default" | "bundled" | "extra" | "system") => ReadonlyArray<string>
}

/** The authorities of `tls.setDefaultCACertificates`; undefined when the program has not called it. */
export const changedCertificates = (): ReadonlyArray<string> | undefined => {
  // Loading it costs; a program that has set authorities has loaded it.
  const { moduleLoadList } = process as { readonly moduleLoadList?: ReadonlyArray<string> }
  if (moduleLoadList?.includes("NativeModule tls") !== true) return undefined
  const tls = process.getBuiltinModule("node:tls") as Tls
  if (tls.getCACertificates === undefined) return undefined
  const own = new Set([...tls.getCACertificates("bundled"), ...tls.getCACertificates("extra")])
  const set = tls.getCACertificates("default")
  // With --use-system-ca and the like the default is another list, which the thread's flags give it as well.
  const isFlagged = process.execArgv.some((flag) => /^--use-(system|openssl|bundled)-ca/.test(flag))
  return isFlagged || (set.length === own.size && set.every((one) => own.has(one))) ? undefined : set
}
