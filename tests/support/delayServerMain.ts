/**
 * A child process: `/ok/MS` answers after MS, `/hang` never, `/reset` breaks off, `/big/N` sends N bytes, `/drip` sends a
 * byte now and then for ever. Counts requests (`/count`), aborts (`/aborted`), and how many `/ok` requests were open at
 * once (`/peak`, which begins to count anew).
 */
import { createServer } from "node:http"

let aborted = 0
let count = 0
let open = 0
let peak = 0
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
  if (kind === "peak") {
    res.end(String(peak))
    peak = 0
    return
  }
  if (kind === "ok") {
    peak = Math.max(peak, ++open)
    res.on("close", () => open--)
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
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as { readonly port: number }).port))
