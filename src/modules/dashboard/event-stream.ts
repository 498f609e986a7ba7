import { PassThrough } from 'node:stream';

export interface ServerEvent {
  readonly event: string;
  readonly id?: string;
  readonly data: unknown;
}

/**
 * One connection of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). A reader that is
 * slower than what happens gets the latest event when it has taken the ones before, so nothing piles up here.
 */
export class EventStream {
  readonly body = new PassThrough();
  private readonly heartbeat: NodeJS.Timeout;
  private held: ServerEvent | undefined;

  /** @param onHeartbeat is asked each time whether the reader may go on */
  constructor(private readonly onHeartbeat: () => Promise<boolean>) {
    this.heartbeat = setInterval(() => void this.beat(), HEARTBEAT_MS);
    this.body.on('close', () => clearInterval(this.heartbeat));
    this.body.on('drain', () => this.sendHeld());
    // A browser that went away is no fault of ours.
    this.body.on('error', () => undefined);
    this.write(`retry: ${RETRY_MS}\n\n`);
  }

  send(event: ServerEvent): void {
    if (this.body.writableNeedDrain) {
      this.held = event;
      return;
    }
    const id = event.id === undefined ? '' : `id: ${event.id}\n`;
    this.write(`${id}event: ${event.event}\ndata: ${JSON.stringify(event.data)}\n\n`);
  }

  end(): void {
    clearInterval(this.heartbeat);
    if (!this.body.writableEnded) this.body.end();
  }

  private sendHeld(): void {
    const event = this.held;
    this.held = undefined;
    if (event !== undefined) this.send(event);
  }

  /** A comment keeps proxies from closing a quiet connection, and shows the other side's end to us. */
  private async beat(): Promise<void> {
    if (await this.onHeartbeat()) this.write(': still here\n\n');
    else this.end();
  }

  private write(text: string): void {
    if (!this.body.writableEnded && !this.body.destroyed) this.body.write(text);
  }
}

export const HEARTBEAT_MS = 15_000;
/** How soon a browser asks again after the connection was lost. */
const RETRY_MS = 2_000;
