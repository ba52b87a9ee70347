// A local OpenAI-compatible server (Chat Completions). The model's name says what it does:
// text | tools-N (N rounds of one tool call, then text) | stream-N (N tokens) | wait-MS
import http from "node:http"
const usage = { prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 }
const token = (n) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: { content: `w${n} ` }, finish_reason: null }] })}\n\n`
const tokens = Array.from({ length: 4000 }, (_, n) => token(n))
const end = `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage })}\n\ndata: [DONE]\n\n`
const answer = (message, finish_reason) =>
  JSON.stringify({
    id: "c",
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [{ index: 0, finish_reason, message: { role: "assistant", refusal: null, ...message } }],
    usage
  })
const server = http.createServer((req, res) => {
  const chunks = []
  req.on("data", (chunk) => chunks.push(chunk))
  req.on("end", () => {
    const body = JSON.parse(Buffer.concat(chunks).toString())
    const [kind, n] = body.model.split("-")
    if (body.stream) {
      res.writeHead(200, { "content-type": "text/event-stream" })
      // A token a write, each in a tick and a packet of its own, as a model's come.
      req.socket.setNoDelay(true)
      let at = 0
      const step = () => {
        res.write(tokens[at++])
        if (at < +n) setImmediate(step)
        else res.end(end)
      }
      return step()
    }
    const send = (text) => {
      res.writeHead(200, { "content-type": "application/json" })
      res.end(text)
    }
    if (kind === "tools") {
      const done = body.messages.filter((m) => m.role === "tool").length
      return send(
        done < +n
          ? answer(
              {
                content: null,
                tool_calls: [
                  {
                    id: `c${done}`,
                    type: "function",
                    function: { name: "add", arguments: JSON.stringify({ a: done, b: 1 }) }
                  }
                ]
              },
              "tool_calls"
            )
          : answer(
              {
                content: `sum ${body.messages
                  .filter((m) => m.role === "tool")
                  .map((m) => m.content)
                  .join(",")}`
              },
              "stop"
            )
      )
    }
    if (kind === "wait") return setTimeout(() => send(answer({ content: "ok" }, "stop")), +n)
    send(answer({ content: "Hello there." }, "stop"))
  })
})
server.listen(0, "127.0.0.1", () => process.send?.(server.address().port))
