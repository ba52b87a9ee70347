/** The version in `package.json`, which a bundle cannot read. Made by `npm run codegen`. */
export const version = "0.1.0"
