#!/usr/bin/env node
/**
 * Starts the command line. In a build there are two of it, of the same sources: one in a few files, with its own `effect`,
 * that starts in half the time, and one that shares `effect` with the modules of a program that it loads.
 */
import * as fs from "node:fs"

/** Commands that load no module of a program. */
const alone = new Set(["run", "chat", "trace", "review", "runs"])

/** True where nothing is loaded that has to share `effect`: an agent of a file, a server's page, or the client of PostgreSQL. */
const isAlone = ([command = "--help", ...options]: ReadonlyArray<string>): boolean => {
  if (command.startsWith("-")) return options.length === 0
  const shares = (word: string) => /^--?(agent|playground)\b|postgres/.test(word)
  return alone.has(command) && ![...options, process.env["TROUPE_DATABASE"] ?? ""].some(shares)
}

const bundle = new URL("./commandLine/main.js", import.meta.url)

if (isAlone(process.argv.slice(2)) && fs.existsSync(bundle)) await import(bundle.href)
else await import("./cli/main.ts")
