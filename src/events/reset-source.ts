/** Where daily resets come from. A removed source's name is free again; its files stay on record. */
import type { Command } from './commands.js';
import { accept, refuse } from './decision.js';
import type { DecisionContext, Handler } from './decision.js';
import type { Fact, ResetSourceSettings } from './facts.js';
import { locationStream, resetSourceStream } from './streams.js';

/** Null: it was removed. */
interface ResetSourceState {
  readonly settings: ResetSourceSettings | null;
}

export const initialResetSource: ResetSourceState = { settings: null };

export function evolveResetSource(state: ResetSourceState, fact: Fact): ResetSourceState {
  if (fact.type === 'ResetSourceSaved') return { settings: fact.data };
  return fact.type === 'ResetSourceRemoved' ? initialResetSource : state;
}

const settingsOf = (sourceId: string, context: DecisionContext): ResetSourceSettings | null =>
  ((context.stateOf(resetSourceStream(sourceId)) ?? initialResetSource) as ResetSourceState).settings;

export const saveResetSourceHandler: Handler<Extract<Command, { type: 'SaveResetSource' }>> = {
  streams: (c) => [resetSourceStream(c.settings.sourceId)],
  checks: (c) => [...new Set(Object.values(c.settings.locations))].map(locationStream),
  decide: ({ settings, isNew }, context) => {
    const stream = resetSourceStream(settings.sourceId);
    const before = settingsOf(settings.sourceId, context);
    if (isNew && before !== null)
      return refuse('already-exists', `There is a reset source ${settings.sourceId} already.`, 'id');
    if (!isNew && before === null) return unknown(settings.sourceId);
    const missing = Object.values(settings.locations).find((location) => !context.exists(locationStream(location)));
    if (missing !== undefined)
      return refuse('unknown-location', `There is no location ${missing}; add it first.`, 'locations');
    // The state comes back from the database with its fields in another order.
    if (before !== null && sorted(before) === sorted(settings))
      return accept([], 'Nothing to do: the reset source is like this already.');
    return accept([{ stream, fact: { type: 'ResetSourceSaved', data: settings }, occurredAt: null }]);
  },
};

export const removeResetSourceHandler: Handler<Extract<Command, { type: 'RemoveResetSource' }>> = {
  streams: (c) => [resetSourceStream(c.sourceId)],
  decide: ({ sourceId }, context) => {
    const stream = resetSourceStream(sourceId);
    if (settingsOf(sourceId, context) === null) return unknown(sourceId);
    return accept([{ stream, fact: { type: 'ResetSourceRemoved', data: { sourceId } }, occurredAt: null }]);
  },
};

const unknown = (sourceId: string) => refuse('unknown-reset-source', `There is no reset source ${sourceId}.`, 'id');

const sorted = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
