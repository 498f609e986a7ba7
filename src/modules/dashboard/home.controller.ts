import { Controller, Get, Header } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { Open } from '../access/access.guard.js';
import { htmlPage } from '../http/html-page.js';

@ApiExcludeController()
@Controller()
export class HomeController {
  @Get()
  @Open('It holds links only; what they lead to asks for a key')
  @Header('Content-Type', 'text/html; charset=utf-8')
  show(): string {
    return htmlPage(
      'Onhand',
      `<h1>Onhand</h1>
      <p>One stock number, every cart, within seconds.</p>
      <ul>
        <li><a href="/queues">Queues</a>: every lane and every fixed queue</li>
        <li><a href="/docs">API</a>: every route, to read and to try</li>
        <li><a href="/v1/status">Status</a> · <a href="/v1/lanes">Lanes</a> · <a href="/v1/web-stack?state=waits">Web Stack</a></li>
      </ul>
      <form method="post" action="/sign-out"><button type="submit">Sign out</button></form>`,
    );
  }
}
