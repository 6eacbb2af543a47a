import { main } from "./main.ts";

// Left to itself the process ends when nothing is open any more; a pipe that its reader keeps open must not delay that.
process.exit(await main(process.argv.slice(2)));
