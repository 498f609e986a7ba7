import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { QohRuns } from '../jobs/qoh-runs.js';
import { DATABASE } from '../tokens.js';
import { CartReads } from './cart-reads.js';

export type StepState = 'done' | 'open' | 'later' | 'not-needed';

export interface Step {
  readonly step: 'test' | 'probe' | 'compare' | 'choose' | 'on';
  readonly state: StepState;
  /** What is known, as a sentence. */
  readonly what: string;
  /** The call that does it; null: nothing to do. */
  readonly call: string | null;
}

/** A comparison says little about a shop that went on selling for longer. */
const previewHours = 24;

/** The way from a cart that was added to one that is kept in step: what is done, what comes next, and how. */
@Injectable()
export class SwitchingOn {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly carts: CartReads,
    private readonly runs: QohRuns,
  ) {}

  /** @returns null: no such cart */
  async stepsOf(cartId: string) {
    const cart = await this.carts.get(cartId);
    if (cart === null) return null;
    const [preview, readiness] = await Promise.all([this.preview(cartId), this.readiness(cartId)]);
    const path = `/v1/carts/${cartId}`;
    const wasReached = cart.probe !== null || preview !== null || cart.orderFeed.lastPolledAt !== null;
    const steps: Step[] = [
      {
        step: 'test',
        state: wasReached ? 'done' : 'open',
        what: wasReached
          ? 'The cart has answered.'
          : 'Whether address and login are right: version, login and one read.',
        call: `POST ${path}/test`,
      },
      {
        step: 'probe',
        state: !cart.needsProbe ? 'not-needed' : cart.probe === null ? 'open' : 'done',
        what: !cart.needsProbe
          ? 'Carts of this type all do the same.'
          : cart.probe === null
            ? 'What this very cart does with a change, on one item that is put back.'
            : `Probed with ${cart.probe.key} at ${cart.probe.at}.`,
        call: cart.needsProbe ? `POST ${path}/probe {"sku": …}` : null,
      },
      {
        step: 'compare',
        state: preview === null ? 'open' : 'done',
        what:
          preview === null
            ? 'What both sides say, listing by listing; nothing is changed.'
            : `${preview.found.looked} listings, ${preview.found.differing} differ: GET /v1/qoh-runs/${preview.id}/differences`,
        call: `POST ${path}/comparison {"direction": "send", "preview": true}`,
      },
      {
        step: 'choose',
        state: readiness.listings > 0 && readiness.missing === 0 ? 'done' : 'open',
        what:
          readiness.listings > 0 && readiness.missing === 0
            ? `All ${readiness.listings} listings are compared for when the cart is on.`
            : `Say who is right, in all ("direction": send, the hub; get, the cart) and per item ("otherwise"), and apply it: ${readiness.missing} of ${readiness.listings} listings are not compared.`,
        call: `POST ${path}/comparison {"direction": …, "otherwise": […]}`,
      },
      {
        step: 'on',
        state: cart.switches.inEffect ? 'done' : 'open',
        what: cart.switches.why,
        call: `PUT ${path}/switch {"on": true}`,
      },
    ];
    const next = steps.findIndex(({ state }) => state === 'open');
    return {
      cartId,
      /** What comes next; null: the cart is kept in step. */
      next: steps[next]?.step ?? null,
      comparison: preview,
      listings: readiness.listings,
      notCompared: readiness.missing,
      steps: steps.map((step, index): Step =>
        step.state === 'open' && index > next ? { ...step, state: 'later' } : step,
      ),
    };
  }

  /** The last look at the whole cart in its state of now: since it was last switched, and not too long ago. */
  private async preview(cartId: string) {
    const found = await this.database.pool.query<{ id: string }>(
      `SELECT r.id FROM qoh_runs r
        WHERE r.cart_id = $1 AND r.preview AND r.state = 'done' AND r.scope = '{}' AND r.created_at > now() - $2 * interval '1 hour'
        ORDER BY r.created_at DESC LIMIT 1`,
      [cartId, previewHours],
    );
    return found.rows[0] === undefined ? null : this.runs.get(found.rows[0].id);
  }

  /** Listings, and those among them that were not made equal for the generation in which the cart is, or will be, on. */
  private async readiness(cartId: string): Promise<{ listings: number; missing: number }> {
    const found = await this.database.pool.query<{ listings: string; missing: string }>(
      `SELECT count(*) AS listings,
              count(*) FILTER (WHERE l.expected IS NULL OR l.generation <> CASE WHEN c.is_on THEN c.generation ELSE c.generation + 1 END) AS missing
         FROM listings l JOIN carts c USING (cart_id)
        WHERE l.cart_id = $1 AND NOT EXISTS (SELECT FROM doubled_keys k WHERE k.cart_id = l.cart_id AND k.key = l.key)`,
      [cartId],
    );
    return { listings: Number(found.rows[0]?.listings ?? 0), missing: Number(found.rows[0]?.missing ?? 0) };
  }
}
