import { isatty } from "node:tty";
import { keepMemoryOutOfCores } from "../config/core-dumps.ts";
import { LAUNCHER_FAILED } from "../config/errors.ts";
import { main } from "./main.ts";

keepMemoryOutOfCores();
// Node ends a process in which nothing is left to wait for, also in the middle of main: never silently, and never as if
// all were well.
const endedEarly = () => {
  process.exitCode = LAUNCHER_FAILED;
  process.stderr.write(
    "gangway: ended before its work was done: this is a mistake of gangway's own, please report it\n",
  );
};
process.once("exit", endedEarly);
// At its end Node puts terminals back as they were, and aborts, with a core, where one has gone meanwhile: whose terminal was closed
// ends as by its hang-up.
const terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));
process.once("exit", () => {
  if (terminals.every((descriptor) => isatty(descriptor))) return;
  process.removeAllListeners("SIGHUP");
  process.kill(process.pid, "SIGHUP");
});
// The program is bundled as CommonJS, which has no await here.
void main(process.argv.slice(2)).then((exitCode) => {
  process.off("exit", endedEarly);
  // Left to itself the process ends when nothing is open any more; a pipe that its reader keeps open must not delay that.
  process.exit(exitCode);
});
