/** Maps that hold the latest entries alone. */

/** Adds an entry as the latest one, and forgets the oldest where there are more than `most`. */
export const putLatest = <K, V>(map: Map<K, V>, key: K, value: V, most: number): void => {
  map.delete(key)
  map.set(key, value)
  if (map.size > most) map.delete(map.keys().next().value!)
}
