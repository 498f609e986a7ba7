/** The baseline of append-http: a Fastify route around the bare transaction. Says on a line of JSON where it listens. */
import fastify from 'fastify';
import { createDatabase } from '../dist/database.js';
import { appendBare } from './write-side.mjs';

const database = createDatabase({
  url: process.env['DATABASE_URL'] ?? '',
  poolMax: 20,
  applicationName: 'onhand bench, bare route',
});
const app = fastify();
app.post('/movements', async (request, reply) => {
  await appendBare(database.pool, request.body.sku);
  return reply.code(201).send({ accepted: true });
});
const url = await app.listen({ host: '127.0.0.1', port: 0 });
console.log(JSON.stringify({ event: 'listening', url }));
process.once('SIGTERM', async () => {
  await app.close();
  await database.close();
});
