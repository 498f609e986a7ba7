// Loaded before a hub (`node --import`): ends or freezes its own process at a moment that the test names, when it is told
// to. Needs no special build; it listens to what src/moments.ts publishes anyway.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';

process.on('message', (/** @type {{moment: string, cartId: string | null, signal: NodeJS.Signals}} */ wish) => {
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
