/** Bundles the page of the playground to one document, with the policy by which a browser runs its script and no other. */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { build, transform } from "esbuild"
import { root } from "./support.ts"

const folder = "src/layers/server/internal/playground/page"

const scriptOf = async (): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [path.join(root, folder, "main.tsx")],
    absWorkingDir: root,
    bundle: true,
    write: false,
    format: "iife",
    platform: "browser",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    minify: true,
    legalComments: "none",
    preserveSymlinks: true,
    charset: "ascii"
  })
  return outputFiles[0]!.text.trim()
}

const styleOf = async (): Promise<string> => {
  const { code } = await transform(fs.readFileSync(path.join(root, folder, "style.css"), "utf8"), {
    loader: "css",
    minify: true,
    legalComments: "none"
  })
  return code.trim()
}

const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** What the page may do: run its own script and style, and ask the server that it came from. */
const policyOf = (script: string, style: string): string =>
  [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    // The icon, which is empty: without one a browser asks for it.
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    // No text becomes HTML, whichever way.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'"
  ].join("; ")

/** What is in the script alongside our own code, as its licences ask for it. */
const licences = (): string => {
  const preact = fs.readFileSync(path.join(root, "node_modules/preact/LICENSE"), "utf8")
  const mit = "It also holds @cfworker/json-schema, by Jeremy Danyow, under the same licence (MIT).\n\n"
  const lines = `It holds Preact. ${mit}${preact.trim()}`.split("\n")
  return `/*\n${lines.map((line) => ` * ${line}`.trimEnd()).join("\n")}\n */\n`
}

/** The module that holds the page. */
export const playgroundModule = async (): Promise<string> => {
  const [script, style] = await Promise.all([scriptOf(), styleOf()])
  if (/<\/script|<!--/i.test(script) || /<\/style/i.test(style)) throw new Error("the page would end its own script")
  const page =
    '<!doctype html><html lang="en"><head><meta charset="utf-8">' +
    '<meta name="viewport" content="width=device-width,initial-scale=1,viewport-fit=cover"><title>Troupe</title>' +
    `<link rel="icon" href="data:,"><style>${style}</style></head><body><div id="root"></div>` +
    `<noscript>This page needs JavaScript.</noscript><script>${script}</script></body></html>`
  return (
    "/** The page of the playground, and its policy, made by `npm run codegen`. Do not edit it. */\n" +
    licences() +
    `export const page: string = ${JSON.stringify(page)}\n` +
    `export const policy: string = ${JSON.stringify(policyOf(script, style))}\n`
  )
}
