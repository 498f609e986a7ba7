import { readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = 100;

/** Seconds of processor that a process has used so far (Linux only; NaN elsewhere): unlike wall time it says what work costs on a busy machine. */
export function processorTime(pid) {
  return fieldsOf(pid)?.own ?? Number.NaN;
}

/** The same of a PostgreSQL server: of its postmaster, of the children that live, and of those that are gone. */
export function serverProcessorTime(postmasterPid) {
  try {
    const seconds = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => fieldsOf(pid))
      .filter((fields) => fields !== null && (fields.pid === postmasterPid || fields.parent === postmasterPid))
      .map(({ pid, own, reaped }) => (pid === postmasterPid ? own + reaped : own));
    return seconds.reduce((sum, one) => sum + one, 0);
  } catch {
    return Number.NaN;
  }
}

/** Null where the process has gone meanwhile. */
function fieldsOf(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    const seconds = (at) => (Number(fields[at]) + Number(fields[at + 1])) / ticksPerSecond;
    return { pid: Number(pid), parent: Number(fields[1]), own: seconds(11), reaped: seconds(13) };
  } catch {
    return null;
  }
}
