/** One such line, or what several of those ssh have written at once. */
const NOISE = /^(?:\[.*\] plm:[rs]sh: Warning: setpgid\(.*|(?:Connection to n(?:ode)?\d closed by remote host\.\r?)+)$/;

/**
 * What mpirun said on its standard error, without what Open MPI writes now and then: it puts each ssh that it starts in a
 * process group of its own, from both sides of the fork, and says so where the child was faster (4 and 5). Version 5's ssh may
 * live longer than its mpirun, and then tells that the job has ended; two that do write their lines' ends behind each other.
 */
export function complaintsOfMpirun(stderr: string): string {
  const lines = stderr.split("\n");
  const own = lines.filter((line) => !NOISE.test(line));
  return own.length === lines.length ? stderr : own.filter((line) => line.trim() !== "").join("\n");
}
