// Waiting for what is seen, never for a time.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** Looks again and again until what is seen is good; gives what was seen. */
export async function until(look, good, what, ms = 10000) {
  const end = Date.now() + ms;
  for (;;) {
    const seen = await look();
    if (good(seen)) return seen;
    assert.ok(Date.now() < end, `${what}: ${JSON.stringify(seen)}`);
    await sleep(100);
  }
}
