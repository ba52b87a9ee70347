/** Spans of a program, for tests that look at them. */
import { Tracer } from "effect"

/** A tracer, and the spans that it has made. */
export const recording = () => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}
