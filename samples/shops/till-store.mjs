// What a sample shop with a bridge knows of itself: everything is asked of its till (php/till.php), as the database is the
// only place where it is.

/** The shop's own side, as the front asks for it. What is sold and changed is in the database alone. */
export class TillStore {
  #till;
  #stop;
  onChanges = () => undefined;
  hubUrl = '';

  /** @param {string} till its address; @param {() => Promise<void>} stop ends the server behind it */
  constructor(till, stop) {
    this.#till = till;
    this.#stop = stop;
  }

  async items() {
    return (await ask(this.#till, { do: 'stock' })).items;
  }
  async item(/** @type {string} */ key) {
    return (await ask(this.#till, { do: 'stock', key })).items[0];
  }
  async orders() {
    return (await ask(this.#till, { do: 'orders' })).orders;
  }
  async journal() {
    return (await ask(this.#till, { do: 'journal' })).journal;
  }
  outboxSize() {
    return 0;
  }
  async sell(/** @type {{key: string, quantity: number}[]} */ lines, data = {}) {
    return (await ask(this.#till, { do: 'buy', lines, backorder: true, ...data })).order;
  }
  async moveOrder(/** @type {string} */ number, /** @type {string} */ state) {
    return (await ask(this.#till, { do: 'move', number, state })).order;
  }
  async load(/** @type {object[]} */ items) {
    await ask(this.#till, { do: 'load', items });
  }
  async close() {
    await this.#stop();
  }
}

/** @returns {Promise<any>} */
async function ask(/** @type {string} */ url, /** @type {object} */ call) {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(call) });
  const text = await response.text();
  if (!response.ok) throw new RangeError(text);
  return JSON.parse(text);
}
