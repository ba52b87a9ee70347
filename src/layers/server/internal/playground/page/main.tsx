/** The playground's page. `npm run codegen` bundles it to one text, which the server sends. */
import { render } from "preact"
import { Store } from "./store.ts"
import { App } from "./view/app.tsx"
import { applyTheme } from "./view/theme.tsx"

applyTheme()
const store = new Store()
const root = document.querySelector("#root")
if (root !== null) {
  const draw = () => render(<App store={store} />, root)
  draw()
  store.subscribe(draw)
}
void store.load()
