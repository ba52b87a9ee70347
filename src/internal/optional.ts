/** What is imported only where it is installed. */

/**
 * For the handler of `try { return await import("package") } catch`, where the package is an optional peer: fails as the import does. A
 * bundler that finds the import in such a block keeps it for the program's run where the package is not installed; without one it
 * fails. Webpack looks for the block, and esbuild for `await` or `catch` at the import itself.
 */
export const absent = (error: unknown): never => {
  throw error
}
