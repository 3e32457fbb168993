// A way for datagrams that loses some of them, as a seed says.

import { createSocket } from "node:dgram";
import { once } from "node:events";

/** Numbers from 0 to 1 that a seed gives (mulberry32). */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One end is open to whoever sends first; what comes there goes on to the target, and back. */
export class Proxy {
  /** Of each way: how many datagrams came, and how many of them were lost. */
  there = { came: 0, lost: 0 };
  back = { came: 0, lost: 0 };
  #sockets;
  #caller = null;
  #loss = 0;

  static async open(address, target, seed) {
    const proxy = new Proxy();
    const [near, far] = [createSocket("udp4"), createSocket("udp4")];
    proxy.#sockets = [near, far];
    near.bind(0, address);
    far.bind(0, address);
    await Promise.all([once(near, "listening"), once(far, "listening")]);
    const [thereDice, backDice] = [dice(seed), dice(seed + 1)];
    near.on("message", (datagram, { address: host, port }) => {
      proxy.#caller = { host, port };
      if (proxy.#passes(proxy.there, thereDice)) far.send(datagram, target.port, target.host);
    });
    far.on("message", (datagram) => {
      const caller = proxy.#caller;
      if (caller !== null && proxy.#passes(proxy.back, backDice)) {
        near.send(datagram, caller.port, caller.host);
      }
    });
    return proxy;
  }

  /** The address and the port, as a candidate names them. */
  get place() {
    const { address, port } = this.#sockets[0].address();
    return `${address} ${port}`;
  }

  /** Loses this part of the datagrams from now on, each way. */
  lose(part) {
    this.#loss = part;
  }

  #passes(way, roll) {
    way.came += 1;
    const passes = roll() >= this.#loss;
    way.lost += passes ? 0 : 1;
    return passes;
  }

  close() {
    return Promise.all(
      this.#sockets.map((socket) => new Promise((resolve) => socket.close(resolve))),
    );
  }
}
