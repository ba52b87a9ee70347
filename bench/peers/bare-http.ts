/** The floor of `node:http`. */
import * as http from "node:http"
import { baseURL, type Peer } from "../peer.ts"
import { makePeer } from "./bare.ts"

const { hostname, port } = new URL(baseURL)
const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 1024 })

export const peer: Peer = makePeer(
  (path, body, onChunk) =>
    new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) }
      const request = http.request({ hostname, port, path, method: "POST", agent, headers }, (response) => {
        response.on("data", onChunk)
        response.on("end", resolve)
        response.on("error", reject)
      })
      request.on("error", reject)
      request.end(body)
    })
)
