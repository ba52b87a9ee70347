/** Pages for the tool that fetches, friendly and hostile, in a child process: `fork` it and it sends its port. */
import { createServer, type ServerResponse } from "node:http"
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"

let aborted = 0
let requests = 0
const page = `<!doctype html><html><head><title>A &amp; B</title><style>p { color: red }</style></head><body>
<h1>Hello</h1><script>alert("no")</script><p>Some <b>bold</b> text and <a href="/next?a=1">a link</a>,
<a href="javascript:alert(1)">no link</a>, <img src="data:image/png;base64,AAAA" alt="a picture">.</p>
<ul><li>one</li><li>two</li></ul></body></html>`
// Formatting that is never closed is opened again in every following block: few bytes become very many elements.
const explosive = (count: number) =>
  `<title>Boom</title><div>${Array.from({ length: count }, (_, n) => `<font color=${n}>`).join("")}</div>${"<div>x</div>".repeat(30_000)}`

const html = (response: ServerResponse, body: string | Uint8Array, headers: Record<string, string> = {}) =>
  response.writeHead(200, { "content-type": "text/html; charset=utf-8", ...headers }).end(body)
const text = (response: ServerResponse, body: string | Uint8Array, headers: Record<string, string> = {}) =>
  response.writeHead(200, { "content-type": "text/plain", ...headers }).end(body)

const pages: Record<string, (response: ServerResponse, url: URL, headers: Record<string, unknown>) => unknown> = {
  "/page": (response) => html(response, page),
  "/gzip": (response) => html(response, gzipSync(page), { "content-encoding": "gzip" }),
  "/deflate": (response) => html(response, deflateSync(page), { "content-encoding": "deflate" }),
  "/raw-deflate": (response) => html(response, deflateRawSync(page), { "content-encoding": "deflate" }),
  "/br": (response) => html(response, brotliCompressSync(page), { "content-encoding": "br" }),
  "/zstd": (response) => html(response, zstdCompressSync(page), { "content-encoding": "zstd" }),
  /** A page with this body. */
  "/html": (response, url) => html(response, url.searchParams.get("body") ?? ""),
  "/twice": (response) => html(response, gzipSync(gzipSync(page)), { "content-encoding": "gzip, gzip" }),
  "/often": (response) => html(response, page, { "content-encoding": "gzip, gzip, gzip" }),
  "/unknown": (response) => html(response, page, { "content-encoding": "lzma" }),
  "/broken": (response) => html(response, gzipSync(page).subarray(0, 50), { "content-encoding": "gzip" }),
  "/bomb": (response) => html(response, gzipSync(Buffer.alloc(30_000_000)), { "content-encoding": "gzip" }),
  "/zstd-bomb": (response) =>
    html(response, zstdCompressSync(Buffer.alloc(30_000_000)), { "content-encoding": "zstd" }),
  "/noise": (response) => html(response, Buffer.alloc(5_000_000, "\x1f"), { "content-encoding": "gzip" }),
  "/big": (response) => text(response, "x".repeat(5_000_000)),
  "/latin": (response) =>
    text(response, Buffer.from([0x63, 0x61, 0x66, 0xe9]), { "content-type": "text/plain; charset=latin1" }),
  "/empty": (response) => text(response, "", { "content-encoding": "gzip" }),
  "/no-content": (response) => response.writeHead(204, { "content-encoding": "br" }).end(),
  "/utf16": (response) =>
    response.writeHead(200, { "content-type": "text/html" }).end(Buffer.from("\ufeff<p>caf\u00e9</p>", "utf16le")),
  "/marked": (response) => text(response, "\ufeffcaf\u00e9", { "content-type": "text/plain; charset=latin1" }),
  "/json": (response) => text(response, `{"a":1}`, { "content-type": "application/json" }),
  "/image": (response) => text(response, "PNG", { "content-type": "image/png" }),
  "/liar": (response) => text(response, Buffer.from([65, 0, 66])),
  "/explosive": (response) => html(response, explosive(400)),
  "/heavy": (response) => html(response, explosive(30)),
  "/deep": (response) => html(response, `${"<div>".repeat(50_000)}deep down`),
  "/missing": (response) => response.writeHead(404, { "content-type": "text/plain" }).end("not here"),
  "/loop": (response) => response.writeHead(302, { location: "/loop" }).end(),
  "/to": (response, url) => response.writeHead(302, { location: url.searchParams.get("where") ?? "/page" }).end(),
  "/host": (response, _, headers) => text(response, JSON.stringify(headers)),
  "/hang": () => {},
  "/reset": (response) => {
    response.writeHead(200, { "content-type": "text/plain", "content-length": "100" }).write("some")
    setTimeout(() => response.destroy(), 10)
  },
  "/slow": (response) => {
    response.writeHead(200, { "content-type": "text/plain" })
    const timer = setInterval(() => response.write("."), 5)
    response.on("close", () => clearInterval(timer))
  },
  "/endless": (response) => {
    response.writeHead(200, { "content-type": "text/plain" })
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(65_536)));
    }
    response.on("drain", more)
    more()
  },
  "/counts": (response) => text(response, JSON.stringify({ aborted, requests }))
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://local")
  if (url.pathname !== "/counts") requests++
  response.on("close", () => {
    if (!response.writableEnded) aborted++
  })
  const show = pages[url.pathname]
  if (show === undefined) response.writeHead(404).end()
  else show(response, url, request.headers)
})
// No client gets a connection that is being closed.
server.keepAliveTimeout = 65_000
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as { readonly port: number }).port))
process.on("disconnect", () => process.exit())
