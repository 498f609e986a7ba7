import 'reflect-metadata';
import { Injectable } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { expect, it } from 'vitest';

@Injectable()
class Shelf {
  readonly pieces = 42;
}

@Injectable()
class Clerk {
  constructor(readonly shelf: Shelf) {}
}

// Without the metadata the compiler emits for decorators Nest injects undefined, and only at run time.
it('emits decorator metadata, so that Nest injects by type in tests as it does in dist/', async () => {
  const module = await Test.createTestingModule({ providers: [Shelf, Clerk] }).compile();
  expect(module.get(Clerk).shelf.pieces).toBe(42);
});
