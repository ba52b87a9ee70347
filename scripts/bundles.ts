/**
 * What of other packages is in dist: the parts of `@effect/platform-node` that the command line and servers use, which brings
 * Redis' client and undici otherwise, and the command line with all that it loads, in a few files. Their licenses go with them.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { rolldown, type InputOptions, type OutputChunk, type OutputOptions } from "rolldown"

const written = async (input: InputOptions, output: OutputOptions & { readonly dir: string }): Promise<Set<string>> => {
  const bundle = await rolldown({ platform: "node", logLevel: "silent", ...input })
  const result = await bundle.write({
    format: "esm",
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
    ...output
  })
  await bundle.close()
  const chunks = result.output.filter((file): file is OutputChunk => file.type === "chunk")
  return new Set(chunks.flatMap(({ moduleIds }) => moduleIds))
}

const platformModule = /(["'])@effect\/platform-node\/(\w+)\1/g

/** Puts the modules of `@effect/platform-node` that modules in `out` import into `out/platform`. Gives the files of what is there. */
export const bundlePlatform = async (out: string): Promise<ReadonlySet<string>> => {
  const dir = path.join(out, "platform")
  const used = new Set<string>()
  for (const file of fs
    .readdirSync(out, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js"))) {
    const module = path.join(out, file)
    const source = fs.readFileSync(module, "utf8")
    const to = path.relative(path.dirname(module), dir)
    const rewritten = source.replace(/^(?! *\*).*$/gm, (line) =>
      line.replace(platformModule, (_, quote: string, name: string) => {
        used.add(name)
        return `${quote}${to.startsWith(".") ? to : `./${to}`}/${name}.js${quote}`
      })
    )
    if (rewritten !== source) fs.writeFileSync(module, rewritten)
  }
  return written(
    {
      input: Object.fromEntries([...used].map((name) => [name, `@effect/platform-node/${name}`])),
      external: /^(effect(\/|$)|node:)/
    },
    { dir }
  )
}

/** Commands that load modules of a program, and servers: `src/bin.ts` starts them from the other files. */
const elsewhere = /\/cli\/(acp|eval|graph|mcp|serve|worker)\.js$|\/AgentServer\.js$/

/** Puts the command line and all that it loads, but for optional packages, into `out/commandLine`. Gives the files of what is there. */
export const bundleCommandLine = (out: string, optional: ReadonlyArray<string>): Promise<ReadonlySet<string>> =>
  written(
    {
      input: { main: path.join(out, "cli/main.js") },
      external: [/^node:/, ...optional.map((name) => new RegExp(`^${name}(/|$)`))],
      plugins: [
        {
          name: "elsewhere",
          load: (id) =>
            elsewhere.test(id) ? `throw new Error("this is not in the bundle of the command line")` : undefined
        }
      ]
    },
    { dir: path.join(out, "commandLine"), minify: true }
  )

/** Writes the licenses of the packages that files are of. */
export const writeLicenses = (out: string, files: ReadonlySet<string>): void => {
  const folders = new Set(Array.from(files, (file) => /^.*node_modules\/(@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? ""))
  const texts = [...folders]
    .filter((folder) => folder !== "")
    .toSorted()
    .map((folder) => {
      const { license, name, version } = JSON.parse(
        fs.readFileSync(path.join(folder, "package.json"), "utf8")
      ) as Record<string, string>
      const file = fs.readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
      const text = file === undefined ? `License: ${license}` : fs.readFileSync(path.join(folder, file), "utf8").trim()
      return `${name} ${version}\n\n${text}\n`
    })
  fs.writeFileSync(path.join(out, "LICENSES.txt"), texts.join(`\n${"-".repeat(80)}\n\n`))
}
