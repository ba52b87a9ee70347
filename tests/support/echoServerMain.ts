/**
 * A child process that says what it was sent: method, headers and body, as JSON. `/status/N` answers with that status and
 * the body `said`, `/moved` redirects to the root.
 */
import { createServer } from "node:http"

const server = createServer((req, res) => {
  const chunks: Array<Buffer> = []
  req.on("data", (chunk: Buffer) => chunks.push(chunk))
  req.on("end", () => {
    const [, kind, value] = (req.url ?? "").split("/")
    if (kind === "moved") res.writeHead(302, { location: "/" })
    else if (kind === "status") res.writeHead(Number(value))
    const body = Buffer.concat(chunks).toString("latin1")
    res.end(kind === "status" ? "said" : JSON.stringify({ method: req.method, headers: req.headers, body }))
  })
})
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as { readonly port: number }).port))
