/**
 * Whether this Node can run Onhand. Loaded before anything else, and kept to syntax that every Node reads: newer syntax
 * would end an old Node with a riddle instead of this sentence.
 */
export function nodeProblem(version: string): string | null {
  const parts = version.split('.').map(Number);
  const major = parts[0] || 0;
  const minor = parts[1] || 0;
  if (major > 20 || (major === 20 && minor >= 19)) return null;
  return 'Onhand needs Node 20.19 or newer; this is ' + version + '. Get one at https://nodejs.org.';
}
