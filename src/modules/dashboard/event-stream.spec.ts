import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { EventStream, HEARTBEAT_MS } from './event-stream.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const readOf = (stream: EventStream) => String(stream.body.read() ?? '');

it('an event has its name, its id and its data on one line', () => {
  const stream = new EventStream(async () => true);
  stream.send({ event: 'lanes', id: '7', data: { text: 'two\nlines' } });
  expect(readOf(stream)).toBe('retry: 2000\n\nid: 7\nevent: lanes\ndata: {"text":"two\\nlines"}\n\n');
  stream.end();
});

it('a quiet connection is kept by a comment, and ends when whoever reads it may no longer', async () => {
  let allowed = true;
  const stream = new EventStream(async () => allowed);
  readOf(stream);
  await vi.advanceTimersByTimeAsync(HEARTBEAT_MS);
  expect(readOf(stream)).toBe(': still here\n\n');
  allowed = false;
  await vi.advanceTimersByTimeAsync(HEARTBEAT_MS);
  expect(stream.body.writableEnded).toBe(true);
});

it('a slow reader gets the latest event after what it has not taken yet, and none in between', async () => {
  const stream = new EventStream(async () => true);
  const large = 'x'.repeat(100_000);
  for (const id of ['1', '2', '3', '4', '5']) stream.send({ event: 'lanes', id, data: large });
  let text = '';
  stream.body.on('data', (data: Buffer) => (text += data.toString()));
  await vi.waitFor(() => expect(text).toContain('id: 5'));
  expect([...text.matchAll(/id: (\d)/g)].length).toBeLessThan(5);
  stream.end();
});

it('nothing runs on for a browser that went away', async () => {
  const stream = new EventStream(async () => true);
  stream.body.destroy();
  await vi.advanceTimersByTimeAsync(0);
  expect(vi.getTimerCount()).toBe(0);
  stream.send({ event: 'lanes', data: {} });
});
