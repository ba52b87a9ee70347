/** The calculator and the clock. */
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { it as effectIt } from "@effect/vitest"
import { assert, describe, it } from "vitest"
import { BasicTools } from "troupe"
import { calculate } from "../../../src/layers/tools/internal/calculate.ts"
import { call, caller, edges } from "../../support/toolCalls.ts"
import { cpuTime } from "../../support/cpuTime.ts"

describe("the calculator", () => {
  it.each([
    ["0.1 + 0.2", "0.3"],
    ["2 + 3 * 4", "14"],
    ["(2 + 3) * 4", "20"],
    ["-2^2", "-4"],
    ["(-2)^2", "4"],
    [" ( -2 ) ^ 2", "4"],
    ["2^-3^2", "0.001953125"],
    ["2*-3^2", "-18"],
    ["2^3^2", "512"],
    ["-(-(3))", "3"],
    ["((1+1))*((2))", "4"],
    ["max((1), (2))", "2"],
    ["7 % 3", "1"],
    ["1/3", "0.33333333333333333333"],
    ["2^64", "18446744073709551616"],
    ["1e3 * 1.5e-3", "1.5"],
    ["sqrt(2)^2", "2"],
    ["9007199254740993 - 1", "9007199254740992"],
    ["sin(pi)", "0"],
    ["round(2.675, 2)", "2.68"],
    ["log(1000)", "3"],
    ["log(8, 2)", "3"],
    ["SUM(1, 2, 3) / mean(2, 4)", "2"],
    ["factorial(20)", "2432902008176640000"],
    ["5!", "120"],
    ["2 + 3!", "8"],
    ["-3!", "-6"],
    ["2^3!", "64"],
    ["(1 + 2) ! * 2", "12"],
    ["5!/(3!*2!)", "10"],
    ["max(2, 3)!", "6"],
    ["((3))!", "6"],
    ["4 ÷ 2!", "2"],
    ["gcd(12, 18) + lcm(4, 6)", "18"],
    ["deg(PI)", "180"],
    ["3 × 4 ÷ 2 − 1", "5"],
    ["10^30", "1000000000000000000000000000000"],
    ["2^130 % 10", "4"],
    ["lcm(2^70, 2^69 * 3) % 7", "6"],
    ["2^0.5", "1.4142135623731"]
  ])("%s is %s", (expression, expected) => {
    const answer = calculate(expression)
    assert.strictEqual(expression === "2^0.5" ? Number(answer).toFixed(13) : answer, expected)
  })

  it.each([
    ["1/0", /zero/],
    ["5 % 0", /zero/],
    ["mod(5, 0)", /zero/],
    ["2^200 % 7", /more than 40 digits/],
    ["mod(-7^100, 13)", /more than 40 digits/],
    ["gcd(factorial(40), 41^30)", /more than 40 digits/],
    ["lcm(3, 7^100)", /more than 40 digits/],
    ["sqrt(-1)", /not defined/],
    ["ln(0)", /too large/],
    ["9^9^9^9", /too large/],
    ["factorial(100000)", /integer from 0/],
    ["round(1, 1e9)", /integer from 0/],
    ["1,000 + 1", /separators/],
    ["50%", /cannot be read/],
    ["2(3)", /multiplication/],
    ["2 pi", /multiplication/],
    ["", /not one expression/],
    ["x + 1", /no constant "x"/],
    ["constructor", /no constant/],
    ["__proto__", /no constant/],
    ["process.exit(1)", /multiplication/],
    ["constructor.constructor(1)", /multiplication/],
    ["toString(1)", /no function/],
    ["require(1)", /no function/],
    ['"a" + 1', /only numbers/],
    ["[1][0]", /not arithmetic/],
    ["this", /not arithmetic/],
    ["1 ? 2 : 3", /not arithmetic/],
    ["1 == 1", /no operator/],
    ["1 & 1", /no operator/],
    ["!1", /no operator/],
    ["3!!", /factorial\(n\)/],
    ["3! !", /factorial\(n\)/],
    ["1.5!", /integer from 0/],
    ["(-3)!", /integer from 0/],
    ["1 != 2", /no operator/],
    ["!", /cannot be read/],
    [")!", /cannot be read/],
    ["sin()", /arguments/],
    [`max(${"1,".repeat(150)}1)`, /arguments/],
    ["1".repeat(1001), /longer/],
    ["(".repeat(1000), /cannot be read/]
  ])("%s is refused", (expression, why) => {
    assert.throws(() => calculate(expression), why)
  })

  it("no expression takes long", () => {
    const worst = [
      "exp(10000)",
      "1.5^12345.6789",
      `${"9".repeat(300)}^${"9".repeat(300)}`,
      `${"(".repeat(400)}9${")".repeat(400)}`,
      `${"-".repeat(999)}1`,
      Array.from({ length: 90 }, () => "factorial(1000)/factorial(999)")
        .join("*")
        .slice(0, 990)
        .replace(/\*[^*]*$/, ""),
      Array.from({ length: 100 }, () => "9^9^8").join("+"),
      "sin(10^4999)",
      "gcd(10^4999, 7^5000)",
      "(10^4999) % 7"
    ]
    for (const expression of worst) {
      const started = cpuTime()
      try {
        calculate(expression)
      } catch (error) {
        assert.instanceOf(error, Error)
      }
      assert.isBelow(cpuTime() - started, 2000, expression.slice(0, 50))
    }
  })

  for (const edge of Object.keys(edges)) {
    it(`answers and refuses by ${edge}`, async () => {
      const { fails, ok } = caller(BasicTools.toolkit, BasicTools.layer(), edge)
      assert.deepStrictEqual(await ok("calculate", { expression: "6 * 7" }), { result: "42" })
      const refused = await fails("calculate", { expression: "1/0" })
      assert.strictEqual(refused["_tag"], "CalculatorError")
    })
  }
})

describe("the clock", () => {
  const convert = (params: object) =>
    Effect.provide(call(BasicTools.toolkit, "convert_time", params), BasicTools.layer({ timeZone: "Europe/Berlin" }))

  effectIt.effect("returns Effect's time in any zone", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 6, 1, 12))
      const now = (params: object) => call(BasicTools.toolkit, "current_time", params)
      const tell = Effect.all([
        now({}),
        now({ timeZone: "Asia/Tokyo" }),
        now({ timeZone: "+05:30" }),
        now({ timeZone: "Mars" })
      ])
      const [here, tokyo, offset, mars] = yield* Effect.provide(tell, BasicTools.layer({ timeZone: "Europe/Berlin" }))
      const weekday = "Wednesday"
      assert.deepStrictEqual(here.result, { time: "2026-07-01T14:00:00.000+02:00", timeZone: "Europe/Berlin", weekday })
      assert.deepStrictEqual(tokyo.result, { time: "2026-07-01T21:00:00.000+09:00", timeZone: "Asia/Tokyo", weekday })
      assert.deepStrictEqual(offset.result, { time: "2026-07-01T17:30:00.000+05:30", timeZone: "+05:30", weekday })
      assert.isTrue(mars.failed)
    })
  )

  it.each([
    [{ time: "2026-01-15T12:00:00Z", to: "America/New_York" }, "2026-01-15T07:00:00.000-05:00"],
    [{ time: "2026-07-15T12:00:00+02:00", to: "UTC" }, "2026-07-15T10:00:00.000+00:00"],
    [{ time: "2026-07-15 12:00", to: "UTC" }, "2026-07-15T10:00:00.000+00:00"],
    [{ time: "2026-07-15", to: "UTC" }, "2026-07-14T22:00:00.000+00:00"],
    [{ time: "2026-01-15T23:30", from: "Asia/Tokyo", to: "America/Los_Angeles" }, "2026-01-15T06:30:00.000-08:00"],
    // The clock goes from 2 to 3 on that night.
    [{ time: "2026-03-29T03:00", from: "Europe/Berlin", to: "UTC" }, "2026-03-29T01:00:00.000+00:00"],
    [{ time: "2026-03-29T02:30", from: "Europe/Berlin", to: "UTC" }, "2026-03-29T01:30:00.000+00:00"],
    [{ time: "2028-02-29", from: "-03:30", to: "+14:00" }, "2028-02-29T17:30:00.000+14:00"],
    [{ time: "2026-10-25T01:30", from: "Europe/Berlin", to: "UTC" }, "2026-10-24T23:30:00.000+00:00"]
  ])("%o", async (params, expected) => {
    const { failed, result } = await Effect.runPromise(convert(params))
    assert.isFalse(failed)
    assert.strictEqual((result as { readonly time: string }).time, expected)
  })

  it.each([
    { time: "tomorrow", to: "UTC" },
    { time: "2026-13-01", to: "UTC" },
    { time: "2026-01-01T25:00", to: "UTC" },
    { time: "2026-02-30", to: "UTC" },
    { time: "2027-02-29T10:00:00Z", to: "UTC" },
    { time: "2100-02-29", to: "UTC" },
    { time: "2026-04-31T00:00+02:00", to: "UTC" },
    { time: "2026-01-01", to: "Nowhere/City" },
    { time: "2026-01-01", to: "+99:99" },
    { time: "2026-01-01", to: "+05:75" },
    { time: "2026-01-01", from: "", to: "UTC" }
  ])("%o is refused", async (params) => {
    const { failed, result } = await Effect.runPromise(convert(params))
    assert.isTrue(failed)
    assert.strictEqual((result as { readonly _tag: string })._tag, "TimeError")
  })

  it("has a zone that is one", () => {
    assert.throws(
      () => BasicTools.layer({ timeZone: "Mars/Base" }),
      /"Mars\/Base" is not a time zone. Use an IANA name/
    )
  })
})
