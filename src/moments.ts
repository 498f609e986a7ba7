import { channel } from 'node:diagnostics_channel';

/**
 * The moments between two durable steps, where a process that dies leaves something half done. Each is published on
 * `node:diagnostics_channel` as `onhand:<moment>` with what it is about, so that somebody outside can listen: a tracer, or
 * a test that ends the process exactly there (test/faults/). Where nobody listens it costs one look at a flag.
 */
const moments = [
  /** A batch of commands is about to claim its keys. */
  'append:begin',
  /** Facts and answers are committed, and nobody has been answered. */
  'append:committed',
  /** A batch of facts is applied, its checkpoint not yet moved. */
  'projector:applied',
  /** The batch is committed together with its checkpoint; nobody has been woken. */
  'projector:committed',
  /** A chunk of listings that a setting concerns is written, and not committed yet. */
  'projector:recomputing',
  /** A chunk of listings that a setting concerns is committed with the place it got to; the next one is not begun. */
  'projector:recomputed',
  /** Deliveries are written, and not in their lane yet. */
  'dispatch:committed',
  /** A job was taken; its attempt is not written. */
  'worker:job-taken',
  /** The attempt stands in the database; nothing has left. */
  'worker:attempt-written',
  /** The request has left this process; there is no answer yet. */
  'worker:request-sent',
  /** The cart has answered, or is known not to; the outcome is not recorded. */
  'worker:answered',
  /** The outcome is committed; the job has not ended. */
  'worker:outcome-recorded',
  /** The files of a folder are watched; none was read. */
  'reset:files-seen',
  /** A file is noted as taken; none of its rows is stored. */
  'reset:file-taken',
  /** A batch of rows of a file is stored, and its end was not met. */
  'import:rows-stored',
  /** A chunk of rows is committed together with how far that is; the next one is not. */
  'import:chunk-applied',
  /** All rows are applied, and what became of their file is not noted. */
  'import:applied',
  /** A file lies in the archive, and its report does not. */
  'reset:file-archived',
] as const;

export type Moment = (typeof moments)[number];

export interface MomentMessage {
  readonly moment: Moment;
  readonly cartId: string | null;
}

const channels = new Map(moments.map((moment) => [moment, channel(`onhand:${moment}`)]));

/** Says that this process has come to a moment. Whoever listens is called before this returns. */
export function reached(moment: Moment, cartId: string | null = null): void {
  const listeners = channels.get(moment);
  if (listeners?.hasSubscribers) listeners.publish({ moment, cartId } satisfies MomentMessage);
}
