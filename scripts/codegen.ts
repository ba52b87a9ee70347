/**
 * `npm run codegen`: bundles each program that runs in a thread to one text, so that it is found from sources, a build, a
 * packed install and any bundle alike. Each is an ordinary module; `tests/architecture/codegen.test.ts` fails until the
 * texts are fresh. The playground's page, the version of the package and the table of prices are written with them.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { build } from "esbuild"
import { playgroundModule } from "./playground.ts"
import { pricesModule } from "./prices.ts"
import { root } from "./support.ts"

/** A module, and the file that holds its bundle as `source`. */
const programs: ReadonlyArray<readonly [entry: string, file: string]> = [
  ["src/layers/internal/io/threads/ioMain.ts", "src/layers/internal/io/threads/ioMain.generated.ts"],
  ["src/layers/internal/io/threads/toolMain.ts", "src/layers/internal/io/threads/toolMain.generated.ts"],
  ["src/layers/internal/process/childProgram.ts", "src/layers/internal/process/childProgram.generated.ts"],
  ["src/layers/mcp/internal/connectionProgram.ts", "src/layers/mcp/internal/connectionProgram.generated.ts"],
  ["src/layers/code/internal/threads/codeMain.ts", "src/layers/code/internal/threads/codeMain.generated.ts"],
  ["src/layers/code/internal/threads/codeHost.ts", "src/layers/code/internal/threads/codeHost.generated.ts"],
  ["src/layers/llamacpp/internal/childMain.ts", "src/layers/llamacpp/internal/childMain.generated.ts"],
  ["src/layers/llamacpp/internal/hostProgram.ts", "src/layers/llamacpp/internal/hostProgram.generated.ts"],
  ["src/layers/internal/io/blobProgram.ts", "src/layers/internal/io/blobProgram.generated.ts"]
]

const bundle = async (entry: string): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [path.join(root, entry)],
    absWorkingDir: root,
    bundle: true,
    write: false,
    format: "cjs",
    platform: "node",
    target: "node22",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    // The path of a package is part of the text: it must not say where node_modules is linked to.
    preserveSymlinks: true,
    charset: "utf8"
  })
  return outputFiles[0]!.text.trim()
}

/** What each generated file has to hold, by its path. */
export const generate = async (): Promise<ReadonlyMap<string, string>> => {
  const files = new Map<string, string>()
  for (const [entry, file] of programs) {
    const header = `/** The bundle of \`${path.basename(entry)}\`, made by \`npm run codegen\`. Do not edit it. */\n`
    files.set(file, `${header}export const source: string = ${JSON.stringify(await bundle(entry))}\n`)
  }
  const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
    readonly version: string
  }
  const about = "/** The version in `package.json`, which a bundle cannot read. Made by `npm run codegen`. */\n"
  files.set("src/data/prices.generated.ts", pricesModule())
  files.set("src/layers/server/internal/playground/page.generated.ts", await playgroundModule())
  return files.set("src/internal/version.generated.ts", `${about}export const version = "${version}"\n`)
}

if (import.meta.main) {
  const files = await generate()
  for (const [file, text] of files) fs.writeFileSync(path.join(root, file), text)
  console.log(`${files.size} files are generated`)
}
