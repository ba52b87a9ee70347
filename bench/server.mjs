// A local OpenAI-compatible server (Chat Completions). The model's name says what it does:
// text | tools-N (N rounds of one tool call, then text) | stream-N-M (N tokens, M a write) | wait-MS | echo |
// panel (the instructions say what: wait-MS, or fail-MS for a refusal after so long).
// GET /panel gives what became of the panel's requests since the last time it was asked.
import http from "node:http"
const usage = { prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 }
const token = (n) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: { content: `w${n} ` }, finish_reason: null }] })}\n\n`
const tokens = Array.from({ length: 4000 }, (_, n) => token(n))
const end = `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage })}\n\ndata: [DONE]\n\n`
// Ids of their own: LangGraph takes a message with the id of another for a new version of it.
let answers = 0
const answer = (message, finish_reason) =>
  JSON.stringify({
    id: `c${++answers}`,
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [{ index: 0, finish_reason, message: { role: "assistant", refusal: null, ...message } }],
    usage
  })
const none = { begun: 0, answered: 0, aborted: 0 }
let panel = { ...none }
/** What a message says, whether its content is a text or a list of parts. */
const said = ({ content }) => (typeof content === "string" ? content : content.map((part) => part.text ?? "").join(""))
const server = http.createServer((req, res) => {
  if (req.url === "/panel") {
    res.end(JSON.stringify(panel))
    panel = { ...none }
    return
  }
  const chunks = []
  req.on("data", (chunk) => chunks.push(chunk))
  req.on("end", () => {
    const body = JSON.parse(Buffer.concat(chunks).toString())
    const [kind, n, perWrite = 1] = body.model.split("-").map((part, index) => (index === 0 ? part : +part))
    if (body.stream) {
      res.writeHead(200, { "content-type": "text/event-stream" })
      // Each write in a tick and a packet of its own, as a model's tokens come.
      req.socket.setNoDelay(true)
      let at = 0
      const step = () => {
        res.write(tokens.slice(at, (at += perWrite)).join(""))
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
    if (kind === "echo") {
      return send(answer({ content: `echo of ${said(body.messages.at(-1))}` }, "stop"))
    }
    if (kind === "panel") {
      const [what, ms] = said(body.messages[0]).split("-")
      const counts = panel
      counts.begun++
      const timer = setTimeout(() => {
        counts.answered++
        if (what === "wait") return send(answer({ content: "ok" }, "stop"))
        // A refusal that no client takes for one to be tried again.
        res.writeHead(400, { "content-type": "application/json" })
        res.end(JSON.stringify({ error: { message: "the panel refuses", type: "invalid_request_error" } }))
      }, +ms)
      res.on("close", () => {
        if (res.writableEnded) return
        clearTimeout(timer)
        counts.aborted++
      })
      return
    }
    if (kind === "wait") return setTimeout(() => send(answer({ content: "ok" }, "stop")), +n)
    send(answer({ content: "Hello there." }, "stop"))
  })
})
// A busy client is slow to see that an idle connection was closed, and then loses a request.
server.keepAliveTimeout = 120_000
// It ends with the process that started it.
process.on("disconnect", () => process.exit())
server.listen(0, "127.0.0.1", () => process.send?.(server.address().port))
