/**
 * The program that holds the SDK's client for one connection. It is driven by messages (`protocol.ts`), so that it runs in
 * this thread and in the I/O thread alike.
 */
import * as Calls from "./calls.ts"
import * as HttpTransports from "./httpTransport.ts"
import * as Authorization from "./oauthProvider.ts"
import * as Opening from "./opening.ts"
import type { ToHost } from "./protocol.ts"
import * as Questions from "./questions.ts"
import * as Connection from "./sdkConnection.ts"
import type { Sdk } from "./sdkLoader.ts"

/** Starts the program. It takes messages by the function that is returned, and sends its own by `post`. */
export const start = (sdk: Sdk, post: Connection.Post): ((message: ToHost) => void) => {
  const connection = Connection.make(sdk, post)
  const authorization = Authorization.make(connection)
  const questions = Questions.make(connection)
  const transports = HttpTransports.make(connection, authorization)
  const calls = Calls.make(connection, authorization)
  let closing: Promise<void> | undefined

  const close = async (): Promise<void> => {
    connection.isUp = false
    questions.refuseAll("the connection is being closed")
    await transports.endSession(connection.attempt?.http)
    const attempt = connection.attempt
    await attempt?.client.close().catch(() => {})
    await attempt?.http?.close().catch(() => {})
    await attempt?.process?.close().catch(() => {})
  }

  return (message) => {
    switch (message.type) {
      case "open":
        void Opening.open(
          { connection, authorization, transports, questions, isClosing: () => closing !== undefined },
          message
        )
        return
      case "call":
        void calls.call(message)
        return
      case "cancel":
        calls.cancel(message.id, message.reason)
        return
      case "notify": {
        const { method, params } = message
        const notification = { method, ...(params === undefined ? {} : { params }) }
        void connection.attempt?.client.notification(notification).catch(() => {})
        return
      }
      case "answer":
        questions.answer(message.id, message.result)
        return
      case "refuse":
        questions.refuse(message.id, Object.assign(new Error(message.message), { code: message.code }))
        return
      case "authorized":
        authorization.allow(message.code)
        return
      case "unauthorized":
        authorization.refuse(new sdk.UnauthorizedError(message.message))
        return
      case "close":
        closing ??= close().finally(() => post({ type: "closed", stderr: connection.attempt?.process?.stderr() }))
    }
  }
}
