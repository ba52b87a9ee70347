/**
 * Puts the modules that are loaded together into one file each: a cold start finds, reads and links files, and runs little. The
 * modules stay where they are, as names of what is in the files, and there is one copy of each.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { rolldown } from "rolldown"

/** The modules in `out` that a module loads at its start, by itself and through others, by their paths without extension. */
export const loadedBy = (out: string, module: string, found = new Set<string>()): ReadonlySet<string> => {
  if (found.has(module)) return found
  found.add(module)
  const source = fs.readFileSync(path.join(out, `${module}.js`), "utf8")
  for (const [, specifier] of source.matchAll(/^(?:import|export)\b[^"']*?["'](\.[^"']+)\.js["'];?$/gm)) {
    loadedBy(out, path.posix.join(path.posix.dirname(module), specifier!), found)
  }
  return found
}

/** A file of the modules that an entry loads, without those below a folder. */
export interface Chunk {
  readonly name: string
  readonly entry: string
  readonly without?: string
}

/** Joins modules in `out`. One that several chunks could have is in the first, and with it all that it loads. */
export const join = async (out: string, chunks: ReadonlyArray<Chunk>): Promise<void> => {
  const groups = chunks.map(({ entry, name, without }) => {
    const loaded = [...loadedBy(out, entry)].filter((module) => without === undefined || !module.startsWith(without))
    return [name, new Set(loaded)] as const
  })
  const modules = new Set(groups.flatMap(([, loaded]) => [...loaded]))
  const moduleOf = (id: string): string => path.relative(out, id).replace(/\.js$/, "")
  const bundle = await rolldown({
    input: Object.fromEntries([...modules].map((module) => [module, path.join(out, `${module}.js`)])),
    external: (id, importer) => {
      if (!id.startsWith(".") && !path.isAbsolute(id)) return true
      return !modules.has(moduleOf(path.resolve(importer === undefined ? out : path.dirname(importer), id)))
    },
    platform: "neutral",
    treeshake: { moduleSideEffects: true },
    preserveEntrySignatures: "strict",
    plugins: [{ name: "maps", load: withMap }]
  })
  const { output } = await bundle.generate({
    dir: out,
    format: "esm",
    sourcemap: true,
    entryFileNames: "[name].js",
    chunkFileNames: "[name].js",
    codeSplitting: {
      groups: groups.map(([name, loaded], index) => ({
        name,
        test: (id) => loaded.has(moduleOf(id)),
        priority: groups.length - index
      }))
    }
  })
  await bundle.close()
  // A module that is only names has no map.
  for (const module of modules) fs.rmSync(path.join(out, `${module}.js.map`))
  for (const file of output) {
    fs.writeFileSync(path.join(out, file.fileName), file.type === "chunk" ? file.code : file.source)
  }
}

/** A module and its map, which leads to the sources. */
const withMap = (id: string): { readonly code: string; readonly map: string } => ({
  code: fs.readFileSync(id, "utf8").replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n"),
  map: fs.readFileSync(`${id}.map`, "utf8")
})
