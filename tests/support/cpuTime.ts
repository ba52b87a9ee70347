/** The time that this process has worked, in milliseconds: what something costs, whatever else the machine has to do. */
export const cpuTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1000
}
