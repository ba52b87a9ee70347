/** What the shared scrubber removes from text, what it leaves, and that no text takes it long. */
import { assert, describe, it } from "@effect/vitest"
import * as Scrubber from "../../src/internal/scrubber.ts"
import { cpuTime } from "../support/cpuTime.ts"

const secret = 'abc/d+f"g-1234567890'
const base64 = (text: string) => Buffer.from(text).toString("base64")

const known = (() => {
  const scrubber = Scrubber.make()
  scrubber.learn([secret])
  return scrubber
})()

describe("a known secret", () => {
  const spellings = {
    plain: secret,
    "in an address": encodeURIComponent(secret),
    "in an address, in lower case": encodeURIComponent(secret).toLowerCase(),
    "in an address inside of an address": encodeURIComponent(encodeURIComponent(secret)),
    "with every byte encoded": Buffer.from(secret).toString("hex").replace(/../g, "%$&"),
    "in a form": new URLSearchParams([["", secret]]).toString().slice(1),
    "in JSON": JSON.stringify(secret).slice(1, -1),
    "in JSON within JSON": JSON.stringify(JSON.stringify(secret)).slice(1, -1),
    "in Base64": base64(secret),
    "in the Base64 of a user and a password": base64(`me:${secret}`),
    "in the Base64 of a longer text": base64(`user:${secret}:and more`),
    "in Base64 for addresses": Buffer.from(`x:${secret}>>>???`).toString("base64url")
  }
  for (const [how, spelled] of Object.entries(spellings)) {
    it(`is found ${how}`, () => {
      const safe = known.text(`got "${spelled}" there`)
      assert.match(safe, /^got "\S*\[redacted\]\S*" there$/)
      for (const piece of ["1234567890", "MTIzNDU2Nzg5", "%31%32"]) assert.notInclude(safe, piece)
      assert.strictEqual(known.text(safe), safe)
    })
  }

  it("is found where a text ends inside of it", () => {
    assert.strictEqual(known.text(`the key is ${secret.slice(0, 12)}`), "the key is [redacted]")
  })

  it("has a fewest number of characters", () => {
    const scrubber = Scrubber.make({ shortest: 4, mark: "<gone>" })
    scrubber.learn(["abc", "abcd"])
    assert.strictEqual(scrubber.text("abc abcd"), "abc <gone>")
  })
})

describe("a value next to a secret name", () => {
  const hidden = [
    '{"password":"HIDDEN"}',
    '{"user": {"api_key" : "HIDDEN", "n": 1}}',
    '{"apiKey":"HIDDEN"}',
    '{"Access-Token":"HIDDEN"}',
    '{"arguments":"{\\"client_secret\\":\\"HIDDEN\\",\\"n\\":1}"}',
    '{"a":"{\\"b\\":\\"{\\\\\\"refresh_token\\\\\\":\\\\\\"HIDDEN\\\\\\"}\\"}"}',
    '{"pwd":"a\\"HIDDEN"}',
    '{"session_id":"HIDDEN"}',
    '{"private_key":"HIDDEN',
    "/path?access_token=HIDDEN&x=1",
    "see https://example.com/?a=b&sig=HIDDEN and",
    "https://user:HIDDEN@example.com/",
    "/bot123:HIDDEN/send",
    "client_secret=HIDDEN",
    "grant_type=authorization_code&code=HIDDEN",
    '--b\r\nContent-Disposition: form-data; name="password"\r\n\r\nHIDDEN\r\n--b--'
  ]
  for (const text of hidden) {
    it(`is removed from ${JSON.stringify(text)}`, () => {
      const scrubber = Scrubber.make()
      const safe = scrubber.text(text)
      assert.notInclude(safe, "HIDDEN")
      assert.include(safe, "[redacted]")
      assert.strictEqual(scrubber.text(safe), safe)
    })
  }

  it("is found elsewhere once it was learned", () => {
    const scrubber = Scrubber.make()
    scrubber.learnFromText('{"access_token":"opaque-123456"}')
    assert.strictEqual(scrubber.text("It is opaque-123456."), "It is [redacted].")
  })

  const kept = [
    '{"max_tokens":"5","token_type":"Bearer","author":"Kant","keyword":"x","key":"name","code":"invalid_api_key"}',
    '{"token":"Hel","logprob":-0.1,"bytes":[72]}',
    '{"properties":{"password":{"type":"string","description":"The password"}},"required":["password"]}',
    "https://example.com/?author=Kant&keyword=x&page=2",
    'const password = "x"; a basic understanding-of-things, a sk-learn model, the bearer of news',
    '{"password":"","secret":"[redacted]"}'
  ]
  for (const text of kept) it(`is not seen in ${text}`, () => assert.strictEqual(Scrubber.make().text(text), text))
})

describe("what looks like a key", () => {
  const digits = "0123456789"
  const keys = {
    OpenAI: `sk-proj-${digits}abcdef`,
    Anthropic: `sk-ant-api03-${digits}_abc-def`,
    "a masked key": "sk-ve****6789",
    GitHub: `ghp_Aa11Bb22Cc33Dd44Ee55Ff66Gg77Hh88Ii99`,
    "GitHub, fine-grained": `github_pat_11ABCDEFG_${digits}abc`,
    GitLab: `glpat-${digits}abcdefghij`,
    Slack: `xoxb-${digits}-abcdef`,
    Stripe: `sk_live_${digits}abcdefgh`,
    SendGrid: `SG.${digits}abcdefgh.${digits}abcdefgh`,
    AWS: "AKIAIOSFODNN7EXAMPLE",
    Google: `AIzaSy${digits}abcdefghijklmnopqrstuvwxy`,
    "Hugging Face": `hf_${digits}abcdefghijklm`,
    Groq: `gsk_${digits}abcdefghijklm`,
    npm: `npm_${digits}abcdefghijklmnopqrstuvwxyz`,
    Telegram: `123456789:${digits}abcdefghijklmnopqrstuvwxy`,
    "a JSON Web Token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "an encrypted token": "eyJhbGciOiJkaXIifQ..aXYtaXYtaXY.Y2lwaGVy.dGFn",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
    "a private key in JSON": "-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----"
  }
  for (const [what, key] of Object.entries(keys)) {
    it(`is removed: ${what}`, () => {
      assert.strictEqual(Scrubber.make().text(`It is ${key}, is it?`), "It is [redacted], is it?")
    })
  }
  it("is removed: bearer and basic credentials", () => {
    assert.strictEqual(Scrubber.make().text(`Bearer tok-${digits}`), "Bearer [redacted]")
    assert.strictEqual(Scrubber.make().text(`Basic ${base64("me:password")}`), "Basic [redacted]")
  })
  it("is removed: a private key that was cut off", () => {
    assert.strictEqual(Scrubber.make().text("see -----BEGIN PRIVATE KEY-----\nMIIE"), "see [redacted]")
  })
})

describe("the time it takes", () => {
  const pieces = [
    "sk-",
    "sk-a1",
    "-eyJ",
    "-eyJa.",
    "Bearer ",
    "\\",
    '\\"',
    '"password":"',
    '"password\\":\\"',
    "?key=",
    "a=b&",
    "-----BEGIN PRIVATE KEY-----",
    "://a",
    '--name="password"\r\n\r\n',
    "%2F",
    "123456:",
    "MTIzNDU2Nzg5M",
    "1",
    "a"
  ]
  for (const piece of pieces) {
    it(`grows with the text: ${JSON.stringify(piece)}`, () => {
      const scrubber = Scrubber.make()
      scrubber.learn([secret, '\\\\\\"abcdef', "sk-aaaaaaaaaaaa"])
      const ms = (length: number) => {
        const text = `--${piece.repeat(length / piece.length)}`
        const start = cpuTime()
        scrubber.text(text)
        return cpuTime() - start
      }
      ms(20_000)
      assert.isBelow(ms(400_000), 100 * Math.max(ms(20_000), 10))
    })
  }
})
