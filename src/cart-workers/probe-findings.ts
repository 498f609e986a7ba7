import type { ProbeFinding, ProbeFound } from '../events/facts.js';
import type { FunctionReport, OrdersReport, UpdatesReport } from './connectors/connector.js';
import type { Behaviour } from './probe-explain.js';

/** What a probe saw, step by step; a step that was left out says why. */
export interface Observations {
  readonly updates: UpdatesReport;
  readonly functions: readonly FunctionReport[];
  readonly orders: OrdersReport;
  readonly listing: {
    readonly items: number;
    readonly changed: readonly string[];
    readonly moved: boolean;
    readonly cut: boolean;
  };
  readonly unknown: { readonly applied: boolean; readonly response: string; readonly ok: boolean };
  readonly tilde: { readonly understood: boolean; readonly response: string };
  readonly odd: { readonly understood: boolean; readonly response: string };
  /** What adding one and taking one did; 'refused': the cart's own words. */
  readonly change: Behaviour | { readonly refused: string };
  readonly replyAgrees: boolean;
  readonly belowZero: Behaviour | 'refused' | { readonly leftOut: string };
  readonly parallel: { readonly sent: number; readonly kept: number } | { readonly leftOut: string };
}

/** What the observations say of the cart. Pure. */
export function foundBy(seen: Observations): ProbeFound {
  const missing = seen.functions.filter(({ answered }) => !answered).map(({ name }) => name);
  const { change } = seen;
  return {
    delivery: change === 'adds' ? 'settlement' : change === 'sets' ? 'set-only' : null,
    clampsAtZero: typeof seen.belowZero === 'object' ? null : seen.belowZero === 'clamps',
    tildeInKeys: seen.tilde.understood,
    listingStable: seen.listing.cut ? null : seen.listing.changed.length === 0 && !seen.listing.moved,
    unknownAnsweredOk: seen.unknown.applied,
    losesParallelChanges: 'leftOut' in seen.parallel ? null : seen.parallel.kept < seen.parallel.sent,
    functionsMissing: missing,
    orders: seen.orders.by === 'unknown' ? null : seen.orders.by,
    updates: seen.updates.form,
    unusable: unusable(seen, missing),
  };
}

function unusable({ change, orders }: Observations, missing: readonly string[]): string | null {
  if (typeof change === 'object')
    return `The cart refused to change the item (${change.refused}). Let the shop track its stock, or name another one, and probe again.`;
  if (change === 'ignores') return 'The cart answered OK and changed nothing.';
  if (change === 'clamps') return 'The cart went to 0 where one piece was added.';
  if (change === 'sets' && missing.includes('qohreplace'))
    return 'The script sets instead of adding, and has no function to set many (qohreplace).';
  if (missing.includes('downloadqoh') && missing.includes('downloadprods'))
    return 'The script cannot tell what it shows (downloadqoh), so no doubt could ever be settled.';
  if (missing.includes('downloadorders'))
    return 'The script does not tell its orders (downloadorders), so no sale could be told from a fault.';
  if (orders.by === null && !orders.numbersArePlain)
    return 'The script tells all its orders whatever it is asked, and their numbers do not say which are new.';
  return null;
}

/** The same in words, each with what follows from it. Pure. */
export function findingsOf(seen: Observations): readonly ProbeFinding[] {
  return [
    functionsFinding(seen),
    ordersFinding(seen),
    listingFinding(seen),
    updatesFinding(seen),
    changeFinding(seen),
    zeroFinding(seen),
    parallelFinding(seen),
    unknownFinding(seen),
    {
      about: 'odd characters',
      saw: seen.odd.understood
        ? 'A SKU with blanks and signs came back as it was sent.'
        : `A SKU with blanks and signs was not told as it was sent: ${seen.odd.response}`,
      follows: seen.odd.understood
        ? 'Such SKUs are sent.'
        : 'Such SKUs are sent, and an answer that names another SKU counts as unknown: look at them first.',
    },
    {
      about: 'a SKU with a tilde',
      saw: seen.tilde.understood
        ? 'It was understood as a whole.'
        : `It was not seen to be understood as a whole: ${seen.tilde.response}`,
      follows: seen.tilde.understood
        ? 'Such SKUs are sent.'
        : 'A change of a SKU with "~" in it might change another item, so it is refused here and becomes a dead letter that says so. Rename the SKU in the shop.',
    },
  ];
}

function functionsFinding({ functions }: Observations): ProbeFinding {
  const missing = functions.filter(({ answered }) => !answered);
  const named = missing.map(({ name, response }) => `${name} (${response})`).join('; ');
  const lacks = (wanted: string) => missing.some(({ name }) => name === wanted);
  return {
    about: 'functions',
    saw: missing.length === 0 ? `All ${functions.length} that were tried answer.` : `These do not answer: ${named}`,
    follows: lacks('downloadorders')
      ? 'Its sales cannot be heard, so the cart cannot be switched on.'
      : lacks('downloadqoh')
        ? 'Quantities are read with the products (downloadprods).'
        : 'Everything that Onhand needs for stock and orders is there, or done without.',
  };
}

/** In the evidence and in the finding alike. */
export function ordersSaw({ by, numbersArePlain }: OrdersReport): string {
  const numbers = numbersArePlain ? '' : ' The numbers are not digits only.';
  if (by === 'unknown') return 'It told no order, so it was not seen how it is asked for new ones.';
  if (by === null) return `It told all orders whatever it was asked.${numbers}`;
  return by.by === 'number'
    ? `Asked for orders above a number, it left out those up to it.${numbers}`
    : `It does not go by order numbers, and left out orders of before the day that it was asked for.${numbers}`;
}

function ordersFinding({ orders }: Observations): ProbeFinding {
  const { by, numbersArePlain } = orders;
  const follows = () => {
    if (by === 'unknown') return 'Orders are asked for by number; probe again when there are some.';
    if (by !== null && by.by === 'date')
      return 'Orders are asked for by date (lastdate): each poll tells the last days again, and what is told twice counts once.';
    if (!numbersArePlain) {
      return by === null
        ? 'Nobody could tell new orders from old ones, so the cart cannot be switched on.'
        : 'Orders are asked for by number; late ones, edits and cancels are heard only where the script tells them by itself.';
    }
    return by === null
      ? 'Each poll reads all its orders, and takes those above the last number.'
      : 'Orders are asked for by number, the last ones again and again.';
  };
  return { about: 'new orders', saw: ordersSaw(orders), follows: follows() };
}

function listingFinding({ listing: { items, changed, moved, cut } }: Observations): ProbeFinding {
  const some = changed.slice(0, 5).join(', ');
  if (cut)
    return {
      about: 'listing',
      saw: `The first ${items} items were read; the cart has more.`,
      follows:
        'Whether its pages are stable is not known; comparisons read everything twice before they believe that an item is missing.',
    };
  return changed.length === 0 && !moved
    ? {
        about: 'listing',
        saw: `Two readings named the same ${items} items.`,
        follows: 'What is not in the listing is not in the cart: nothing is sent for it.',
      }
    : {
        about: 'listing',
        saw:
          changed.length === 0
            ? `Two readings named the same ${items} items in another order: the pages have no fixed one.`
            : `Two readings named different items (${changed.length}: ${some}): the pages have no fixed order.`,
        follows:
          'An item that is not in the listing may be there all the same: it is asked for by name before it counts as missing.',
      };
}

function updatesFinding({ updates: { form, saw } }: Observations): ProbeFinding {
  const about = 'how changes are written';
  return form === 'plain'
    ? { about, saw: `Pairs of SKU and number were answered: ${saw}`, follows: 'Changes are sent as pairs.' }
    : {
        about,
        saw: `Pairs of SKU and number were not understood, a document was: ${saw}`,
        follows: 'Changes are sent as XML documents, one change or many.',
      };
}

function changeFinding({ change, replyAgrees }: Observations): ProbeFinding {
  const about = 'adding and taking one';
  if (typeof change === 'object')
    return {
      about,
      saw: `It was refused: ${change.refused}`,
      follows: 'Nothing can be said of this cart before an item is probed that it tracks.',
    };
  switch (change) {
    case 'adds':
      return {
        about,
        saw: `+1 added one piece and −1 took it again.${replyAgrees ? '' : ' The quantity in the reply is not the one that is read afterwards.'}`,
        follows: replyAgrees
          ? 'Onhand sends differences, one at a time, and compares each reply with what it expects.'
          : 'Onhand sends differences, one at a time; it compares the cart now and then, as the replies prove nothing.',
      };
    case 'sets':
      return {
        about,
        saw: 'This script sets instead of adding: after +1 the item showed 1.',
        follows: 'Onhand writes absolute numbers, by reading, writing and reading back, one sequence at a time.',
      };
    case 'ignores':
    case 'clamps':
      return {
        about,
        saw: change === 'ignores' ? 'The cart answered OK and changed nothing.' : 'The cart went to 0.',
        follows: 'The cart cannot be switched on.',
      };
  }
}

function zeroFinding({ belowZero }: Observations): ProbeFinding {
  const about = 'below zero';
  if (typeof belowZero === 'object')
    return {
      about,
      saw: `Not tried: ${belowZero.leftOut}`,
      follows: 'The cart’s setting clampsAtZero stands as it is.',
    };
  if (belowZero === 'clamps')
    return {
      about,
      saw: 'The cart stops at 0.',
      follows: 'What it swallowed is not known: an item that said 0 is compared before it is raised again.',
    };
  return belowZero === 'adds'
    ? { about, saw: 'The cart goes below 0.', follows: 'Differences are sent as they are.' }
    : {
        about,
        saw: `The cart ${belowZero} a change below 0.`,
        follows: 'A change that would go below 0 becomes a dead letter with the cart’s words.',
      };
}

function parallelFinding({ parallel }: Observations): ProbeFinding {
  const about = 'two changes at once';
  if ('leftOut' in parallel)
    return { about, saw: `Not tried: ${parallel.leftOut}`, follows: 'Changes are sent one at a time.' };
  const { sent, kept } = parallel;
  return {
    about,
    saw:
      kept < sent
        ? `Of ${sent} changes sent two at a time ${kept} arrived.`
        : `All ${sent} changes sent two at a time arrived.`,
    follows:
      kept < sent
        ? 'Changes are sent one at a time; let nothing else call the script while Onhand does.'
        : 'Changes are sent one at a time all the same: a few tries prove nothing.',
  };
}

function unknownFinding({ unknown }: Observations): ProbeFinding {
  const about = 'an item that is not there';
  if (unknown.applied)
    return {
      about,
      saw: `It was answered as if it had been changed: ${unknown.response}`,
      follows:
        'An OK proves nothing here: only items that the cart lists are sent to, so compare after items were removed in the shop.',
    };
  return {
    about,
    saw: unknown.ok
      ? `It was answered OK, with a note that says otherwise: ${unknown.response}`
      : 'It was answered as not found.',
    follows: 'Such an item becomes a dead letter, and nothing more is sent for it until somebody looks again.',
  };
}
