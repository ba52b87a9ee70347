/**
 * Namespaces that load their module when they are first used, as `import defer` will: the proposal of that name is what they
 * follow. `import { Agent } from "troupe"` is what programs write, and loads no file of what they do not use.
 *
 * The entrance of the package that Node finds is made of them, see scripts/build.ts; bundlers and other engines find src/index.ts.
 */

/**
 * A namespace of a module.
 *
 * @param name what it is called in an error
 * @param load loads the module and returns its exports. It is called once, unless it fails.
 */
export const deferred = (name: string, load: () => object): object => {
  let exports: object | undefined
  const loaded = (): object => (exports ??= loading(name, load))
  return new Proxy(Object.create(null) as object, {
    get: (_, key) => Reflect.get(loaded(), key) as unknown,
    has: (_, key) => Reflect.has(loaded(), key),
    ownKeys: () => Reflect.ownKeys(loaded()),
    getOwnPropertyDescriptor: (_, key) => {
      const found = Reflect.getOwnPropertyDescriptor(loaded(), key)
      // What is not on the object that stands in for the exports has to be configurable.
      return found && { ...found, configurable: true }
    },
    set: () => false,
    defineProperty: () => false,
    deleteProperty: () => false,
    preventExtensions: () => false
  })
}

const loading = (name: string, load: () => object): object => {
  try {
    return load()
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ERR_REQUIRE_ESM_RACE_CONDITION")) throw error
    const message = `\`${name}\` of "troupe" is used while an import() loads it. Await the import(), or import "troupe/${name}" where it is used`
    throw new Error(message, { cause: error })
  }
}
