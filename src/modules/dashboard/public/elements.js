// Making elements and words. Text always goes in as text, never as markup: names and answers come from shops.

/**
 * element('p', { class: 'quiet', hidden: true }, 'text', child)
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} attributes null, undefined and false leave one out; true sets it empty
 * @param {...(Node | string | null)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? '' : String(value));
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** "0.3 s", "12 s", "3 min", "2 h", "5 d": two digits are enough to judge by. */
export function duration(ms) {
  const seconds = ms / 1000;
  if (seconds < 0.9995) return `${Math.round(ms)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 119.5) return `${Math.round(seconds)} s`;
  if (seconds < 7_170) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_000) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** The time of day for today, the date with it for other days; the exact moment in its title. */
export function moment(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  return element('time', { datetime: iso, title: iso }, today ? clock.format(at) : calendar.format(at));
}

export const signed = (n) => (n > 0 ? `+${count(n)}` : n < 0 ? `−${count(-n)}` : '0');
export const count = (n) => n.toLocaleString('en-US').replaceAll(',', '\u202f');
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
