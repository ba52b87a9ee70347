/** What is imported only where it is installed. */

/**
 * For `import("package").catch(absent)`, where the package is an optional peer: fails as the import does. A bundler that finds such
 * a handler keeps the import for the program's run where the package is not installed; without one it fails.
 */
export const absent = (error: unknown): never => {
  throw error
}
