import { ConsoleLogger, type LogLevel as NestLogLevel } from '@nestjs/common';
import type { Config, LogLevel } from '../../config.js';

/** Nest's own start-up messages name every class and route; they are for whoever debugs. */
const CHATTY = new Set(['InstanceLoader', 'RouterExplorer', 'RoutesResolver', 'NestFactory', 'NestApplication']);

export class HubLogger extends ConsoleLogger {
  private readonly debugging: boolean;

  constructor({ logLevel, logJson }: Pick<Config, 'logLevel' | 'logJson'>) {
    super({ json: logJson, colors: !logJson && process.stdout.isTTY, logLevels: levels[logLevel], prefix: 'Onhand' });
    this.debugging = logLevel === 'debug' || logLevel === 'trace';
  }

  override log(message: unknown, ...rest: unknown[]): void {
    if (!this.debugging && CHATTY.has(String(rest.at(-1)))) return;
    super.log(message, ...(rest as [string]));
  }
}

const levels: Record<LogLevel, NestLogLevel[]> = {
  fatal: ['fatal'],
  error: ['fatal', 'error'],
  warn: ['fatal', 'error', 'warn'],
  info: ['fatal', 'error', 'warn', 'log'],
  debug: ['fatal', 'error', 'warn', 'log', 'debug'],
  trace: ['fatal', 'error', 'warn', 'log', 'debug', 'verbose'],
};
