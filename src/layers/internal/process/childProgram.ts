/** The program of the I/O thread that runs one command. */
import type { Start } from "../io/threads/programs.ts"
import { type FromProcess, host, type ToProcess } from "./child.ts"

export const start: Start = (post) => {
  const receive = host((message: FromProcess) => post(message))
  return (message) => receive(message as ToProcess)
}
