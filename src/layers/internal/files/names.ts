/** Paths as the names on their way. */

/** The names of a path, `.` and `..` resolved; `undefined` for a path that leads out of where it begins. */
export const namesOf = (path: string): ReadonlyArray<string> | undefined => {
  const names: Array<string> = []
  for (const name of path.split("/")) {
    if (name === "" || name === ".") continue
    if (name !== "..") names.push(name)
    else if (names.pop() === undefined) return undefined
  }
  return names
}

/** The path of the directory that an absolute path is in. */
export const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/"
