/** Chunks of an answer on their way to another thread: to wake it costs more than the token in most of them. */

/** How long a chunk waits for others after one was posted. */
const pauseMs = 1
/** So much is posted at once. */
const enough = 64 * 1024

/** Joins chunks that come in quick succession; one that comes after a pause is posted at once. */
export const batched = (post: (data: Uint8Array) => void) => {
  let waiting: Array<Uint8Array> = []
  let size = 0
  let lastPost = -Infinity
  let timer: NodeJS.Timeout | undefined
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (size === 0) return
    // A chunk is a part of a larger buffer, all of which would be copied.
    const data = new Uint8Array(size)
    let at = 0
    for (const chunk of waiting) {
      data.set(chunk, at)
      at += chunk.length
    }
    waiting = []
    size = 0
    lastPost = performance.now()
    post(data)
  }
  return {
    push: (chunk: Uint8Array): void => {
      waiting.push(chunk)
      size += chunk.length
      if (size >= enough || performance.now() - lastPost >= pauseMs) flush()
      else timer ??= setTimeout(flush, pauseMs)
    },
    flush,
    drop: (): void => {
      waiting = []
      size = 0
      clearTimeout(timer)
    }
  }
}
