import type { Database } from './database.js';
import { Gathering } from './gathering.js';
import { inPackets, type Packets, type SetStatement } from './packets.js';

/**
 * Whoever waits for a lock lets all wait who share its transaction. For longer than this none of them does: each goes on in
 * a transaction of its own, where that lock may take its time.
 */
const lockTimeoutMs = 250;

/** The BEGIN of a transaction for so many carts. */
export const beginFor = (carts: number, begin: string) =>
  carts > 1 ? `${begin}; SET LOCAL lock_timeout = ${lockTimeoutMs}` : begin;

/** What one cart needs a transaction for. Made twice where the shared one fails, so it changes nothing but the database. */
type Work<T> = (packets: Packets) => Promise<T>;

/**
 * Transactions of one kind that are made one for all carts that need one at the same moment (gathering.ts). Their works go in
 * step: the next packet leaves when all of them have said what they want next, so it has the statements of all.
 */
export class SharedTransactions {
  private readonly gathering: Gathering<{ readonly cartId: string; readonly work: Work<unknown> }, unknown>;

  constructor(begin: string) {
    this.gathering = new Gathering((database, items) =>
      inPackets(database, beginFor(items.length, begin), (packets) =>
        inStep(
          packets,
          items.map(({ work }) => work),
        ),
      ),
    );
  }

  /** @returns what `work` returned, once it is committed */
  run<T>(database: Pick<Database, 'pool'>, cartId: string, work: Work<T>): Promise<T> {
    return this.gathering.run(database, { cartId, work }) as Promise<T>;
  }
}

/** @throws what made the transaction useless; every work has ended by then */
async function inStep(packets: Packets, works: readonly Work<unknown>[]): Promise<unknown[]> {
  const step = new Step(packets, works.length);
  const settled = await Promise.allSettled(works.map((work, place) => step.take(place, work)));
  if (step.failure !== undefined) throw step.failure.reason;
  return settled.map((result) => (result.status === 'fulfilled' ? result.value : undefined));
}

interface Call {
  readonly place: number;
  readonly make: () => readonly unknown[];
  readonly last: boolean;
  readonly resolve: (results: readonly unknown[]) => void;
  readonly reject: (error: unknown) => void;
}

/** One statement that several works ask in the same packet. */
interface Asked {
  readonly items: unknown[];
  readonly answers: { readonly resolve: (found: unknown) => void; readonly reject: (error: unknown) => void }[];
}

/** Lets works that share a transaction send their packets together. */
class Step {
  failure: { readonly reason: unknown } | undefined;
  private calls: Call[] = [];
  private asked = new Map<SetStatement<unknown, unknown>, Asked>();
  private making = false;

  /** @param present how many have not ended yet */
  constructor(
    private readonly packets: Packets,
    private present: number,
  ) {}

  async take(place: number, work: Work<unknown>): Promise<unknown> {
    const call = (make: () => readonly unknown[], last: boolean) =>
      new Promise<readonly unknown[]>((resolve, reject) => {
        this.calls.push({ place, make, last, resolve, reject });
        this.goOn();
      });
    try {
      return await work({
        client: this.packets.client,
        ask: this.ask as Packets['ask'],
        send: ((make) => call(make, false)) as Packets['send'],
        commit: async (make = () => []) => void (await call(make, true)),
      });
    } catch (reason) {
      this.failure ??= { reason };
      throw reason;
    } finally {
      this.present -= 1;
      this.goOn();
    }
  }

  private readonly ask = (statement: SetStatement<unknown, unknown>, item: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (!this.making) throw new Error('A statement for several can only be asked in what send or commit makes');
      const asked = this.asked.get(statement) ?? { items: [], answers: [] };
      this.asked.set(statement, asked);
      asked.items.push(item);
      asked.answers.push({ resolve, reject });
    });

  /** Sends what was asked, each statement once. */
  private sendAsked(): void {
    for (const [statement, { items, answers }] of this.asked)
      statement(this.packets.client, items).then(
        (found) => answers.forEach(({ resolve }, index) => resolve(found[index])),
        (error: unknown) => answers.forEach(({ reject }) => reject(error)),
      );
    this.asked = new Map();
  }

  private goOn(): void {
    if (this.calls.length === 0 || this.calls.length < this.present) return;
    const calls = this.calls.toSorted((a, b) => a.place - b.place);
    this.calls = [];
    // Half of what one of them wanted may have been said already.
    if (this.failure !== undefined) for (const { reject } of calls) reject(this.failure.reason);
    else void this.send(calls);
  }

  private async send(calls: readonly Call[]): Promise<void> {
    const counts: number[] = [];
    const make = () => {
      this.making = true;
      const made = calls.map((call) => call.make());
      this.making = false;
      counts.push(...made.map(({ length }) => length));
      this.sendAsked();
      return made.flat();
    };
    try {
      const results: readonly unknown[] = calls.every(({ last }) => last)
        ? await this.packets.commit(make).then(() => [])
        : await this.packets.send(make);
      let from = 0;
      for (const [index, { resolve }] of calls.entries()) {
        const to = from + (counts[index] ?? 0);
        resolve(results.slice(from, to));
        from = to;
      }
    } catch (reason) {
      this.failure ??= { reason };
      for (const { reject } of calls) reject(reason);
    }
  }
}
