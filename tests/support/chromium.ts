/** The browser of the tests. `.ci/run` installs it; elsewhere: `apt-get install chromium`. */
import { type Browser, chromium } from "playwright-core"

/** Starts it without a window, and without requests of its own. */
export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync"
    ]
  })
