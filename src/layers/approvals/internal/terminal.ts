/** Asks the user at a terminal. */
import * as Effect from "effect/Effect"
import type * as Terminal from "effect/Terminal"
import { parseJson } from "../../../internal/json.ts"
import { escapeControls } from "../../../internal/text.ts"
import type { Decision, Request } from "../../../services/Approver.ts"

/** How much of the arguments is shown before the person asks for the rest. */
const maxLines = 40
const maxColumns = 400
/** How much is shown of a description, which an MCP server may have written. */
const maxDescription = 500

/** Puts one request to the person: run it, do not run it and why, or change the arguments. Quitting the prompt denies. */
export const ask = (terminal: Terminal.Terminal, request: Request): Effect.Effect<Decision> => {
  const say = (text: string) => Effect.ignore(terminal.display(text))
  const askFor = (question: string) => Effect.andThen(say(question), terminal.readLine)
  return Effect.gen(function* (): Effect.fn.Return<Decision, Terminal.QuitError> {
    const lines = JSON.stringify(request.params, null, 2).split("\n").map(escapeControls)
    const short = shorten(lines)
    yield* say(`\n${headOf(request)} with\n${short.join("\n")}\n`)
    const more =
      short.length < lines.length || short.some((line, index) => line !== lines[index]) ? ", [a]ll of it" : ""
    while (true) {
      const question = `Run it (${escapeControls(request.tool)})? [y]es, [n]o, [e]dit${more}: `
      switch ((yield* askFor(question)).trim().toLowerCase()) {
        case "y":
        case "yes":
          return { _tag: "Approved" }
        case "n":
        case "no": {
          const reason = (yield* askFor("Why not? ")).trim()
          return { _tag: "Denied", reason: reason === "" ? "the person at the terminal said no" : reason }
        }
        case "a":
        case "all":
          yield* say(`${lines.join("\n")}\n`)
          break
        case "e":
        case "edit": {
          const edited = parseJson(yield* askFor("Arguments, as JSON on one line: "))
          if (edited !== undefined) return { _tag: "Approved", params: edited }
          yield* say("That is not JSON.\n")
        }
      }
    }
  }).pipe(Effect.catchTag("QuitError", () => Effect.succeed(left)))
}

const left: Decision = { _tag: "Denied", reason: "the person at the terminal left" }

const headOf = ({ description, path, server, tool }: Request): string => {
  const who = path.map(escapeControls).join(" > ")
  const whose = server === undefined ? "" : ` of the server ${escapeControls(server)}`
  const what = description === undefined ? "" : ` (${cut(escapeControls(description), maxDescription)})`
  return `${who} wants to call ${escapeControls(tool)}${whose}${what}`
}

const shorten = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const shown = lines.slice(0, maxLines).map((line) => cut(line, maxColumns))
  return lines.length > maxLines ? [...shown, `... ${lines.length - maxLines} more lines`] : shown
}

const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length)}... (${text.length - length} more characters)`
