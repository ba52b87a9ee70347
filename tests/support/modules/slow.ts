/** A module that takes its time to load, as one with large libraries does. */
await new Promise((resolve) => setTimeout(resolve, 700))
let calls = 0
export default () => ({ calls: ++calls })
