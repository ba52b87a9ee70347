/** An MCP server over stdio whose answers are its argument, as JSON: see `mcpRawAnswers.ts`. */
import * as readline from "node:readline"
import { answering, type RawAnswers } from "./mcpRawAnswers.ts"

const answers = JSON.parse(process.argv[2] ?? "{}") as RawAnswers
const receive = answering(answers, (line) => process.stdout.write(`${line}\n`))
readline.createInterface({ input: process.stdin }).on("line", receive)
