/**
 * The output of help, versions and wrong usage: help goes to standard output, and problems go to standard error,
 * first.
 */
import * as CliOutput from "effect/cli/CliOutput"
import type * as CliError from "effect/cli/CliError"
import { escapeControls } from "../internal/text.ts"
import { err, out } from "./terminal.ts"

/** Breaks lines at spaces; what goes on is indented like the last column of the line. */
export const wrap = (text: string, columns: number): string =>
  text
    .split("\n")
    .flatMap((line) => {
      if (line.length <= columns) return [line]
      const column = /^(\s*\S.*?\s{2,})\S/.exec(line)?.[1]?.length ?? /^\s*/.exec(line)![0].length
      const indent = " ".repeat(column > columns / 2 ? 4 : column)
      const lines: Array<string> = []
      let rest = line
      while (rest.length > columns) {
        const at = rest.lastIndexOf(" ", columns)
        if (at <= indent.length) break
        lines.push(rest.slice(0, at).trimEnd())
        rest = indent + rest.slice(at).trimStart()
      }
      return [...lines, rest]
    })
    .join("\n")

/** What is wrong with the usage, in one line. */
const problemOf = (error: CliError.CliError): string => {
  const [problem, names] = error.message.split(/\s*Did you mean this\?\s*/)
  const suggestion =
    names === undefined
      ? ""
      : `\n\nDid you mean this? ${names
          .trim()
          .split(/\s*\n\s*/)
          .join(" or ")}`
  const text = `${problem}${suggestion}`.replace(/\s*\n\s*\n\s*/g, ". ").replace(/\s*\n\s*/g, " ")
  return escapeControls(text).replace(/\.?$/, ".")
}

/** The next step after wrong usage. */
const remedyOf = (error: CliError.CliError, commandPath: ReadonlyArray<string>): string => {
  const command = commandPath.join(" ")
  if (error._tag === "UnexpectedArgument" && commandPath.at(-1) === "run") {
    return ` A question of several words is quoted: ${command} "What is 2 + 40?"`
  }
  return ` See ${command} --help`
}

const columns = (): number => Math.max(40, Math.min(100, process.stdout.columns ?? 80))

/** Shows help, versions and errors of usage. */
export const presenter: CliOutput.Presenter = {
  present: (event) => {
    const formatter = CliOutput.defaultFormatter({ globalFlags: "summary", colors: process.stdout.isTTY === true })
    switch (event._tag) {
      case "Help": {
        const text = `${wrap(formatter.formatHelpDoc(event.helpDoc), columns())}\n`
        return event.reason === "Requested" ? out(text) : err(text)
      }
      case "InvalidInvocation": {
        const [first] = event.errors
        return err(
          `troupe: ${problemOf(first!)}${remedyOf(first!, event.commandPath)}\nusage: ${event.helpDoc.usage}\n`
        )
      }
      case "Version":
        return out(`${event.name} v${event.version}\n`)
    }
  }
}
