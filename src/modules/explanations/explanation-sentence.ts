/** Why a number is what it is, as somebody would say it. Pure. */
import type { Step } from '../../projections/availability/evaluate.js';

export interface Told {
  readonly cartName: string;
  /** What follows from the steps. */
  readonly target: number;
  /** What the cart is known to show; null: nobody knows. */
  readonly shows: number | null;
  readonly owed: number | null;
  readonly steps: readonly Step[];
  /** Whether it speaks of a moment in the past. */
  readonly past: boolean;
  /** What keeps the cart from being told, most important first. */
  readonly obstacles: readonly string[];
}

/** `Shop A shows 7: 12 in MAIN + 3 in STORE, minus 5 kept back (rule "tents", v3), capped at 7 (rule "few", v2).` */
export function explanationSentence(told: Told): string {
  return [`${headline(told)}: ${derivation(told.steps)}.`, ...told.obstacles].join(' ');
}

function headline({ cartName, target, shows, owed, past, obstacles }: Told): string {
  const [show, be, would] = past
    ? ['showed', 'was to show', 'would have shown']
    : ['shows', 'is to show', 'would show'];
  if (shows === null) return `${cartName} ${obstacles.length > 0 ? would : be} ${number(target)}`;
  if (owed === null || owed === 0) {
    if (shows === target) return `${cartName} ${show} ${number(target)}`;
    return `${cartName} ${show} ${number(shows)} and ${would} ${number(target)}`;
  }
  const way = `${signed(owed)} ${past ? 'was' : 'is'} owed to it`;
  return `${cartName} ${show} ${number(shows)} and ${be} ${number(shows + owed)} (${way})`;
}

/** Of a kit the scarcest part is told; the others are in the steps. */
function derivation(steps: readonly Step[]): string {
  const kit = steps.find(({ step }) => step === 'put together');
  if (kit === undefined) return ofPieces(steps);
  const scarcest = kit.because['scarcest'];
  const pieces = ofPieces(steps.filter(({ part }) => part === scarcest));
  const ground = `${number(kit.after)} can be put together with ${kit.because['piecesInOneKit']} × ${scarcest} in each (${pieces})`;
  const rest = steps.filter(({ step, part }) => step !== 'put together' && part === undefined).flatMap(stepWords);
  return [ground, ...rest].join(', ');
}

function ofPieces(steps: readonly Step[]): string {
  const places = steps.filter(({ step }) => step === 'on hand').map((place) => placeWords(place, steps));
  const ground = places.length === 0 ? 'nothing on hand where it sells' : places.join(' + ');
  const rest = steps.filter(({ step, location }) => step !== 'on hand' && location === null).flatMap(stepWords);
  return [ground, ...rest].join(', ');
}

function placeWords({ location, after }: Step, steps: readonly Step[]): string {
  const here = steps.filter((one) => one.location === location && one.step !== 'on hand').flatMap(stepWords);
  const stock = `${number(after)} in ${location}`;
  return here.length === 0 ? stock : `${stock} (${here.join(', ')})`;
}

/** A rule that changed nothing is in the steps, and not in the sentence. */
function stepWords({ step, rule, before, after, because }: Step): string[] {
  const by = rule === null ? '' : ` (rule "${rule.name}", v${rule.version})`;
  if (step === 'at-zero') return [`${zeroWords(String(because['policy']), after)}${by}`];
  if (before === after) return [];
  switch (step) {
    case 'unconfirmed':
      return [`not published, because nobody saw the last ${number(before)} for ${because['days']} days${by}`];
    case 'share':
      return [`of which ${because['percent']} % are ${number(after)}${by}`];
    case 'buffer':
      return [`minus ${number(before - after)} kept back${by}`];
    case 'cap':
      return [`capped at ${number(after)}${by}`];
    case 'floor':
      return [
        `none shown, because the chain has ${because['counted']} and ${because['comesBackAt']} are asked for${by}`,
      ];
    case 'velocity-buffer':
      return [`minus ${number(before - after)} for what sells in ${daysWords(because['coverDays'])}${by}`];
    case 'never raised at zero':
      return [`nothing is left, and below zero nothing is raised`];
    case 'on hand':
    case 'put together':
      return [];
  }
}

function zeroWords(policy: string, after: number): string {
  switch (policy) {
    case 'hide':
      return 'nothing is left, so it is hidden';
    case 'backorder':
      return 'nothing is left, so it may be back-ordered';
    case 'keep-selling':
      return `nothing is left, and it goes on selling with ${number(after)}`;
    default:
      return 'nothing is left, so it shows none';
  }
}

const daysWords = (days: unknown) => `${Number(Number(days).toPrecision(3))} days`;
const number = (value: number) => (value < 0 ? `−${-value}` : String(value));
const signed = (value: number) => (value > 0 ? `+${value}` : number(value));
