/** The floor of undici's `dispatch`. */
import { Agent } from "undici"
import { baseURL, type Peer } from "../peer.ts"
import { makePeer } from "./bare.ts"

const { origin } = new URL(baseURL)
const agent = new Agent({ connections: 1024, pipelining: 1 })
const headers = { "content-type": "application/json" }

export const peer: Peer = makePeer(
  (path, body, onChunk) =>
    new Promise((resolve, reject) => {
      agent.dispatch(
        { origin, path, method: "POST", headers, body },
        {
          onRequestStart: () => {},
          onResponseStart: () => {},
          onResponseData: (_, chunk) => onChunk(chunk),
          onResponseEnd: () => resolve(),
          onResponseError: (_, error) => reject(error)
        }
      )
    })
)
