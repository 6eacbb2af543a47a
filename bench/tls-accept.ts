import { fork } from "node:child_process";
import { constants } from "node:crypto";
import { connect, createSecureContext, createServer, type TLSSocket, type TlsOptions } from "node:tls";
import { generateChannelIdentity } from "../src/rendezvous/identity.ts";

/*
 * What the connections alone cost that a launcher of so many nodes keeps: a bare TLS 1.3 server of Node's, of nothing of
 * Gangway's but the keys, that asks each of them for its certificate, reads a line and answers it. Prints its cpu time, ms.
 */

const AT_ONCE = 100;
const LINE = "kept\n";

interface Task {
  readonly port: number;
  readonly nodes: number;
}

function serve(nodes: number): void {
  const { privateKeyPem: key, certificatePem: cert } = generateChannelIdentity();
  const options: TlsOptions = {
    ...{ key, cert, ca: [], minVersion: "TLSv1.3" },
    ...{ requestCert: true, rejectUnauthorized: false },
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
  const kept: TLSSocket[] = [];
  const server = createServer(options, (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => {
      socket.write(LINE, () => {
        if (kept.push(socket) === nodes) finish();
      });
    });
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    client.send({ port, nodes } satisfies Task);
  });
  const client = fork(process.argv[1] ?? "", ["client"]);
  const finish = () => {
    const { user, system } = process.cpuUsage();
    process.stdout.write(`${(user + system) / 1000}\n`, () => {
      client.kill("SIGKILL");
      process.exit(0);
    });
  };
}

function dialAll({ port, nodes }: Task): void {
  const { privateKeyPem: key, certificatePem: cert } = generateChannelIdentity();
  const secureContext = createSecureContext({ key, cert, ca: [], minVersion: "TLSv1.3" });
  let begun = 0;
  const next = () => {
    if (begun++ >= nodes) return;
    const socket = connect({ port, host: "127.0.0.1", secureContext, rejectUnauthorized: false });
    socket.once("secureConnect", () => socket.write(LINE));
    socket.once("data", next);
  };
  for (let started = 0; started < AT_ONCE; started++) next();
}

if (process.argv[2] === "client") process.once("message", (task: Task) => dialAll(task));
else serve(Number(process.argv[2]));
