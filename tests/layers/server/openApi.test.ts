/** The description of a server, against the routes that it has. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Agent, Runner, TestModel } from "troupe"
import { make } from "../../../src/layers/server/internal/edge.ts"
import { openApi } from "../../../src/layers/server/internal/openApi.ts"
import { protocols } from "../../../src/layers/server/internal/protocols.ts"
import { routesOf } from "../../../src/layers/server/internal/routes.ts"
import { servedOf } from "../../../src/layers/server/internal/served.ts"
import { settingsOf } from "../../../src/layers/server/internal/settings.ts"

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly responses: Readonly<Record<string, unknown>>
}

const runners = {
  desk: Agent.make("desk", {}),
  echo: Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
}

const described = Effect.gen(function* () {
  const edge = yield* make(settingsOf({ prefix: "/agents", bearer: () => true, playground: true }), servedOf(runners))
  // What each route is called in the document: one of a runner's own is there for each runner.
  const routes = routesOf(edge, protocols).flatMap(({ method, path }) => {
    const own = path.replace(/:(\w+)/g, "{$1}")
    const names = own.startsWith("/agents/runners/{name}") ? Object.keys(runners) : [undefined]
    return names.map((name) => `${method.toLowerCase()} ${name === undefined ? own : own.replace("{name}", name)}`)
  })
  // As it is sent.
  const document = JSON.parse(JSON.stringify(openApi(edge))) as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
    readonly components: { readonly schemas: Readonly<Record<string, unknown>> }
  }
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).flatMap(([method, operation]) =>
      method === "parameters" ? [] : [{ path, method, operation }]
    )
  )
  return { document, operations, routes }
}).pipe(Effect.provide(Layer.mergeAll(TestModel.layer([], { unused: "ignore" }))), Effect.scoped)

it.live("describes every route and nothing else", () =>
  Effect.gen(function* () {
    const { operations, routes } = yield* described
    assert.deepStrictEqual(operations.map(({ method, path }) => `${method} ${path}`).sort(), routes.sort())
  })
)

it.live("names each operation once, with its path's parameters and schemas that are there", () =>
  Effect.gen(function* () {
    const { document, operations } = yield* described
    const ids = operations.map(({ operation }) => operation.operationId)
    assert.strictEqual(new Set(ids).size, ids.length)
    for (const { operation, path } of operations) {
      assert.isNotEmpty(operation.summary, path)
      assert.isNotEmpty(Object.keys(operation.responses), path)
      const declared = JSON.stringify(document.paths[path]!["parameters"] ?? [])
      for (const [, name] of path.matchAll(/\{(\w+)\}/g)) assert.include(declared, `"name":"${name}"`, path)
    }
    for (const [, name] of JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)/g)) {
      assert.property(document.components.schemas, name!)
    }
  })
)
