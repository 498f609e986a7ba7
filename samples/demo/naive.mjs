// Placeholder until the naive day is written.
export class NaiveWorld {
  static async start() {
    return null;
  }
}
