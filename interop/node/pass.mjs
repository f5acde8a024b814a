// A listener that hands every request on to one other address and adds one header where it is missing, for programs
// that cannot send it. In `Host` and `Origin` its own address becomes the other's; nothing else changes, in neither
// direction. Arguments: port, target address, name and value of the header.
import { createServer, request as send } from "node:http";

const [port, target, name, value] = process.argv.slice(2);
const own = `127.0.0.1:${port}`;

createServer((incoming, outgoing) => {
  const headers = [];
  for (let index = 0; index < incoming.rawHeaders.length; index += 2) {
    const [key, given] = incoming.rawHeaders.slice(index, index + 2);
    const isPlace = ["host", "origin"].includes(key.toLowerCase());
    headers.push(key, isPlace ? given.replace(own, target) : given);
  }
  if (incoming.headers[name.toLowerCase()] === undefined) headers.push(name, value);

  const [hostname, to] = target.split(":");
  const options = { hostname, port: to, method: incoming.method, path: incoming.url, headers, setHost: false };
  const onward = send(options, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.rawHeaders);
    outgoing.flushHeaders();
    answer.pipe(outgoing);
    answer.on("aborted", () => outgoing.destroy());
  });
  onward.on("error", () => outgoing.destroy());
  outgoing.on("close", () => onward.destroy());
  incoming.pipe(onward);
}).listen(Number(port), "127.0.0.1");
