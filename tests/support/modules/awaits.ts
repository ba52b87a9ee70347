/** A module that cannot be loaded at once. */
await Promise.resolve()
export default (params: { readonly n: number }) => params.n + 1
