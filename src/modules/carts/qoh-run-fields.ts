import { z } from 'zod';
import type { QohRunScope } from '../../cart-workers/qoh-runs/qoh-runs.table.js';
import { sku, tag } from '../http/fields.js';

const skusMax = 10_000;
const skus = z.array(sku).min(1, 'must name at least one').max(skusMax, `must name at most ${skusMax}`);

/** What a Send or Get may be asked for beside its direction. */
export const runFields = {
  createNewProducts: z
    .boolean()
    .default(false)
    .describe('With get: create items for what the cart has and nobody knows here, with the stock that it shows'),
  preview: z.boolean().default(false).describe('Only say what would change; see the differences of the run'),
  tag: tag.optional().describe('Only items with this tag'),
  skus: skus.optional().describe('Only these items'),
  otherwise: skus.optional().describe('Items for which the other side is right: got with send, sent with get'),
};

interface Wished {
  readonly direction: 'send' | 'get' | 'look';
  readonly createNewProducts: boolean;
  readonly preview: boolean;
  readonly tag?: string | undefined;
  readonly skus?: readonly string[] | undefined;
  readonly otherwise?: readonly string[] | undefined;
}

export function checkRun(wished: Wished, context: z.RefinementCtx): void {
  const { direction, createNewProducts, preview, tag: onlyTag, skus: only, otherwise } = wished;
  const refuse = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message });
  if (createNewProducts && direction !== 'get')
    refuse('createNewProducts', 'is only for direction "get": nothing can be taken over from a cart that follows');
  if (createNewProducts && (onlyTag !== undefined || only !== undefined))
    refuse('createNewProducts', 'is for the whole cart: an item that is not there yet has no tag and is on no list');
  if (direction !== 'look') return;
  const given = { preview: preview || undefined, tag: onlyTag, skus: only, otherwise };
  for (const [field, value] of Object.entries(given))
    if (value !== undefined)
      refuse(field, 'is not for direction "look", which looks at the whole cart and changes nothing');
}

export const scopeOf = ({ tag: onlyTag, skus: only, otherwise }: Wished): QohRunScope => ({
  ...(onlyTag !== undefined && { tag: onlyTag }),
  ...(only !== undefined && { skus: [...new Set(only)] }),
  ...(otherwise !== undefined && { otherwise: [...new Set(otherwise)] }),
});
