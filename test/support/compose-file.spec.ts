import { describe, expect, it } from 'vitest';
import { interpolate, InterpolationError, readCompose, startOrder, variablesOf } from './compose-file.js';

const variables = { SET: 'value', EMPTY: '', OTHER: 'x' };

describe('a variable in a compose file', () => {
  it.each([
    ['plain text', 'plain text'],
    ['$SET and ${SET}', 'value and value'],
    ['$SET-suffix', 'value-suffix'],
    ['$NONE|${NONE}|$EMPTY|', '|||'],
    ['${SET:-default}', 'value'],
    ['${NONE:-default}', 'default'],
    ['${EMPTY:-default}', 'default'],
    ['${EMPTY-default}', ''],
    ['${NONE-default}', 'default'],
    ['${NONE:-}', ''],
    ['${NONE:-${OTHER}-${NONE:-deep}}', 'x-deep'],
    ['${SET:+other}|${EMPTY:+other}|${EMPTY+other}|${NONE+other}', 'other||other|'],
    ['${SET:?message}', 'value'],
    ['${EMPTY?message}', ''],
    ['$$SET costs 5$$', '$SET costs 5$'],
    ['${NONE:-a:b?c-d}', 'a:b?c-d'],
  ])('%s becomes "%s"', (text, result) => expect(interpolate(text, variables)).toBe(result));

  it('that is required and not set is refused with its message', () => {
    expect(() => interpolate('${NONE:?set it in .env}', variables)).toThrow(
      new InterpolationError('required variable NONE is missing a value: set it in .env'),
    );
    expect(() => interpolate('${EMPTY:?set it}', variables)).toThrow('EMPTY is missing a value: set it');
    expect(() => interpolate('${NONE?set it}', variables)).toThrow('NONE is missing a value: set it');
  });

  it.each(['5$', '${}', '${SET', '${SET!}', '$-'])('"%s" is refused', (text) => {
    expect(() => interpolate(text, variables)).toThrow(InterpolationError);
  });
});

describe('a compose file', () => {
  const text = `
x-base: &base
  image: app
  restart: 'no'
  environment: &environment { A: '\${SET}', B: 1 }
services:
  app: { <<: *base, environment: { <<: *environment, B: '\${NONE:-two}', C: true }, depends_on: { db: { condition: service_healthy } } }
  db: { <<: *base, stop_grace_period: 1m, healthcheck: { test: [CMD, ask, '$$HOME'], interval: 500ms } }
volumes: {}
`;
  it('has its anchors merged, the later value winning, and its values as text', () => {
    const { services } = readCompose(text, variables);
    expect(services['app']?.environment).toEqual({ A: 'value', B: 'two', C: 'true' });
    expect(services['db']?.environment).toEqual({ A: 'value', B: '1' });
    expect(services['db']).toMatchObject({
      stop_grace_period: 60_000,
      healthcheck: { test: ['CMD', 'ask', '$HOME'], interval: 500 },
    });
  });

  it('tells which variables it asks for, and which service comes after which', () => {
    expect(variablesOf(text)).toEqual(['SET', 'NONE']);
    expect(startOrder(readCompose(text, variables))).toEqual(['db', 'app']);
    const circle = text.replace('  db: {', '  db: { depends_on: { app: { condition: service_started } },');
    expect(() => startOrder(readCompose(circle, variables))).toThrow('depend on each other');
  });

  it('with a key that nobody has thought of is refused', () => {
    expect(() => readCompose(text.replace('  db: {', '  db: { privileged: true,'), variables)).toThrow('privileged');
  });
});
