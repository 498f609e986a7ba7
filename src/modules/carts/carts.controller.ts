import { createHmac } from 'node:crypto';
import { Body, Controller, Get, HttpCode, Inject, Param, Patch, Post, Put, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { CartDirectory } from '../../cart-workers/cart-directory.js';
import { CartSecrets } from '../../cart-workers/cart-secrets.js';
import { ScriptVersions } from '../../cart-workers/script-versions.js';
import type { Command } from '../../events/commands.js';
import { Needs } from '../access/access.guard.js';
import type { Asking } from '../http/asking.js';
import { Asks } from '../http/asking.js';
import { CommandRunner } from '../http/command-runner.js';
import { anyText, cartId } from '../http/fields.js';
import { idempotencyHeader } from '../http/open-api.js';
import { pageFields } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { Probes } from '../jobs/probes.js';
import { ENCRYPTION_KEY } from '../tokens.js';
import {
  cartChange,
  checkDelivery,
  checkFields,
  checkOrdersFrom,
  connectorOf,
  idFromName,
  newCart,
} from './cart-fields.js';
import { CartReads } from './cart-reads.js';
import { SwitchingOn } from './switching-on.js';

const onOff = z.strictObject({ on: z.boolean() });
const cartSwitch = onOff.extend({
  unprobed: anyText(500)
    .min(1, 'must say why')
    .optional()
    .describe('Why a cart is switched on that should have been probed first, or that a probe speaks against'),
});
const listQuery = z.strictObject(pageFields);

@ApiTags('Carts')
@ApiBearerAuth()
@Controller('v1')
export class CartsController {
  constructor(
    private readonly commands: CommandRunner,
    private readonly carts: CartReads,
    private readonly secrets: CartSecrets,
    private readonly directory: CartDirectory,
    private readonly versions: ScriptVersions,
    private readonly probes: Probes,
    private readonly switching: SwitchingOn,
    @Inject(ENCRYPTION_KEY) private readonly encryptionKey: Buffer,
  ) {}

  @Post('carts')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Add a cart. It starts switched off; its secret can never be read back.' })
  async add(@Body({ schema: newCart }) body: z.infer<typeof newCart>, @Asks() asking: Asking) {
    const connector = connectorOf(body.type);
    checkFields(connector, body);
    checkDelivery(connector, body.delivery);
    checkOrdersFrom(connector, body.ordersFrom);
    const { id: wished, secret, type, ...settings } = body;
    const id = wished ?? idFromName(body.name);
    const orderLocation = body.orderLocation ?? body.locations[0]!;
    checkOrderLocation(body.locations, orderLocation);
    const { quietTimeMs, clampsAtZero } = connector.capabilities;
    const command: Command = {
      type: 'AddCart',
      cartId: id,
      connector: type,
      ...settings,
      orderLocation,
      quietTimeMs: body.quietTimeMs ?? quietTimeMs,
      clampsAtZero: body.clampsAtZero ?? clampsAtZero,
    };
    const outcome = await this.commands.run(this.masked(asking, secret), command);
    // After the fact, so that a refused request never replaces the secret of a cart that exists. A cart starts switched
    // off, so nobody needs the secret in between; the same request sent again completes it.
    await this.secrets.put(id, secret);
    await this.commands.settle();
    return { ...(await this.shown(id)), facts: outcome.facts };
  }

  @Get('carts')
  @ApiOperation({ summary: 'Every cart' })
  list(@Query({ schema: listQuery }) query: z.infer<typeof listQuery>) {
    return this.carts.list(query);
  }

  @Get('carts/:id')
  @ApiOperation({ summary: 'One cart: settings, switches and how many listings' })
  get(@Param('id', { schema: cartId }) id: string) {
    return this.shown(id);
  }

  @Patch('carts/:id')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Change a cart; fields left out stay as they are' })
  async change(
    @Param('id', { schema: cartId }) id: string,
    @Body({ schema: cartChange }) body: z.infer<typeof cartChange>,
    @Asks() asking: Asking,
  ) {
    const before = await this.shown(id);
    const { secret, ...settings } = body;
    checkDelivery(connectorOf(before.type), settings.delivery);
    checkOrdersFrom(connectorOf(before.type), settings.ordersFrom);
    if (settings.ordersFrom !== undefined && (await this.carts.isPolled(id))) beginsAlready(id);
    checkOrderLocation(settings.locations ?? before.locations, settings.orderLocation ?? before.orderLocation);
    const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    if (Object.keys(given).length > 0) {
      await this.commands.run(this.masked(asking, secret), { type: 'ChangeCart', cartId: id, ...given });
    }
    if (secret !== undefined) await this.secrets.put(id, secret);
    await this.commands.settle();
    return this.shown(id);
  }

  @Post('carts/:id/test')
  @HttpCode(200)
  @ApiOperation({ summary: 'Try a cart with its stored settings: version, login and one read' })
  async test(@Param('id', { schema: cartId }) id: string) {
    await this.shown(id);
    const report = await this.directory.test(id);
    await this.versions.saw(id, report.version);
    await this.commands.settle();
    return report;
  }

  @Put('carts/:id/switch')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({
    summary:
      'Switch a cart ("Synchronize Inventory"). In effect together with the system switch; the answer says which is off.',
  })
  async switchCart(
    @Param('id', { schema: cartId }) id: string,
    @Body({ schema: cartSwitch }) { on, unprobed }: z.infer<typeof cartSwitch>,
    @Asks() asking: Asking,
  ) {
    const connector = connectorOf((await this.shown(id)).type);
    if (on) await this.probes.refuseUnfinished(id);
    if (on && unprobed === undefined) await this.versions.look(id);
    const needsProbe = connector.probe !== undefined;
    await this.commands.run(asking, { type: 'SwitchCart', cartId: id, on, needsProbe, unprobed });
    await this.commands.settle();
    return this.carts.switches(id);
  }

  @Get('carts/:id/switching-on')
  @ApiOperation({
    summary:
      'The way to a cart that is kept in step: test, probe, compare, choose, on; what is done, what comes next, and how',
  })
  async switchingOn(@Param('id', { schema: cartId }) id: string) {
    return (await this.commands.found(() => this.switching.stepsOf(id))) ?? unknownCart(id);
  }

  @Get('system/switch')
  @ApiOperation({ summary: 'The system switch (SynchQOH)' })
  systemSwitch() {
    return this.carts.systemSwitch();
  }

  @Put('system/switch')
  @Needs('admin')
  @ApiHeader(idempotencyHeader)
  @ApiOperation({ summary: 'Switch the whole system (SynchQOH)' })
  async switchSystem(@Body({ schema: onOff }) { on }: z.infer<typeof onOff>, @Asks() asking: Asking) {
    await this.commands.run(asking, { type: 'SwitchSystem', on });
    await this.commands.settle();
    return this.carts.systemSwitch();
  }

  private async shown(id: string) {
    return (await this.commands.found(() => this.carts.get(id))) ?? unknownCart(id);
  }

  /** The request's hash is stored; with the secret itself in it, a weak one could be guessed from the hash. */
  private masked(asking: Asking, secret: string | undefined): Asking {
    if (secret === undefined) return asking;
    const mask = createHmac('sha256', this.encryptionKey).update(secret).digest('base64');
    return { ...asking, body: { ...(asking.body as object), secret: mask } };
  }
}

export function unknownCart(id: string): never {
  throw new Problem('unknown-cart', `There is no cart "${id}"; GET /v1/carts lists them.`);
}

function checkOrderLocation(locations: readonly string[], orderLocation: string): void {
  if (locations.includes(orderLocation)) return;
  const detail = `must be one of the cart's locations (${locations.join(', ')})`;
  throw new Problem('invalid-request', `"orderLocation" ${detail}.`, [{ field: 'orderLocation', detail }]);
}

function beginsAlready(id: string): never {
  throw new Problem('not-allowed-now', `The orders of ${id} are followed already, so where they begin is past.`, [
    { field: 'ordersFrom', detail: 'can only be changed before the cart is first compared or switched on' },
  ]);
}
