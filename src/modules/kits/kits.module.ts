import { Module } from '@nestjs/common';
import { KitReads } from './kit-reads.js';
import { KitsController } from './kits.controller.js';

/** Kits are looked at and changed here; what follows from them is the projector's. */
@Module({ controllers: [KitsController], providers: [KitReads] })
export class KitsModule {}
