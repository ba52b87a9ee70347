/** The playground in a real browser: one server with a model over the wire, one Chromium, a page for each test. */
import { afterAll, afterEach, assert, beforeAll, beforeEach, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Schema, Scope } from "effect"
import type { Browser, BrowserContextOptions, Page } from "playwright-core"
import { Agent, AgentServer, AgentTool, TestModel, TraceStore } from "troupe"
import { listen } from "../../support/agentServer.ts"
import { launch } from "../../support/chromium.ts"
import type { OpenAiServer } from "../../support/openAiServer.ts"
import { tcpProxy } from "../../support/tcpProxy.ts"
import { gate, hostile, hostileEvents, long, paid, playground } from "../../support/playgroundServer.ts"

const pay = AgentTool.fromFunction("pay", {
  description: "Pays",
  parameters: Schema.Struct({ amount: Schema.Finite }),
  needsApproval: true,
  execute: () => "paid"
})
const clerk = Agent.make("clerk", { tools: [pay] })

/** A server that asks for a token, keeps nothing and exposes nothing. */
const guarded = listen(
  { runners: { clerk }, playground: true, bearer: (token) => Redacted.value(token) === "s3cr3t" },
  TestModel.layer(() => TestModel.toolCall("pay", { amount: 4711 }))
)

const ofTraces = Effect.gen(function* () {
  const store = yield* TraceStore.TraceStore
  yield* store.append(hostileEvents.map((event) => ({ rootId: "run_hostile", session: undefined, event })))
  const context = yield* Layer.build(AgentServer.serveTraces({ port: 0 }))
  return Context.get(context, AgentServer.Listening).url
}).pipe(Effect.provide(TraceStore.layerMemory))

let browser: Browser
let url: string
let model: OpenAiServer
let guardedUrl: string
let tracesUrl: string
const scope = Scope.makeUnsafe()

beforeAll(async () => {
  const launching = launch()
  const servers = Effect.all([playground, guarded, ofTraces])
  const [own, other, traces] = await Effect.runPromise(Effect.provideService(servers, Scope.Scope, scope))
  url = own.url.href
  model = own.model
  guardedUrl = other.href
  tracesUrl = traces
  browser = await launching
})

afterAll(async () => {
  await browser.close()
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

beforeEach(() => {
  paid.length = 0
})
afterEach(gate.open)

const desktop: BrowserContextOptions = { viewport: { width: 1280, height: 800 } }
const phone: BrowserContextOptions = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }

/** Opens a page, and fails where it logs an error, an error is thrown in it, or it asks another server for anything. */
const opened = async (
  use: (page: Page) => Promise<void>,
  { address = url, expected = /^$/, options = desktop } = {}
): Promise<void> => {
  const context = await browser.newContext(options)
  context.setDefaultTimeout(10_000)
  const page = await context.newPage()
  const wrong: Array<string> = []
  page.on("pageerror", (error) => wrong.push(error.message))
  page.on("console", (message) => {
    if (message.type() === "error" && !expected.test(message.text())) wrong.push(message.text())
  })
  page.on("request", (request) => {
    const asked = request.url()
    if (!asked.startsWith(new URL(address).origin) && !asked.startsWith("data:")) wrong.push(`asks for ${asked}`)
  })
  try {
    await page.goto(address)
    await use(page)
    assert.deepStrictEqual(wrong, [])
  } finally {
    await context.close()
  }
}

const say = async (page: Page, text: string): Promise<void> => {
  const box = page.getByRole("textbox", { name: /^Message to/ })
  await box.fill(text)
  await box.press("Enter")
}

const choose = async (page: Page, runner: string): Promise<void> => {
  await page.getByRole("navigation", { name: "Runners" }).getByRole("button", { name: runner }).click()
  await page.getByRole("textbox", { name: new RegExp(`(Message to|Input of) ${runner}`) }).waitFor()
}

const state = (page: Page, name: string) => page.locator(".turn .state", { hasText: name }).last().waitFor()

const ended = (page: Page) => state(page, "completed")

/** The part of a graph with this state. */
const node = (name: string, status: string): string => `.node.${status}[data-key='["${name}"]']`

const row = (page: Page, name: string) => page.locator(".row", { hasText: name })

/** The waterfall's bar of a line, from left to right. */
const barOf = async (page: Page, name: string): Promise<readonly [number, number]> => {
  const box = await row(page, name).locator(".bar").first().boundingBox()
  return [box?.x ?? 0, (box?.x ?? 0) + (box?.width ?? 0)]
}

describe("a conversation", () => {
  it("streams, has its tokens and cost, and goes on from turn to turn", () =>
    opened(async (page) => {
      gate.close()
      await say(page, "Hello")
      // The answer is there before the model has ended it.
      await page.locator(".said.live", { hasText: "Good morning" }).waitFor()
      await state(page, "running")
      gate.open()
      await ended(page)
      assert.strictEqual(await page.locator(".said").innerText(), "Good morning. Ask me about an order.")
      // What is said to those who listen is not drawn.
      const spoken = await page.getByRole("status").filter({ hasText: "desk: completed" }).boundingBox()
      assert.isAtMost(spoken!.width, 1)
      assert.match(await page.locator(".turn .bill").innerText(), /completed\s.*18 tokens\s+\$0\.\d+/s)
      await say(page, "What was that?")
      await page.locator(".turn .state.completed").nth(1).waitFor()
      const messages: ReadonlyArray<{ readonly role: string }> = model.requests.at(-1)!.body["messages"]
      assert.deepStrictEqual(
        messages.map(({ role }) => role),
        ["system", "user", "assistant", "user"]
      )
      await page.getByRole("button", { name: "New conversation" }).click()
      await page.getByRole("heading", { name: "desk" }).waitFor()
    }))

  it("shows reasoning and tool calls, and has a call approved with other arguments", () =>
    opened(async (page) => {
      await say(page, "I want a refund")
      const form = page.getByRole("form", { name: /refund/ })
      await form.waitFor()
      const names = await page.locator(".row .name").allInnerTexts()
      assert.deepStrictEqual(
        names.map((name) => name.split(" ")[0]),
        ["desk", "reasoning", "look_up", "refund"]
      )
      await page.getByText("Thoughts").click()
      await page.locator(".reasoning", { hasText: "The customer wants the money back." }).waitFor()
      const box = form.getByRole("textbox", { name: /^Arguments/ })
      assert.deepStrictEqual(JSON.parse(await box.inputValue()), { order: "A-17", amount: 40 })
      await box.fill('{ "order": "A-17", "amount": 25')
      await form.getByRole("button", { name: "Approve with changes" }).click()
      await form.getByRole("alert").waitFor()
      assert.deepStrictEqual(paid, [])
      await box.fill('{ "order": "A-17", "amount": 25 }')
      await form.getByRole("button", { name: "Approve with changes" }).click()
      await ended(page)
      assert.deepStrictEqual(paid, [25])
      assert.deepStrictEqual(await page.locator("td").allInnerTexts(), ["A-17", "25"])
      assert.strictEqual(await page.locator(".node.tool.completed").count(), 2)
    }))

  it("has a call rejected, with a reason that the model reads", () =>
    opened(async (page) => {
      await say(page, "I want a refund")
      await page.getByRole("textbox", { name: "Reason to reject" }).fill("only for members")
      await page.getByRole("button", { name: "Reject" }).click()
      await ended(page)
      assert.deepStrictEqual(paid, [])
      assert.include(JSON.stringify(model.requests.at(-1)!.body), "only for members")
    }))

  it("goes on where it was when the connection has been lost", async () => {
    const proxy = await tcpProxy(Number(new URL(url).port))
    const address = `http://127.0.0.1:${proxy.port}/`
    await opened(
      async (page) => {
        gate.close()
        await say(page, "a long answer")
        await page.locator(".said.live", { hasText: "word3" }).waitFor()
        const followed = page.waitForRequest(/\/runs\/[^/]+\/stream$/)
        proxy.cut()
        assert.match((await followed).headers()["last-event-id"] ?? "", /^run_\w+:\d+$/)
        gate.open()
        await ended(page)
        assert.strictEqual(await page.locator(".said").innerText(), long)
      },
      { address, expected: /ERR_CONNECTION_RESET|ERR_INCOMPLETE|ERR_EMPTY/ }
    ).finally(proxy.close)
  })

  it("is cancelled down to the model's wire, by Escape", () =>
    opened(async (page) => {
      const before = model.aborted()
      await say(page, "endless")
      await page.locator(".said.live").waitFor()
      await page.keyboard.press("Escape")
      await state(page, "cancelled")
      await Effect.runPromise(model.untilAborted(before + 1))
      await say(page, "Hello")
      await ended(page)
    }))
})

describe("a workflow", () => {
  it("has its parallel branches side by side, and lights its graph up as it goes", () =>
    opened(async (page) => {
      await choose(page, "panel")
      await page.locator(".node.unused", { hasText: "chair" }).waitFor()
      const lit = `svg:has(${node("legal", "running")}):has(${node("finance", "running")}):has(${node("chair", "unused")})`
      gate.close()
      await say(page, "Shall we?")
      await page.locator(lit).waitFor()
      gate.open()
      await ended(page)
      const done = await page.locator(".node.completed text").allTextContents()
      assert.sameMembers(done, ["panel · parallel", "legal", "finance", "chair"])
      assert.strictEqual(await page.locator(".edge.taken").count(), 4)
      const [legal, finance, chair] = [
        await barOf(page, "legal"),
        await barOf(page, "finance"),
        await barOf(page, "chair")
      ]
      assert.isTrue(legal[0] < finance[1] && finance[0] < legal[1], "they overlap")
      assert.isAtLeast(chair[0], Math.max(legal[1], finance[1]) - 1)
      assert.match(await page.locator(".turn .bill").innerText(), /54 tokens/)
    }))

  it("takes an input that fits its schema", () =>
    opened(async (page) => {
      await choose(page, "area")
      const box = page.getByRole("textbox", { name: "Input of area, as JSON" })
      assert.deepStrictEqual(JSON.parse(await box.inputValue()), { width: 0, height: 0 })
      await box.fill('{ "width": 3, "height": "4" }')
      await box.press("Control+Enter")
      assert.match(await page.getByRole("alert").innerText(), /height does not fit/)
      await box.fill('{ "width": 3, "height": 4 }')
      await box.press("Control+Enter")
      await ended(page)
      assert.strictEqual(await page.locator(".json pre").first().innerText(), "12")
    }))
})

describe("handoffs", () => {
  it("are arcs between those who may hand over, lit where a conversation went", () =>
    opened(async (page) => {
      await choose(page, "team")
      const arc = (title: string) => page.locator(".edge", { hasText: title })
      for (const title of ["triage may hand over to billing", "billing may hand over to technical"]) {
        await arc(title).waitFor({ state: "attached" })
      }
      assert.strictEqual(await page.locator(".edge.taken").count(), 0)
      await say(page, "It is broken")
      await ended(page)
      assert.include(await page.locator(".turn").innerText(), "Turn it off and on again.")
      await page.locator(".edge.taken", { hasText: "triage handed over to technical" }).waitFor({ state: "attached" })
      await arc("triage may hand over to billing").waitFor({ state: "attached" })
      await arc("technical may hand over to triage").waitFor({ state: "attached" })
      await page.locator(node("billing", "unused")).waitFor()
      await page.locator(node("technical", "completed")).waitFor()
      const picture = process.env["PLAYGROUND_PICTURES"]
      if (picture !== undefined) await page.screenshot({ path: `${picture}/handoffs.png` })
    }))
})

describe("a run under way", () => {
  const sentOf = (page: Page, text: string) => page.locator(".sent", { hasText: text })

  it("is steered, and given something for its end, and takes both", () =>
    opened(async (page) => {
      gate.close()
      await say(page, "Hello")
      await page.locator(".said.live", { hasText: "Good morning" }).waitFor()
      await say(page, "Make it shorter")
      await sentOf(page, "Make it shorter").getByText("waits for the next model call").waitFor()
      await page.getByRole("textbox", { name: /^Message to/ }).fill("And a long one")
      await page.getByRole("button", { name: "Queue" }).click()
      await sentOf(page, "And a long one").getByText("waits for the end of the run").waitFor()
      const picture = process.env["PLAYGROUND_PICTURES"]
      if (picture !== undefined) await page.screenshot({ path: `${picture}/steering.png` })
      gate.open()
      await ended(page)
      await sentOf(page, "Make it shorter").getByText("taken by the run").waitFor()
      await sentOf(page, "And a long one").getByText("taken by the run").waitFor()
      assert.deepStrictEqual(await page.locator(".said").allInnerTexts(), [
        "Good morning. Ask me about an order.",
        "Short.",
        long
      ])
      await page.getByRole("button", { name: "Send" }).waitFor()
    }))

  it("is interrupted, and does not take what waits for it", () =>
    opened(async (page) => {
      await say(page, "endless")
      await page.locator(".said.live").waitFor()
      await say(page, "Make it shorter")
      await sentOf(page, "Make it shorter").getByText("waits for").waitFor()
      await page.getByRole("button", { name: "Cancel", exact: true }).click()
      await state(page, "cancelled")
      await sentOf(page, "Make it shorter").getByText("not taken: the run ended without it").waitFor()
      // What was not taken is not a part of the conversation.
      await say(page, "Hello")
      await ended(page)
      assert.notInclude(JSON.stringify(model.requests.at(-1)!.body), "shorter")
    }))
})

describe("a run that was kept", () => {
  it("is a waterfall with its details, its graph and its conversation", () =>
    opened(async (page) => {
      await choose(page, "panel")
      await say(page, "Shall we?")
      await ended(page)
      const past = page.getByRole("navigation", { name: "Past runs" })
      await past
        .getByRole("button", { name: /completed panel/ })
        .first()
        .click()
      await page.getByRole("region", { name: "Run of panel" }).waitFor()
      await row(page, "legal").first().click()
      const details = page.getByRole("complementary", { name: "Details of legal" })
      assert.match(await details.innerText(), /State\s+completed/)
      assert.include(await details.innerText(), "18 tokens in 1 step")
      assert.include(await details.innerText(), "no** legal objection")
      assert.strictEqual(await page.locator(".node.completed").count(), 4)
      assert.include(await page.locator(".turns").innerText(), "Do it: neither law nor money speaks against it.")
      // Played again, it lights the graph up again.
      const moment = page.getByRole("slider", { name: "Moment of the run" })
      await moment.press("Home")
      await page.locator(".node.running", { hasText: "panel" }).waitFor()
      assert.strictEqual(await page.locator(".node.completed").count(), 0)
      const lit = page.locator(`svg:has(${node("legal", "running")}):has(${node("chair", "unused")})`)
      for (let i = 0; i < 500 && (await lit.count()) === 0; i++) await moment.press("ArrowRight")
      assert.strictEqual(await lit.count(), 1)
      await page.getByRole("button", { name: "Play" }).click()
      await page.locator(".node.completed").nth(3).waitFor()
    }))

  it("that waits for an answer goes on from there, in another page too", () =>
    opened(async (page) => {
      await say(page, "I want a refund")
      await page.locator(".card").waitFor()
      await page.reload()
      const past = page.getByRole("navigation", { name: "Past runs" })
      await past
        .getByRole("button", { name: /waits for an answer desk/ })
        .first()
        .click()
      const view = page.getByRole("region", { name: "Run of desk" })
      await view.getByRole("button", { name: "Approve" }).click()
      await view.locator("td", { hasText: "A-17" }).waitFor()
      await view.locator(".state.completed").waitFor()
      assert.deepStrictEqual(paid, [40])
      // It waits no more.
      await past
        .getByRole("button", { name: /waits for an answer desk/ })
        .first()
        .click()
      await page.locator(".row[data-kind=text]").waitFor({ state: "detached" })
      await page.locator(".pending").waitFor({ state: "detached" })
      assert.strictEqual(await page.locator(".row[data-status=suspended]").count(), 2)
      assert.strictEqual(await page.locator(".card").count(), 0)
    }))
})

/** How light the ground is, and how much text stands out from it at least, as WCAG has it. Runs in the page. */
const contrastInPage = `
  const light = (color) => {
    const [r = 0, g = 0, b = 0] = (color.match(/[\\d.]+/g) ?? []).map((one) => {
      const part = Number(one) / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ground = light(getComputedStyle(document.querySelector("main")).backgroundColor)
  const ratios = [".welcome h2", ".keys", ".lists .about"].map((selector) => {
    const text = light(getComputedStyle(document.querySelector(selector)).color)
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05)
  })
  ;({ ground, least: Math.min(...ratios) })
`

describe("the page", () => {
  it("is used by keyboard alone", () =>
    opened(async (page) => {
      const focused = () => page.evaluate<string>(`document.activeElement?.closest("button")?.textContent ?? ""`)
      const to = async (name: RegExp, key: string) => {
        for (let i = 0; i < 80; i++) {
          if (name.test(await focused())) return
          await page.keyboard.press(key)
        }
        assert.fail(`${name} is not reached`)
      }
      await page.getByRole("textbox", { name: /^Message to/ }).waitFor()
      await to(/^panel$/, "Shift+Tab")
      await page.keyboard.press("Enter")
      await page.locator('textarea[placeholder="Message panel"]:focus').waitFor()
      await page.keyboard.type("Shall we?")
      await page.keyboard.press("Enter")
      await ended(page)
      await to(/^panel\d/, "Tab")
      await to(/^legal/, "ArrowDown")
      await page.keyboard.press("Enter")
      await page.getByRole("complementary", { name: "Details of legal" }).waitFor()
      const outline = await page.evaluate(`getComputedStyle(document.activeElement).outlineStyle`)
      assert.strictEqual(outline, "solid")
      await to(/^deskAnswers/, "Shift+Tab")
      await page.keyboard.press("Enter")
      await page.locator('textarea[placeholder="Message desk"]:focus').waitFor()
      await page.keyboard.type("I want a refund")
      await page.keyboard.press("Enter")
      // What waits for an answer takes the focus, and gives it back.
      await page.locator(".card textarea:focus").waitFor()
      await to(/^Approve/, "Tab")
      await page.keyboard.press("Enter")
      await ended(page)
      assert.deepStrictEqual(paid, [40])
      await page.locator('textarea[placeholder="Message desk"]:focus').waitFor()
    }))

  it("fits a phone, a part at a time", () =>
    opened(
      async (page) => {
        const fits = async (what: string) => {
          const beyond = await page.evaluate<number>(`document.documentElement.scrollWidth - innerWidth`)
          assert.isAtMost(beyond, 0, what)
        }
        await page.getByRole("button", { name: "desk" }).first().tap()
        await choose(page, "panel")
        await say(page, "Shall we?")
        await ended(page)
        await fits("the conversation")
        const tabs = page.getByRole("navigation", { name: "Parts of the page" })
        await tabs.getByRole("button", { name: "Timeline" }).tap()
        await row(page, "legal").first().tap()
        await page.getByRole("complementary", { name: "Details of legal" }).waitFor()
        await fits("the timeline")
        await tabs.getByRole("button", { name: "Graph" }).tap()
        await page.locator(".node.completed", { hasText: "chair" }).waitFor()
        await fits("the graph")
        assert.strictEqual(await page.locator(".turns").isVisible(), false)
        await tabs.getByRole("button", { name: "Run" }).tap()
        await page.locator(".turns").waitFor()
      },
      { options: phone }
    ))

  it("is dark or light as the system has it, or as it is chosen, and can be read in both", () =>
    opened(
      async (page) => {
        const contrast = () => page.evaluate<{ readonly ground: number; readonly least: number }>(contrastInPage)
        await page.locator(".lists .about").first().waitFor()
        const dark = await contrast()
        await page.emulateMedia({ colorScheme: "light" })
        const light = await contrast()
        assert.isBelow(dark.ground, 0.1)
        assert.isAbove(light.ground, 0.8)
        assert.isAtLeast(dark.least, 4.5)
        assert.isAtLeast(light.least, 4.5)
        await page.getByRole("button", { name: /Theme: auto/ }).click()
        await page.getByRole("button", { name: /Theme: light/ }).click()
        await page.getByRole("button", { name: /Theme: dark/ }).waitFor()
        assert.isBelow((await contrast()).ground, 0.1)
      },
      { options: { ...desktop, colorScheme: "dark" } }
    ))
})

/** What would be there if anything that a model or a tool gave had become more than text. */
interface Found {
  readonly ran: boolean
  readonly elements: number
  readonly handlers: number
  readonly links: ReadonlyArray<readonly [href: string, rel: string]>
}

const found = (page: Page) =>
  page.evaluate<Found>(`({
    ran: "ran" in window,
    elements: document.querySelectorAll("#root :is(script, img, iframe, object, embed, link, style, base, form[action])").length,
    handlers: [...document.querySelectorAll("#root *")].filter((one) =>
      [...one.attributes].some(({ name }) => name.startsWith("on") || name === "srcdoc")
    ).length,
    links: [...document.querySelectorAll("#root a")].map(({ href, rel }) => [href, rel])
  })`)

/** Tries what the policy refuses. Not while the debugger evaluates, which may evaluate more. */
const attemptsInPage = `(async () => {
  await new Promise((resolve) => setTimeout(resolve, 1))
  const tried = {}
  const attempt = async (name, run) => {
    try {
      await run()
      tried[name] = "done"
    } catch {
      tried[name] = "refused"
    }
  }
  await attempt("html", () => { document.querySelector("#root").innerHTML = "<b>x</b>" })
  await attempt("eval", () => (0, eval)("window.ran = 1"))
  await attempt("script", () => {
    const script = document.createElement("script")
    script.textContent = "window.ran = 2"
    document.body.append(script)
  })
  await attempt("handler", () => document.body.setAttribute("onclick", "window.ran = 3"))
  document.body.click()
  await attempt("elsewhere", () => fetch("http://127.0.0.1:9/"))
  return { tried, ran: window.ran }
})()`

const harmless = { ran: false, elements: 0, handlers: 0 }

describe("what is hostile", () => {
  it("is text when a model says it, and nothing of it runs", () =>
    opened(async (page) => {
      await say(page, `hostile: ${hostile.replaceAll("\n", " ")}`)
      await ended(page)
      const { links, ...rest } = await found(page)
      assert.deepStrictEqual(rest, harmless)
      const rel = "noopener noreferrer nofollow"
      assert.deepStrictEqual(links, [
        ["http://127.0.0.1:9/pixel.png", rel],
        ["https://example.com/", rel]
      ])
      assert.include(await page.locator(".said").innerText(), "<script>window.ran = 1</script>")
    }))

  it("is text in the names, arguments and results of a run that was kept", () =>
    opened(
      async (page) => {
        await page
          .getByRole("navigation", { name: "Past runs" })
          .getByRole("button", { name: /failed/ })
          .click()
        await page.locator(".problem").first().waitFor()
        for (const kind of ["run", "tool", "reasoning", "text", "note"]) {
          await page.locator(`.row[data-kind=${kind}]`).first().click()
          await page.getByRole("complementary", { name: /^Details of/ }).waitFor()
        }
        for (const summary of await page.locator("summary").all()) await summary.click()
        const { links: _links, ...rest } = await found(page)
        assert.deepStrictEqual(rest, harmless)
        assert.include(await page.locator(".row .name").first().innerText(), "<img src=x onerror=")
        assert.isAbove(await page.locator(".node").count(), 1)
        assert.include(await page.locator(".edge.taken title").first().textContent(), "<img src=x onerror=")
        assert.strictEqual(await page.getByRole("navigation", { name: "Runners" }).count(), 0)
      },
      { address: tracesUrl }
    ))

  it("could not run even where the page were wrong: the policy refuses scripts, HTML and other servers", async () => {
    const refusals = /Content Security Policy|Trusted|TrustedHTML|Refused|violates/
    await opened(
      async (page) => {
        const policy = await page.evaluate<string>(
          `fetch(location.href).then(({ headers }) => headers.get("content-security-policy"))`
        )
        assert.match(policy, /^default-src 'none'; script-src 'sha256-[^']+'; /)
        const { ran, tried } = await page.evaluate<{
          readonly ran: unknown
          readonly tried: Readonly<Record<string, string>>
        }>(attemptsInPage)
        assert.isUndefined(ran)
        for (const name of ["html", "eval", "elsewhere"]) assert.strictEqual(tried[name], "refused", name)
      },
      { expected: refusals }
    )
  })
})

describe("a server that asks for a token and exposes nothing", () => {
  it("is asked with the token from memory, and the page says what is hidden", () =>
    opened(
      async (page) => {
        const enter = async (token: string) => {
          await page.getByLabel("Bearer token").fill(token)
          await page.getByRole("button", { name: "Go on" }).click()
        }
        await enter("wrong")
        await page.getByText("The bearer token is not accepted.").waitFor()
        await enter("s3cr3t")
        await page.getByText(/Hidden by this server: arguments of tools/).waitFor()
        assert.include(await page.locator(".graph").innerText(), 'expose: ["nested"]')
        assert.include(await page.getByRole("navigation", { name: "Past runs" }).innerText(), "TraceStore")
        await say(page, "Pay")
        const form = page.getByRole("form", { name: /pay/ })
        assert.include(await form.innerText(), 'expose: ["arguments"]')
        assert.strictEqual(await form.getByRole("textbox", { name: "Arguments" }).inputValue(), "")
        assert.notInclude(await page.locator("body").innerHTML(), "4711")
        const kept = await page.evaluate(
          `JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])`
        )
        assert.notInclude(kept, "s3cr3t")
        await page.reload()
        await page.getByLabel("Bearer token").waitFor()
      },
      { address: guardedUrl, expected: /401/ }
    ))
})
