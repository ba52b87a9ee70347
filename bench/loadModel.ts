/** A model on OpenAI's protocol for load.ts: it begins after 200 ms and streams 50 tokens, 20 ms apart. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const chunk = (choices: ReadonlyArray<unknown>, more: object = {}) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices, ...more })}\n\n`
const token = (n: number) => chunk([{ index: 0, delta: { content: `w${n} ` }, finish_reason: null }])
const usage = { prompt_tokens: 20, completion_tokens: 50, total_tokens: 70 }
const end = `${chunk([{ index: 0, delta: {}, finish_reason: "stop" }])}${chunk([], { usage })}data: [DONE]\n\n`

const server = createServer((request, response) => {
  request.resume()
  request.on("end", () => {
    let n = 0
    const step = () => {
      if (response.destroyed) return
      if (n === 0) response.writeHead(200, { "content-type": "text/event-stream" })
      response.write(Array.from({ length: 5 }, (_, i) => token(n + i)).join(""))
      n += 5
      if (n < 50) setTimeout(step, 20)
      else response.end(end)
    }
    setTimeout(step, 200)
  })
})
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () =>
  process.send!((server.address() as AddressInfo).port)
)
