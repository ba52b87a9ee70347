/** The time that this process has worked, in milliseconds: what something costs, also on a busy machine. */
export const cpuTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1000
}
