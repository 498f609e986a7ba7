import { Body, Controller, Get, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { escapeHtml, htmlPage } from '../http/html-page.js';
import { Problem } from '../http/problem.js';
import { Open } from './access.guard.js';
import { Admission } from './admission.js';
import { Sessions } from './sessions.js';

const where = z.object({ to: z.string().max(2000).optional() });
const form = z.object({ key: z.string().max(500), to: z.string().max(2000).optional() });

/** For browsers: the same API key, exchanged for a cookie. */
@ApiExcludeController()
@Open('Whoever signs in has no key in the header yet')
@Controller()
export class SignInController {
  constructor(
    private readonly sessions: Sessions,
    private readonly admission: Admission,
  ) {}

  @Get('sign-in')
  show(@Query({ schema: where }) query: z.infer<typeof where>, @Res() reply: FastifyReply): void {
    reply.type('text/html; charset=utf-8').send(signInPage(localPath(query.to), null));
  }

  @Post('sign-in')
  async signIn(
    @Body({ schema: form }) body: z.infer<typeof form>,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const to = localPath(body.to);
    let [status, wrong] = [401, 'This key is not valid, or it was revoked. The first start of the hub printed one.'];
    try {
      const holder = await this.admission.checkKey(body.key.trim(), request.ip, reply);
      if (holder !== null) {
        this.sessions.signIn(holder, reply);
        reply.redirect(to, 303);
        return;
      }
    } catch (error) {
      // Said on the page: whoever signs in looks at a browser.
      if (!(error instanceof Problem)) throw error;
      [status, wrong] = [error.getStatus(), error.message];
    }
    reply.status(status).type('text/html; charset=utf-8').send(signInPage(to, wrong));
  }

  @Post('sign-out')
  signOut(@Res() reply: FastifyReply): void {
    this.sessions.signOut(reply);
    reply.redirect('/sign-in', 303);
  }
}

/** Only paths of this hub: the page must not become a way to send people elsewhere. */
function localPath(to: string | undefined): string {
  if (to === undefined || !to.startsWith('/')) return '/';
  const url = new URL(to, 'http://hub.invalid');
  return url.host === 'hub.invalid' ? url.pathname + url.search : '/';
}

function signInPage(to: string, wrong: string | null): string {
  return htmlPage(
    'Sign in',
    `<h1>Sign in</h1>
    ${wrong === null ? '' : `<p role="alert" class="wrong">${escapeHtml(wrong)}</p>`}
    <form method="post" action="/sign-in">
      <input type="hidden" name="to" value="${escapeHtml(to)}">
      <label for="key">API key</label>
      <input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
      <button type="submit">Sign in</button>
    </form>`,
  );
}
