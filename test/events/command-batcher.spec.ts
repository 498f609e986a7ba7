import { beforeEach, describe, expect, it } from 'vitest';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import type { Command, CommandEnvelope, CommandOutcome } from '../../src/events/commands.js';

/** A batch that the store was given and has not answered yet. */
interface UnderWay {
  /** The SKUs of its commands, in order. */
  readonly skus: readonly string[];
  readonly end: () => void;
}

const accepted: CommandOutcome = { kind: 'accepted', facts: [], replayed: false };
const skuOf = ({ command }: CommandEnvelope) => ('sku' in command ? command.sku : command.type);
const times = (count: number, sku: string) => Array.from({ length: count }, () => sku);
const many = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

let batches: UnderWay[];
let batcher: CommandBatcher;
let all: Promise<CommandOutcome>[];

beforeEach(() => {
  batches = [];
  all = [];
  batcher = new CommandBatcher({
    appendSettled: (envelopes) =>
      new Promise((resolve) => {
        const end = () => resolve(envelopes.map(() => ({ status: 'fulfilled', value: accepted })));
        batches.push({ skus: envelopes.map(skuOf), end });
      }),
  });
});

/** One turn of the event loop: what was submitted goes out, what was ended is answered. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

function submit(command: Command): Promise<CommandOutcome> {
  const answer = batcher.submit({ client: 'test', idempotencyKey: null, bodyHash: null, command });
  all.push(answer);
  return answer;
}

async function move(...skus: readonly string[]): Promise<void> {
  for (const sku of skus) void submit({ type: 'AdjustStock', sku, location: 'shop', delta: 1 });
  await turn();
}

async function end(batch: number): Promise<void> {
  batches[batch]?.end();
  await turn();
}

const sizes = () => batches.map(({ skus }) => skus.length);

/** Ends what is under way until nothing is, and what follows from it. */
async function endAll(): Promise<void> {
  for (let at = 0; at < batches.length; at += 1) await end(at);
  await Promise.all(all);
  await batcher.idle();
}

describe('commands that wait for the log', () => {
  it('go out at once when nothing is under way, however few they are', async () => {
    await move('A');
    expect(sizes()).toEqual([1]);
    await endAll();
  });

  it('go out together as long as they are few', async () => {
    await move(...many('A', 15));
    expect(sizes()).toEqual([15]);
    await endAll();
  });

  it('go out in two halves side by side when they are many', async () => {
    await move(...many('A', 40));
    expect(sizes()).toEqual([20, 20]);
    await endAll();
    expect(batches.flatMap(({ skus }) => skus)).toEqual(many('A', 40));
  });

  it('wait for a running batch while they are few, and go beside it once they are worth it', async () => {
    await move('A');
    await move(...many('B', 7));
    expect(sizes()).toEqual([1]);
    await move('B7');
    expect(sizes()).toEqual([1, 8]);
    await endAll();
  });

  it('go out in two batches at a time and no more, however many they are', async () => {
    await move(...many('A', 600));
    expect(sizes()).toEqual([128, 128]);
    await end(0);
    expect(sizes()).toEqual([128, 128, 128]);
    await endAll();
    expect(sizes().reduce((sum, size) => sum + size)).toBe(600);
  });

  it('go with those that who was just answered sends next', async () => {
    await move('A');
    await move('B');
    const again = all[0]!.then(() => move('C'));
    await end(0);
    expect(batches.map(({ skus }) => skus)).toEqual([['A'], ['B', 'C']]);
    await endAll();
    await again;
  });
});

describe('commands on one stream', () => {
  it('are held while a batch with others of theirs is under way, and nobody else is', async () => {
    await move('A');
    await move(...times(20, 'A'), ...many('B', 8));
    expect(batches.map(({ skus }) => skus)).toEqual([['A'], many('B', 8)]);
    await move(...times(20, 'A'));
    await end(1);
    expect(batches).toHaveLength(2);
    await end(0);
    expect(batches.slice(2).map(({ skus }) => skus)).toEqual([times(40, 'A')]);
    await endAll();
  });

  it('go in one batch as far as it takes them, instead of waiting for each other’s locks', async () => {
    await move(...times(30, 'A'), ...times(200, 'B'));
    // Half of 230 is less than the batch takes, and B has begun to fill it.
    expect(batches.map(({ skus }) => skus)).toEqual([[...times(30, 'A'), ...times(98, 'B')]]);
    await end(0);
    expect(batches.slice(1).map(({ skus }) => skus)).toEqual([times(102, 'B')]);
    await endAll();
  });

  it('never overtake each other, not even one that is too large for the batch', async () => {
    const rows = (from: string, count: number) => ({
      type: 'MapListings' as const,
      cartId: 'shop',
      rows: Array.from({ length: count }, (_, i) => ({ key: `${from}${i}`, sku: 'A' })),
    });
    const order: string[] = [];
    const map = (name: string, count: number) => void submit(rows(name, count)).then(() => order.push(name));
    for (let i = 0; i < 21; i += 1) map(`large${i}`, 1_000);
    map('small', 1);
    await turn();
    expect(sizes()).toEqual([19]);
    await endAll();
    expect(sizes()).toEqual([19, 3]);
    expect(order).toEqual([...many('large', 21), 'small']);
  });
});

describe('a batch that fails', () => {
  it('lets go of its streams', async () => {
    const failing = new CommandBatcher({
      appendSettled: (envelopes) =>
        Promise.resolve(envelopes.map(() => ({ status: 'rejected' as const, reason: new Error('the disk is full') }))),
    });
    const command: Command = { type: 'AdjustStock', sku: 'A', location: 'shop', delta: 1 };
    const once = () => failing.submit({ client: 'test', idempotencyKey: null, bodyHash: null, command });
    await expect(once()).rejects.toThrow('the disk is full');
    await expect(once()).rejects.toThrow('the disk is full');
    await failing.idle();
  });
});
