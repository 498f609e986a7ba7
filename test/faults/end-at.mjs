// Loaded before a hub (`node --import`): ends or freezes its own process at a moment that the test names, and shifts its
// clock, when it is told to. Needs no special build; it listens to what src/moments.ts publishes anyway.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';

/** The system clock as this process reads it; what only runs on, as timers and performance.now() do, is not shifted. */
let shiftMs = 0;
const shiftedDate = new Proxy(Date, {
  construct: (date, args, target) => Reflect.construct(date, args.length > 0 ? args : [date.now() + shiftMs], target),
  get: (date, name) => (name === 'now' ? () => date.now() + shiftMs : Reflect.get(date, name)),
});

/** @typedef {{moment: string, cartId: string | null, signal: NodeJS.Signals, shiftMs?: number}} Wish */
process.on('message', (/** @type {Wish} */ wish) => {
  if (wish.shiftMs !== undefined) {
    shiftMs = wish.shiftMs;
    globalThis.Date = shiftedDate;
  }
  if (wish.moment === undefined) return process.send?.({ alive: true });
  const name = `onhand:${wish.moment}`;
  const listener = (/** @type {any} */ message) => {
    if (wish.cartId !== null && message.cartId !== wish.cartId) return;
    unsubscribe(name, listener);
    process.kill(process.pid, wish.signal);
  };
  subscribe(name, listener);
  process.send?.({ armed: true });
});
// The hub ends when it has nothing left to do; being listened to is no reason to stay.
process.channel?.unref();
