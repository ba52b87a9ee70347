/** When a thread that is waited for counts as dead. */
import { assert, it } from "@effect/vitest"
import { lookMs, Pulse } from "../../../src/layers/internal/io/pulse.ts"

/** After how many looks, `every` milliseconds apart, a thread is dead whose heartbeat is `beatAt` of the time. */
const deadAfter = (every: number, beatAt: (now: number) => number, most = 1000) => {
  const pulse = new Pulse()
  pulse.begin(0)
  for (let look = 1; look <= most; look++) if (pulse.isDead(beatAt(look * every), look * every)) return look
  return undefined
}

it("a thread that hangs is dead after half a minute", () => {
  const looks = deadAfter(lookMs, () => 0)!
  assert.isAtLeast(looks, 20)
  assert.isAtMost(looks, 40)
  // As often as there is occasion.
  assert.isAtMost((deadAfter(lookMs / 20, () => 7)! * lookMs) / 20, 60 * lookMs)
  // By a timer that is late by a little and then on time again.
  assert.isDefined(deadAfter(0.999 * lookMs, () => 0))
})

it("a thread that beats now and then lives", () => {
  assert.isUndefined(deadAfter(lookMs, (now) => Math.floor(now / (20 * lookMs))))
})

it("a thread lives while the machine is too busy for us to look in time", () => {
  assert.isUndefined(deadAfter(3 * lookMs, () => 0))
})
