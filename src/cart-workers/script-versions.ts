import type { CommandBatcher } from '../events/command-batcher.js';
import type { CartDirectory } from './cart-directory.js';
import { CartError } from './connectors/cart-error.js';

/**
 * Findings of a probe speak of one version of a script. Whenever a cart tells its version (a test of the connection, a
 * comparison, before it is switched on), one that is new becomes a fact; nothing is written where it is as before.
 */
export class ScriptVersions {
  constructor(private readonly dependencies: { readonly batcher: CommandBatcher; readonly directory: CartDirectory }) {}

  /** Asks the cart, where its type is probed at all. One that does not answer is known as it was before. */
  async look(cartId: string): Promise<void> {
    const { connector } = await this.dependencies.directory.cart(cartId);
    if (connector.probe === undefined) return;
    try {
      const { version } = await this.dependencies.directory.test(cartId);
      await this.saw(cartId, version);
    } catch (error) {
      if (!(error instanceof CartError)) throw error;
    }
  }

  async saw(cartId: string, scriptVersion: string): Promise<void> {
    await this.dependencies.batcher.submit({
      client: 'script-versions',
      idempotencyKey: null,
      bodyHash: null,
      command: { type: 'SeeScriptVersion', cartId, scriptVersion },
    });
  }
}
