/** The command line flags that threads inherit from the program. */

/** They say how to connect; others, such as a loader, mean nothing to a thread that loads nothing. */
const network = /^--(use-env-proxy|dns-result-order|(no-)?network-family-autoselection|max-http-header-size)(=|$)/

/** They say how modules are found and read, which a tool's thread does as the program does. */
const loading =
  /^(-C|-r|--(conditions|import|require|(experimental-)?loader|enable-source-maps|preserve-symlinks|(no-)?experimental-(transform-types|strip-types|vm-modules|wasm-modules|import-meta-resolve|require-module|detect-module)|disable-warning|no-(deprecation|warnings)))(=|$)/

/** Flags whose value may be the next argument. */
const withValue = /^(-C|-r|--(conditions|import|require|(experimental-)?loader|disable-warning|dns-result-order))$/

const pick = (argv: ReadonlyArray<string>, wanted: RegExp): ReadonlyArray<string> =>
  argv.flatMap((flag, index) => {
    if (!wanted.test(flag)) return []
    const value = argv[index + 1]
    return withValue.test(flag) && value !== undefined ? [flag, value] : [flag]
  })

/** For the I/O thread. */
export const networkFlags = (argv: ReadonlyArray<string>): Array<string> => [...pick(argv, network)]

/** For a thread that runs a tool of the program. */
export const programFlags = (argv: ReadonlyArray<string>): Array<string> => [
  ...pick(argv, network),
  ...pick(argv, loading)
]
