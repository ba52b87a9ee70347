/** The server of the contract in a process of its own, which a blocked thread can wait for. It ends with its parent. */
import * as Server from "../support/openAiServer.ts"
import { replyBy } from "./openAiResponder.ts"

const [chat, responses] = await Promise.all([Server.serve(replyBy("chat")), Server.serve(replyBy("responses"))])
process.send!({ chat: chat.url, responses: responses.url })
process.on("disconnect", () => process.exit(0))
