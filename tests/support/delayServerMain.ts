/**
 * A child process: `/ok/MS` answers after MS, `/hang` never, `/reset` breaks off, `/big/N` sends N bytes, `/drip` sends a
 * byte now and then forever, `/meet/N` answers when N such requests are open. Counts requests (`/count`) and aborts
 * (`/aborted`).
 */
import { createServer, type ServerResponse } from "node:http"

let aborted = 0
let count = 0
const met: Array<ServerResponse> = []
const server = createServer((req, res) => {
  const [, kind, value] = (req.url ?? "").split("/")
  res.on("close", () => {
    if (!res.writableEnded) aborted++
  })
  if (kind === "count") {
    res.end(String(count))
    return
  }
  count++
  if (kind === "hang") return
  if (kind === "drip") {
    const drip = setInterval(() => res.write("."), 5)
    res.on("close", () => clearInterval(drip))
    return
  }
  if (kind === "aborted") {
    res.end(String(aborted))
    return
  }
  if (kind === "meet") {
    met.push(res)
    if (met.length === Number(value)) for (const one of met.splice(0)) one.end(`met${value}`)
    return
  }
  if (kind === "reset") {
    res.writeHead(200, { "content-length": "100" })
    res.write("partial")
    setTimeout(() => res.destroy(), 10)
    return
  }
  if (kind === "big") {
    res.end(Buffer.alloc(Number(value), "x"))
    return
  }
  setTimeout(() => {
    res.statusCode = kind === "ok" ? 200 : Number(kind)
    res.end(`${kind}${value}`)
  }, Number(value))
})
// No client gets a connection that is being closed, and a client that would wait for its end would wait for long.
server.keepAliveTimeout = 65_000
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as { readonly port: number }).port))
