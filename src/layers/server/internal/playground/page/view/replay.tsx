/** Plays a run that was kept again: its timeline and its graph, as they were. */
import type { VNode } from "preact"
import { useEffect, useState } from "preact/hooks"
import { duration } from "../model/format.ts"
import type { Store, Trace } from "../store.ts"

interface Props {
  readonly trace: Trace
  readonly store: Store
}

/** How long a long run takes to be played, in milliseconds. A short one takes its own time, but not less than a second. */
const longest = 8000

/** A button that plays, and a place to choose a moment. */
export const ReplayBar = ({ store, trace }: Props): VNode => {
  const [isPlaying, setPlaying] = useState(false)
  const total = trace.replay.durationMs
  useEffect(() => {
    if (!isPlaying) return
    const speed = total / Math.min(Math.max(total, 1000), longest)
    const from = trace.at ?? 0
    const begun = performance.now()
    let frame = 0
    const step = () => {
      const at = from + (performance.now() - begun) * speed
      store.seek(trace, at)
      if (at >= total) return setPlaying(false)
      frame = requestAnimationFrame(step)
    }
    step()
    return () => cancelAnimationFrame(frame)
  }, [isPlaying])
  const at = trace.at ?? total
  return (
    <div class="replay">
      <button type="button" class="link" onClick={() => setPlaying(!isPlaying)}>
        {isPlaying ? "Pause" : "Play"}
      </button>
      <input
        type="range"
        aria-label="Moment of the run"
        aria-valuetext={duration(at)}
        min={0}
        max={total}
        step={Math.max(1, total / 500)}
        value={at}
        onInput={(event) => {
          setPlaying(false)
          store.seek(trace, Number(event.currentTarget.value))
        }}
      />
      <span class="time">{duration(at)}</span>
    </div>
  )
}
