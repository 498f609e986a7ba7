/** One step of a change's way to a cart. */
export interface Hop {
  readonly name: 'recorded' | 'on the Web Stack' | 'dispatched' | 'attempt' | 'answered' | 'ended';
  readonly at: string;
  /** Since the hop before; 0 for the first. Clocks of processes differ a little, so it is never below 0. */
  readonly ms: number;
  readonly about: string | null;
}

interface Try {
  readonly kind: string;
  readonly worker: string;
  readonly startedAt: Date;
  readonly endedAt: Date | null;
  readonly outcome: string | null;
  readonly response: string | null;
}

/** The way of one record in the order it happened: recorded → on the Web Stack → dispatched → attempt → answered → ended. */
export function hopsOf(
  record: {
    acceptedAt: Date;
    createdAt: Date;
    endedAt: Date | null;
    state: string;
    cause: { type: string; facts: number };
  },
  deliveries: readonly { createdAt: Date }[],
  tries: readonly Try[],
): Hop[] {
  const steps: { name: Hop['name']; at: Date; about: string | null }[] = [
    {
      name: 'recorded',
      at: record.acceptedAt,
      about: record.cause.facts > 1 ? `${record.cause.type} and ${record.cause.facts - 1} more` : record.cause.type,
    },
    { name: 'on the Web Stack', at: record.createdAt, about: null },
  ];
  for (const delivery of deliveries) steps.push({ name: 'dispatched', at: delivery.createdAt, about: null });
  for (const attempt of tries) {
    steps.push({ name: 'attempt', at: attempt.startedAt, about: `${attempt.kind} by ${attempt.worker}` });
    if (attempt.endedAt !== null) {
      const about = [attempt.outcome, attempt.response].filter((part) => part !== null).join(': ');
      steps.push({ name: 'answered', at: attempt.endedAt, about: about === '' ? null : about });
    }
  }
  if (record.endedAt !== null) steps.push({ name: 'ended', at: record.endedAt, about: record.state });
  // Deliveries and their tries take turns; a stable sort leaves steps of the same millisecond in the order above.
  steps.sort((a, b) => a.at.getTime() - b.at.getTime());
  return steps.map((step, i) => ({
    name: step.name,
    at: step.at.toISOString(),
    ms: Math.max(0, step.at.getTime() - (steps[i - 1]?.at ?? step.at).getTime()),
    about: step.about,
  }));
}
