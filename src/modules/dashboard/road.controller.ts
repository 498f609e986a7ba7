import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { Open } from '../access/access.guard.js';
import { Problem } from '../http/problem.js';

const fileName = z.string().max(100);

/** The road: one page and what it is made of. Its data comes from the API, with the session of whoever looks. */
@ApiExcludeController()
@Controller()
export class RoadController {
  private readonly files = new Map(Object.entries(types).map(([name, type]) => [name, loaded(name, type)]));

  @Get()
  @Open('The page guard asks for a session and sends browsers to the sign-in page')
  page(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    this.send('road.html', request, reply);
  }

  @Get('favicon.ico')
  @Open('Browsers ask for it on every page, the sign-in page too')
  icon(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    this.send('road.svg', request, reply);
  }

  @Get('road/:file')
  @Open('Script and style are the same for everybody and hold no data')
  file(
    @Param('file', { schema: fileName }) name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): void {
    this.send(name, request, reply);
  }

  private send(name: string, request: FastifyRequest, reply: FastifyReply): void {
    const file = this.files.get(name);
    if (file === undefined) throw new Problem('not-found', `The road has no part "${name}".`);
    // Browsers ask each time, so that after an update no old script meets a new page.
    reply.header('Cache-Control', 'no-cache').header('ETag', file.tag).type(file.type);
    if (request.headers['if-none-match'] === file.tag) reply.status(304).send();
    else reply.send(file.content);
  }
}

export const ROAD_PATH = '/';

const types: Readonly<Record<string, string>> = {
  'road.html': 'text/html; charset=utf-8',
  'road.css': 'text/css; charset=utf-8',
  'road.js': 'text/javascript; charset=utf-8',
  'lane-view.js': 'text/javascript; charset=utf-8',
  'watch-view.js': 'text/javascript; charset=utf-8',
  'item-view.js': 'text/javascript; charset=utf-8',
  'hub-calls.js': 'text/javascript; charset=utf-8',
  'elements.js': 'text/javascript; charset=utf-8',
  'road.svg': 'image/svg+xml',
};

function loaded(name: string, type: string): { content: Buffer; type: string; tag: string } {
  const content = readFileSync(new URL(`public/${name}`, import.meta.url));
  return { content, type, tag: `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"` };
}
