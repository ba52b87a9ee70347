/** A way through which connections go to a port, so that a test can count them and cut them. */
import { once } from "node:events"
import * as net from "node:net"

export const tcpProxy = async (port: number) => {
  const sockets = new Set<net.Socket>()
  let target = port
  let total = 0
  const server = net.createServer((socket) => {
    total++
    sockets.add(socket)
    const other = net.connect(target, "127.0.0.1")
    const end = () => {
      sockets.delete(socket)
      socket.destroy()
      other.destroy()
    }
    for (const one of [socket, other]) one.on("error", end).on("close", end)
    socket.pipe(other)
    other.pipe(socket)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    port: (server.address() as net.AddressInfo).port,
    /** How many connections are open. */
    open: () => sockets.size,
    /** How many there have been. */
    total: () => total,
    /** Breaks all connections. */
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    /** Lets new connections go to another port. */
    retarget: (port: number) => {
      target = port
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, "close")
    }
  }
}
