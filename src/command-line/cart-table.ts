import type { CartReads } from '../modules/carts/cart-reads.js';
import { formatDuration, formatNumber, formatTime } from './format.js';
import type { Session } from './session.js';
import { factLines, type Column } from './table.js';

/** A cart as the API answers it, and how it is shown. */
export type Cart = NonNullable<Awaited<ReturnType<CartReads['get']>>>;

type Listed = Pick<Cart, 'id' | 'name' | 'type' | 'url' | 'switches'>;

export const cartCells: readonly Column<Listed>[] = [
  { title: 'CART', of: (row) => row.id },
  { title: 'NAME', of: (row) => row.name },
  { title: 'TYPE', of: (row) => row.type },
  { title: 'SWITCH', of: (row) => row.switches.cartSwitch },
  { title: 'IN EFFECT', of: (row) => (row.switches.inEffect ? 'yes' : 'no') },
  { title: 'URL', of: (row) => row.url },
];

export function showCart(session: Session, cart: Cart): void {
  session.terminal.out(
    ...factLines([
      ['Cart', `${cart.id} (${cart.name})`],
      ['Type', cart.type],
      ['URL', cart.url],
      ['User', cart.username],
      ['Store code', cart.storeCode],
      ['Locations', cart.locations.join(', ')],
      ['Orders take from', cart.orderLocation],
      ['Orders are asked for', `every ${formatDuration(cart.pollIntervalMs)}`],
      ['Is told', cadenceWords(cart.cadence)],
      ['Request time-out', formatDuration(cart.requestTimeoutMs)],
      ['Quiet time', formatDuration(cart.quietTimeMs)],
      ['Delivery', cart.delivery ?? 'the strongest way of its type'],
      ['Kits', cart.kits === 'kit' ? 'lowers the kit it sells itself' : 'lowers their components itself'],
      ['Delivered by', cart.capabilities.delivery],
      ['What differs', driftWords[cart.driftPolicy ?? 'report']],
      ['Probed', probedSentence(cart)],
      ['Cart switch', cart.switches.cartSwitch],
      ['System switch', cart.switches.systemSwitch],
      ['In effect', cart.switches.inEffect ? 'yes' : `no: ${cart.switches.why}`],
      [
        'Listings',
        `${formatNumber(cart.listings)}, ${formatNumber(cart.synchronised)} synchronised, ${formatNumber(cart.unlisted)} unlisted`,
      ],
    ]),
  );
}

const driftWords: Record<NonNullable<Cart['driftPolicy']>, string> = {
  report: 'is reported (report)',
  repair: 'is repaired by a change (repair)',
  'set-to-target': 'is set to what it should be (set-to-target)',
  'take-over': 'is taken over as our stock (take-over)',
};

function cadenceWords(cadence: Cart['cadence']): string {
  switch (cadence.kind) {
    case 'real-time':
      return 'at once';
    case 'on-demand':
      return 'on demand, by `onhand carts send-now`';
    case 'cron':
      return `by ${cadence.pattern} (${cadence.timeZone})`;
  }
}

function probedSentence({ probe, needsProbe }: Cart): string {
  if (probe === null) return needsProbe ? 'not yet' : 'needs none';
  const changed =
    probe.scriptVersionNow === probe.scriptVersion
      ? ''
      : `; the script is of version ${probe.scriptVersionNow} now, so probe it again`;
  return `${formatTime(probe.at)} with ${probe.key}, version ${probe.scriptVersion}${probe.found.unusable === null ? '' : `: ${probe.found.unusable}`}${changed}`;
}
